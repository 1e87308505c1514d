"""What crosses between a client and a service: header fields in, metadata out, by lists made at load.

Names whose end is `-bin` carry octets: base64 in a header field, raw in metadata (gRPC over HTTP/2,
"Custom-Metadata"). A value that cannot cross is left out and counted; the request goes on.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from bff.core.errors import ClientError
from bff.core.exchange import Reply, Trailers
from bff.core.headers import Headers, connection_named
from bff.pipeline.field_rules import inward_fault
from bff.wire.channel import UnaryReply

__all__ = [
    "GATEWAY_PREFIX",
    "Inward",
    "Outward",
    "Pairs",
    "Skip",
    "StreamFields",
    "judge_size",
    "metadata_size",
    "octets_of_base64",
]

Pairs = Sequence[tuple[str, str | bytes]]
# Told of each field that is left out: for its name, or for its value.
Skip = Callable[[Literal["name", "value"]], None]

# What grpc-gateway's clients write before the name of metadata.
GATEWAY_PREFIX: Final = b"grpc-metadata-"
# Values of Connection that name no field; nearly every HTTP/1.1 client sends one of them or none.
_PLAIN_CONNECTION: Final = frozenset({b"keep-alive", b"close"})
# Names behind a prefix that are kept ready; those beyond are worked out each time.
_MOST_KEPT: Final = 256
# What steers the reader of a reply may not come behind it (RFC 9110 6.5.1).
_HEAD_ONLY: Final = b"location"


class Inward:
    """What of a client's header fields goes to a service, and what goes with every call.

    `listed` gives the metadata name of a header field (lower case). Fields that begin with `prefix`
    go without it. `removed` holds metadata names that no client sends. `fixed` comes last.
    """

    __slots__ = ("_fixed", "_kept", "_listed", "_prefix", "_removed", "_skip")

    def __init__(
        self,
        *,
        listed: Mapping[bytes, str],
        skip: Skip,
        prefix: bytes = b"",
        removed: frozenset[str] = frozenset(),
        fixed: Pairs = (),
    ) -> None:
        self._listed = {header: (name, name.endswith("-bin")) for header, name in listed.items()}
        self._kept: dict[bytes, tuple[str, bool]] = {}
        self._prefix = prefix
        self._removed = removed
        self._fixed = fixed
        self._skip = skip

    def of(self, headers: Headers) -> Pairs:
        """The metadata that this request sends on. Raises ClientError INVALID_HEADER for bad base64."""
        if not self._listed and not self._prefix:
            return self._fixed
        ended = _ended_here(headers)
        passed: list[tuple[str, str | bytes]] = []
        listed, prefix = self._listed, self._prefix
        for header, value in headers.raw:
            entry = listed.get(header)
            if entry is None:
                if not prefix or not header.startswith(prefix):
                    continue
                entry = self._behind_prefix(header)
            if entry is None or header in ended:
                continue
            name, is_binary = entry
            if is_binary:
                passed.extend((name, octets) for octets in _octets(header, value))
            elif value.isascii() and (text := value.decode("ascii")).isprintable():
                passed.append((name, text))
            else:
                self._skip("value")
        passed.extend(self._fixed)
        return passed

    def _behind_prefix(self, header: bytes) -> tuple[str, bool] | None:
        """The metadata name of a field that begins with the prefix; None where it may not cross."""
        kept = self._kept.get(header)
        if kept is not None:
            return kept
        name = header[len(self._prefix) :].decode("latin-1")
        # The whole name is judged too, or a prefix `x-` would let `x-forwarded-for` out of its rule.
        whole = name if self._prefix == GATEWAY_PREFIX else header.decode("latin-1")
        if inward_fault(name) or inward_fault(whole):
            self._skip("name")
            return None
        if name in self._removed:
            return None
        made = (name, name.endswith("-bin"))
        if len(self._kept) < _MOST_KEPT:
            self._kept[header] = made
        return made


class Outward:
    """Which metadata of a reply the client sees; `names` gives the header field of each.

    `trails`: what comes behind the messages stays behind, for clients that take trailers.
    """

    __slots__ = ("_names", "_skip", "_trailer_names", "trails")

    def __init__(self, *, names: Mapping[str, str], skip: Skip, trails: bool = False) -> None:
        self._names = {name: header.encode() for name, header in names.items()}
        self._skip = skip
        self.trails = trails
        self._trailer_names = b", ".join(
            sorted(name for name in self._names.values() if name != _HEAD_ONLY)
        )

    def dress(self, reply: Reply, answer: UnaryReply) -> None:
        """Put the metadata of a unary answer onto the reply."""
        if not self.trails:
            reply.headers += self.of(answer.metadata)
            return
        reply.headers += self.of(answer.metadata[: answer.initial])
        trailing = self.of(answer.metadata[answer.initial :])
        reply.headers += [field for field in trailing if field[0] == _HEAD_ONLY]
        reply.trailers = self.trailers(trailing)

    def trailers(self, fields: list[tuple[bytes, bytes]]) -> Trailers:
        """These fields as trailers."""
        return Trailers(self._trailer_names, [each for each in fields if each[0] != _HEAD_ONLY])

    def of(self, metadata: Pairs) -> list[tuple[bytes, bytes]]:
        """Header fields, in the order of the metadata."""
        found: list[tuple[bytes, bytes]] = []
        for name, value in metadata:
            header = self._names.get(name)
            if header is None:
                continue
            if isinstance(value, bytes):
                found.append((header, b64encode(value).rstrip(b"=")))
            elif value.isascii() and value.isprintable():
                found.append((header, value.encode("ascii")))
            else:
                # A line break would begin a field of the service's own making (RFC 9110 5.5).
                self._skip("value")
        return found


class StreamFields:
    """The metadata of a stream's reply: what is there at its head, and what comes at its end."""

    __slots__ = ("_outward", "_shown", "received", "trailers")

    def __init__(self, outward: Outward) -> None:
        self._outward = outward
        # Filled by the call.
        self.received: list[tuple[str, str | bytes]] = []
        self._shown = 0
        self.trailers = outward.trailers([]) if outward.trails else None

    def head(self) -> list[tuple[bytes, bytes]]:
        """Header fields of what has come so far."""
        self._shown = len(self.received)
        return self._outward.of(self.received)

    def rest(self) -> list[tuple[bytes, bytes]]:
        """Fields of what came since, for framings that have a place for them."""
        return self._outward.of(self.received[self._shown :])

    def end(self) -> None:
        """The stream ended well: what came since is for behind it."""
        if self.trailers is not None:
            self.trailers.fields += self._outward.trailers(self.rest()).fields


def metadata_size(metadata: Pairs) -> int:
    """Octets as RFC 9113 6.5.2 counts them: an entry has its name, its value and 32 more."""
    return sum(len(name) + len(value) + 32 for name, value in metadata)


def judge_size(metadata: Pairs, cap_bytes: int) -> None:
    """Raise ClientError METADATA_TOO_LARGE for more than a call may carry."""
    if metadata_size(metadata) > cap_bytes:
        raise ClientError("METADATA_TOO_LARGE", metadata={"limit": str(cap_bytes)})


def octets_of_base64(text: bytes) -> bytes | None:
    """Octets of standard base64, padded or not; None if it is none."""
    bare = text.rstrip(b"=")
    if len(text) - len(bare) > 2 or (len(text) != len(bare) and len(text) % 4):
        return None
    try:
        return b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        return None


def _octets(header: bytes, value: bytes) -> list[bytes]:
    """The octets of a `-bin` field; values joined by commas are several (gRPC over HTTP/2)."""
    found = []
    for part in value.split(b","):
        octets = octets_of_base64(part.strip(b" \t"))
        if octets is None:
            name = header.decode("latin-1")
            raise ClientError(
                "INVALID_HEADER", f"The header {name} is not base64.", metadata={"header": name}
            )
        found.append(octets)
    return found


def _ended_here(headers: Headers) -> frozenset[bytes]:
    """The fields that the client's Connection names: they are for this hop (RFC 9110 7.6.1)."""
    for name, value in headers.raw:
        if name == b"connection" and value not in _PLAIN_CONNECTION:
            return connection_named(headers)
    return frozenset()
