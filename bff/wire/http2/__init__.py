"""The HTTP/2 unary lane: gRPC calls with one reply, over our own client connection (RFC 9113, RFC 7541).

`frames`, `headers`, `stream`, `reply`, `sending` and `connection` do no I/O; `protocol`, `dialling` and
`lane` put them on sockets.
"""
