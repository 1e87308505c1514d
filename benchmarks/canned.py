"""What is asked for and what must come back: the value that upstream, gateways and load share."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

__all__ = ["SERVICE", "Canned"]

SERVICE = "bench.v1.OrderService"


class Canned(Struct, frozen=True, kw_only=True):
    """One method of the canned upstream, the path of the gateways that leads to it, and its reply.

    `message` is the reply's wire form, `tree` what every gateway's reply must parse to,
    `json_bytes` the size of its compact text. `body` is what is posted; empty for GET.
    `beside` are replies of further methods that one request needs, by gRPC path.
    """

    size: str
    rest_path: str
    grpc_path: str
    message: bytes
    tree: Any
    json_bytes: int
    body: bytes = b""
    beside: Mapping[str, bytes] = {}
