"""Which names may cross between clients and services, and why others may not.

Some fields end at this hop (RFC 9110 7.6.1), some belong to gRPC's own framing, some are written by
the gateway, and identity is written by authentication alone. Mappings are judged by these rules at
load, names that a client makes up behind a prefix at request.
"""

import re
from typing import Final

from bff.auth.identity import is_identity_name
from bff.core.headers import HOP_BY_HOP

__all__ = ["Fault", "inward_fault", "name_fault", "outward_fault"]

# What is wrong with a name, and the fix.
Fault = tuple[str, str]

_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_STRANGE: Final = re.compile(r"[^0-9a-z_.-]+")
_HOP: Final = frozenset(name.decode() for name in HOP_BY_HOP)
# Fields that say how the request came to us, or that some frameworks believe of any peer.
_OF_THE_DOOR: Final = frozenset(
    {
        "forwarded",
        "host",
        "expect",
        "x-forwarded-prefix",
        "x-http-method-override",
        "x-middleware-subrequest",
        "x-original-url",
        "x-rewrite-url",
    }
)
_CREDENTIALS: Final = frozenset({"authorization", "cookie"})
# Fields of a reply that the gateway writes: a second one beside it would speak against it.
_OF_THE_REPLY: Final = frozenset(
    {
        "aggregate-status",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "server",
        "www-authenticate",
        "x-content-type-options",
        "x-request-id",
    }
)
_REMOVE: Final = "remove it"


def inward_fault(name: str) -> Fault | None:
    """Why a name may not cross to a service; None if it may."""
    lower = name.lower()
    if fault := name_fault(name):
        return fault
    folded = lower.replace("_", "-")
    if is_identity_name(lower.encode()):
        return (
            f"`{name}` is written by the gateway alone",
            f"{_REMOVE}; services get the gateway's own",
        )
    if folded in _CREDENTIALS:
        return f"`{name}` is a credential and ends here", f"{_REMOVE}; `identity` sends the caller"
    if folded in _HOP:
        return f"`{name}` is of one connection and ends here", _REMOVE
    if folded in _OF_THE_DOOR or folded.startswith("content-"):
        return f"`{name}` is about the client's request and ends here", _REMOVE
    return _of_grpc(name, folded)


def outward_fault(name: str) -> Fault | None:
    """Why metadata of a reply may not become a header field; None if it may."""
    lower = name.lower()
    if fault := name_fault(name):
        return fault
    folded = lower.replace("_", "-")
    if folded in _HOP:
        return f"`{name}` is of one connection and ends here", _REMOVE
    if folded in _OF_THE_REPLY:
        return f"`{name}` is written by the gateway alone", _REMOVE
    if folded == "set-cookie":
        return f"`{name}` of a gRPC service never reaches a client", _REMOVE
    return _of_grpc(name, folded)


def name_fault(name: str) -> Fault | None:
    """Why a text is no name of metadata at all; None if it is one."""
    lower = name.lower()
    if _NAME.fullmatch(lower):
        return None
    likely = _STRANGE.sub("-", lower).strip("-")
    # Pseudo fields (`:authority`) have no likely name: what they say is not for passing on.
    usable = likely and not name.startswith(":")
    hint = f"did you mean {likely}?" if usable else "use 0-9 a-z _ - ."
    return f"{name!r} is no name of gRPC metadata", hint


def _of_grpc(name: str, folded: str) -> Fault | None:
    if folded.startswith("grpc-"):
        return f"`{name}` belongs to gRPC itself", _REMOVE
    return None
