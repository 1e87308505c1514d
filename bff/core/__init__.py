"""Values and rules without I/O, which every other room may use: errors, statuses, exchange values, ports."""
