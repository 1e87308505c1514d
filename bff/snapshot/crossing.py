"""Which names and values the blocks `metadata` may hold: what only the gateway says stays its own.

A listed name is a promise to pass a client's field on, or a service's metadata out. Some fields end
at this hop (RFC 9110 7.6.1), some belong to gRPC's own framing, and identity is written by
authentication alone: a mapping that lists one of those is refused at load, not skipped at request.
"""

import re
from collections.abc import Iterator
from typing import Final

from bff.auth.identity import is_identity_name
from bff.config.switches import Metadata
from bff.core.headers import HOP_BY_HOP
from bff.snapshot.findings import Findings
from bff.snapshot.levels import MetadataLevel

__all__ = ["judge_metadata"]

_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
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


def judge_metadata(levels: list[MetadataLevel], find: Findings) -> None:
    """Note the names and values in force that may not cross, each where the nearest level writes it.

    `levels` go from far to near, as `Levels.metadata_levels` gives them.
    """
    for attribute, key, faults_of in _KEYS:
        for block, placed, path in reversed(levels):
            if block is None or attribute not in block.model_fields_set:
                continue
            for step, message, hint in faults_of(block):
                find.add(placed, message, *path, key, step, hint=hint)
            break


Faults = Iterator[tuple[str | int, str, str]]


def _faults_in(block: Metadata) -> Faults:
    for index, name in enumerate(block.in_):
        if fault := _inward(name):
            yield index, *fault


def _faults_set(block: Metadata) -> Faults:
    for name, value in block.set.items():
        if fault := _inward(name):
            yield name, *fault
        elif not _VALUE.fullmatch(value):
            yield name, f"the value of `{name}` is not printable ASCII", "use U+0020 to U+007E"


def _faults_out(block: Metadata) -> Faults:
    for index, name in enumerate(block.out):
        if fault := _outward(name):
            yield index, *fault


# Attribute of the block, its key in the file, what is wrong with its value.
_KEYS: Final = (
    ("in_", "in", _faults_in),
    ("set", "set", _faults_set),
    ("out", "out", _faults_out),
)


def _inward(name: str) -> tuple[str, str] | None:
    """Why a name may not cross to a service, with the fix; None if it may."""
    lower = name.lower()
    if fault := _no_name(name, lower):
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


def _outward(name: str) -> tuple[str, str] | None:
    """Why metadata of a reply may not become a header field, with the fix; None if it may."""
    lower = name.lower()
    if fault := _no_name(name, lower):
        return fault
    folded = lower.replace("_", "-")
    if folded in _HOP:
        return f"`{name}` is of one connection and ends here", _REMOVE
    if folded in _OF_THE_REPLY:
        return f"`{name}` is written by the gateway alone", _REMOVE
    if folded == "set-cookie":
        return f"`{name}` of a gRPC service never reaches a client", _REMOVE
    return _of_grpc(name, folded)


def _no_name(name: str, lower: str) -> tuple[str, str] | None:
    if _NAME.fullmatch(lower):
        return None
    likely = _STRANGE.sub("-", lower).strip("-")
    # Pseudo fields (`:authority`) have no likely name: what they say is not for passing on.
    usable = likely and not name.startswith(":")
    hint = f"did you mean {likely}?" if usable else "use 0-9 a-z _ - ."
    return f"{name!r} is no name of gRPC metadata", hint


def _of_grpc(name: str, folded: str) -> tuple[str, str] | None:
    if folded.startswith("grpc-"):
        return f"`{name}` belongs to gRPC itself", _REMOVE
    return None
