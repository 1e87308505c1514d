"""HTTP in and out: listener, door, REST, GraphQL over HTTP, admin and health."""
