"""GraphQL: schema from descriptors and mapping, limits, batching joins, execution. No HTTP in here."""
