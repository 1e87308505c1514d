"""The client's address: the socket's peer, or what a trusted proxy says of it. Pure.

Nobody else is believed: with no trusted proxies every forwarding field is ignored.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from bff.core.errors import ClientError
from bff.core.headers import Headers

__all__ = ["AddressReader"]

_MAX_ENTRIES = 32
_PORT = re.compile(r":[0-9]{1,5}").fullmatch
_Address = IPv4Address | IPv6Address


class AddressReader:
    """Reads the client's address. `trusted` are CIDRs; `X-Forwarded-For` is read from those only."""

    def __init__(self, *, trusted: Sequence[str]) -> None:
        self._trusted = [ip_network(cidr, strict=False) for cidr in trusted]
        # The few proxies in front of us come again and again; strangers only churn 1,024 entries.
        self._is_trusted = lru_cache(maxsize=1024)(self._judge)

    def _judge(self, address: str) -> bool:
        parsed = _parse(address)
        return parsed is not None and any(
            parsed in net for net in self._trusted if net.version == parsed.version
        )

    def is_trusted(self, peer: str) -> bool:
        """Is the socket's peer one of our proxies?"""
        return bool(self._trusted) and self._is_trusted(peer)

    def read(self, peer: str, headers: Headers) -> str:
        """The client's address as text. Raises ClientError BAD_FORWARDED on junk from a trusted peer.

        Walks the field from the right over trusted addresses; the first untrusted one is the
        client, whatever is left of it was written by strangers.
        """
        if not self._trusted:
            return peer
        if not self._is_trusted(peer):
            return peer
        lines = headers.all(b"x-forwarded-for")
        if not lines:
            return peer
        entries = b",".join(lines).decode("latin-1").split(",")
        if len(entries) > _MAX_ENTRIES:
            raise _junk()
        client = peer
        for entry in reversed(entries):
            text = entry.strip(" \t")
            if text.lower() == "unknown" or text.startswith("_"):
                return client
            parsed = _parse(_without_port(text))
            if parsed is None:
                raise _junk()
            client = str(parsed)
            if not self._is_trusted(client):
                return client
        return client


def _parse(text: str) -> _Address | None:
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address in IPv6Network("::ffff:0:0/96"):
        return address.ipv4_mapped
    return address


def _without_port(text: str) -> str:
    """The address of `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]` or `[::1]:80`; empty for another form."""
    if text.startswith("["):
        inside, closed, port = text[1:].partition("]")
        return inside if closed and (not port or _PORT(port)) else ""
    if text.count(":") == 1:
        host, colon, port = text.partition(":")
        return host if _PORT(colon + port) else ""
    return text


def _junk() -> ClientError:
    return ClientError("BAD_FORWARDED", headers=((b"connection", b"close"),))
