"""REST and JSON on one side, gRPC messages on the other: descriptors, rules, matching, binding, codec."""
