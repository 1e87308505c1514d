"""Bytes to a service and back: grpcio channels, the HTTP/2 unary lane, plain HTTP services."""
