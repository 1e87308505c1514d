"""The client's address, row by row."""

import pytest

from bff.core.errors import ClientError
from bff.core.headers import Headers
from bff.fronts.address import AddressReader

PROXY = "10.0.0.1"
TRUSTED = ("10.0.0.0/8", "2001:db8:ffff::/48")


def read(peer: str, *lines: str, trusted: tuple[str, ...] = TRUSTED) -> str:
    headers = Headers([(b"x-forwarded-for", line.encode("latin-1")) for line in lines])
    return AddressReader(trusted=trusted).read(peer, headers)


ROWS = {
    "nobody is trusted": (PROXY, ("1.2.3.4",), (), PROXY),
    "a stranger says something": ("5.6.7.8", ("1.2.3.4",), TRUSTED, "5.6.7.8"),
    "a proxy says nothing": (PROXY, (), TRUSTED, PROXY),
    "a proxy says one": (PROXY, ("1.2.3.4",), TRUSTED, "1.2.3.4"),
    "the last stranger counts": (PROXY, ("6.6.6.6, 1.2.3.4, 10.9.9.9",), TRUSTED, "1.2.3.4"),
    "left of it is not even read": (PROXY, ("junk, 1.2.3.4",), TRUSTED, "1.2.3.4"),
    "all lines in order": (PROXY, ("6.6.6.6", "1.2.3.4", "10.2.2.2"), TRUSTED, "1.2.3.4"),
    "only proxies": (PROXY, ("10.3.3.3, 10.2.2.2",), TRUSTED, "10.3.3.3"),
    "with a port": (PROXY, ("1.2.3.4:567",), TRUSTED, "1.2.3.4"),
    "IPv6": (PROXY, ("2001:db8::1",), TRUSTED, "2001:db8::1"),
    "IPv6 in brackets": (PROXY, ("[2001:db8::1]",), TRUSTED, "2001:db8::1"),
    "IPv6 with a port": (PROXY, ("[2001:DB8:0::1]:443",), TRUSTED, "2001:db8::1"),
    "a mapped address": (PROXY, ("::ffff:1.2.3.4",), TRUSTED, "1.2.3.4"),
    "a mapped proxy": (PROXY, ("1.2.3.4, ::ffff:10.1.1.1",), TRUSTED, "1.2.3.4"),
    "a mapped peer": ("::ffff:10.0.0.1", ("1.2.3.4",), TRUSTED, "1.2.3.4"),
    "an IPv6 proxy": ("2001:db8:ffff::7", ("1.2.3.4",), TRUSTED, "1.2.3.4"),
    "unknown": (PROXY, ("1.2.3.4, unknown, 10.2.2.2",), TRUSTED, "10.2.2.2"),
    "an obfuscated name": (PROXY, ("1.2.3.4, _hidden",), TRUSTED, PROXY),
    "32 entries": (PROXY, (", ".join(["1.2.3.4"] * 32),), TRUSTED, "1.2.3.4"),
}


@pytest.mark.rule("edge.4")
@pytest.mark.parametrize(("peer", "lines", "trusted", "address"), ROWS.values(), ids=ROWS)
def test_who_the_client_is(
    peer: str, lines: tuple[str, ...], trusted: tuple[str, ...], address: str
) -> None:
    assert read(peer, *lines, trusted=trusted) == address


@pytest.mark.rule("edge.4")
@pytest.mark.parametrize(
    "line",
    [
        "junk",
        "",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.4:x",
        "[::1",
        "[1.2.3.4]x",
        "[::1]x443",
        "1.2.3.4:\xb2",
        "\xa01.2.3.4",
        "fe80::1%eth0",
        "1.2.3.4,",
    ],
)
def test_junk_where_the_client_should_stand_is_refused(line: str) -> None:
    with pytest.raises(ClientError) as caught:
        read(PROXY, line)

    assert caught.value.reason == "BAD_FORWARDED"


@pytest.mark.rule("edge.4")
def test_more_than_32_entries_are_refused() -> None:
    with pytest.raises(ClientError) as caught:
        read(PROXY, ", ".join(["1.2.3.4"] * 33))

    assert caught.value.reason == "BAD_FORWARDED"


def test_nobody_is_trusted_unless_named() -> None:
    assert not AddressReader(trusted=()).is_trusted("127.0.0.1")
    assert AddressReader(trusted=("127.0.0.1/32",)).is_trusted("127.0.0.1")
    assert not AddressReader(trusted=("127.0.0.1/32",)).is_trusted("127.0.0.2")
