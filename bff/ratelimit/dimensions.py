"""What a bucket may be told apart by: the dimensions of a policy, as functions prepared at load."""

import socket
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

from bff.core.exchange import Principal
from bff.core.headers import Headers

__all__ = ["Reader", "address_key", "compile_key"]

Reader = Callable[[Principal, str, Headers], str]

ABSENT = "-"
MAX_DIMENSIONS = 6
# Longer keys are hashed, so the memory of a full table has a bound that no caller moves.
MAX_KEY_LENGTH = 160

_IDENTITY = frozenset({"caller", "user", "tenant", "api_key", "client"})
_MAPPED_IPV4 = bytes(10) + b"\xff\xff"


def address_key(address: str) -> str:
    """The part of an address that names one subscriber: all of IPv4, the /64 of IPv6.

    IPv4 inside IPv6 (`::ffff:192.0.2.1`) counts as IPv4; a text that is no address stands for itself.
    """
    if ":" not in address:
        return address or ABSENT
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address
    if packed.startswith(_MAPPED_IPV4):
        return socket.inet_ntoa(packed[12:])
    return packed[:8].hex()


def _caller(principal: Principal, address: str, _headers: Headers) -> str:
    # API key, else user, else address. The letter keeps one kind from spelling another's name.
    if principal.kind != "anonymous":
        if principal.kind == "api_key" and principal.key_id:
            return "k" + principal.key_id
        if principal.sub:
            return f"u{len(principal.provider)}:{principal.provider}{principal.sub}"
    return "a" + address_key(address)


def _user(principal: Principal, _address: str, _headers: Headers) -> str:
    if not principal.sub or principal.kind == "anonymous":
        return ABSENT
    return f"{len(principal.provider)}:{principal.provider}{principal.sub}"


def _ip(_principal: Principal, address: str, _headers: Headers) -> str:
    return address_key(address)


def _tenant(principal: Principal, _address: str, _headers: Headers) -> str:
    return principal.tenant or ABSENT


def _api_key(principal: Principal, _address: str, _headers: Headers) -> str:
    return principal.key_id if principal.kind == "api_key" and principal.key_id else ABSENT


def _client(principal: Principal, _address: str, _headers: Headers) -> str:
    return principal.client_id or ABSENT


_READERS: dict[str, Reader] = {
    "caller": _caller,
    "user": _user,
    "ip": _ip,
    "tenant": _tenant,
    "api_key": _api_key,
    "client": _client,
}


def _claim(name: str) -> Reader:
    def read(principal: Principal, _address: str, _headers: Headers) -> str:
        value = principal.claims.get(name)
        # Only what has one spelling; a list or an object is no dimension.
        return str(value) if isinstance(value, str | int) and value != "" else ABSENT

    return read


def _header(name: bytes) -> Reader:
    def read(_principal: Principal, _address: str, headers: Headers) -> str:
        return headers.text(name) or ABSENT

    return read


def _reader(dimension: str, fixed: Mapping[str, str]) -> Reader | str:
    """How to read a dimension; a text where it is known at load."""
    if dimension in _READERS:
        return _READERS[dimension]
    if dimension in fixed:
        return fixed[dimension] or ABSENT
    kind, _, name = dimension.partition(":")
    if kind == "claim" and name:
        return _claim(name)
    if kind == "header" and name:
        return _header(name.lower().encode("latin-1"))
    raise ValueError(f"unknown dimension {dimension!r}")


def compile_key(policy: str, by: Sequence[str], fixed: Mapping[str, str]) -> Reader:
    """A function that names the bucket of `policy` which a request falls into.

    `fixed` holds the values a route knows at load (route, method, service, upstream, region).
    Raises ValueError for an unknown dimension, more than six, or a header without an identity beside it.
    """
    if len(by) > MAX_DIMENSIONS:
        raise ValueError(f"at most {MAX_DIMENSIONS} dimensions, got {len(by)}")
    if len(set(by)) != len(by):
        raise ValueError("a dimension is given twice")
    # A header alone would let a client choose its bucket.
    if any(name.startswith("header:") for name in by) and not _IDENTITY.intersection(by):
        raise ValueError("a header needs an identity beside it: " + ", ".join(sorted(_IDENTITY)))
    prefix = policy + "|"
    values = [_reader(name, fixed) for name in by]
    if len(values) == 1:
        (value,) = values
        return (
            _constant(prefix, prefix + value) if isinstance(value, str) else _single(prefix, value)
        )
    texts = [prefix]
    readers = []
    for value in values:
        if isinstance(value, str):
            texts[-1] += _measured(value)
        else:
            readers.append(value)
            texts.append("")
    if not readers:
        return _constant(prefix, texts[0])
    if len(readers) == 1:
        return _between(prefix, texts[0], readers[0], texts[1])
    return _joined(prefix, texts, readers)


def _measured(value: str) -> str:
    # Lengths first: no value can run over into the next one's place.
    return f"{len(value)}:{value}"


# One function a shape, since each runs for each request and policy.


def _constant(prefix: str, name: str) -> Reader:
    known = name if len(name) <= MAX_KEY_LENGTH else prefix + _digest(name)

    def key(_principal: Principal, _address: str, _headers: Headers) -> str:
        return known

    return key


def _single(prefix: str, reader: Reader) -> Reader:
    def key(principal: Principal, address: str, headers: Headers) -> str:
        name = prefix + reader(principal, address, headers)
        return name if len(name) <= MAX_KEY_LENGTH else prefix + _digest(name)

    return key


def _between(prefix: str, before: str, reader: Reader, after: str) -> Reader:
    def key(principal: Principal, address: str, headers: Headers) -> str:
        value = reader(principal, address, headers)
        name = f"{before}{len(value)}:{value}{after}"
        return name if len(name) <= MAX_KEY_LENGTH else prefix + _digest(name)

    return key


def _joined(prefix: str, texts: Sequence[str], readers: Sequence[Reader]) -> Reader:
    first, rest = texts[0], tuple(zip(readers, texts[1:], strict=True))

    def key(principal: Principal, address: str, headers: Headers) -> str:
        name = first
        for reader, text in rest:
            value = reader(principal, address, headers)
            name += f"{len(value)}:{value}{text}"
        return name if len(name) <= MAX_KEY_LENGTH else prefix + _digest(name)

    return key


def _digest(name: str) -> str:
    return "#" + blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
