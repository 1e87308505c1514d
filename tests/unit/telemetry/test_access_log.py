"""The line of a request."""

import json
import random
from typing import Any

import pytest

from bff.core.exchange import Principal, Request, UpstreamCall
from bff.core.headers import Headers
from bff.telemetry.access_log import AccessLog, UserIdMode


class StillClock:
    def now_s(self) -> float:
        return 100.25

    def unix_s(self) -> float:
        return 1_700_000_000.042


async def no_body(_most: int) -> bytes:
    return b""


def request(path: str = "/v1/orders/o1") -> Request:
    made = Request(
        method="GET",
        path=path,
        query=b"token=secret",
        headers=Headers([(b"authorization", b"Bearer secret")]),
        address="192.0.2.1",
        host="api.example.com",
        scheme="https",
        protocol="h2",
        request_id="req-1",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="00f067aa0ba902b7",
        started_s=100.0,
        deadline_s=110.0,
        read_body=no_body,
    )
    made.principal = Principal(kind="jwt", sub="u1", tenant="acme")
    return made


def access_log(
    lines: list[bytes], *, user_id: UserIdMode = "plain", hash_key: bytes = b""
) -> AccessLog:
    return AccessLog(
        write=lines.append,
        clock=StillClock(),
        random=random.Random(1),
        user_id=user_id,
        hash_key=hash_key,
    )


def parsed(lines: list[bytes]) -> dict[str, Any]:
    (line,) = lines
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    fields = json.loads(line)
    assert isinstance(fields, dict)
    return fields


@pytest.mark.rule("control.OB2")
def test_a_line_tells_who_asked_what_and_how_it_went() -> None:
    lines: list[bytes] = []
    asked = request()
    asked.calls = [
        UpstreamCall(operation="/s.O/Get", upstream="orders", code="OK", ms=40.0),
        UpstreamCall(operation="/s.U/Get", upstream="users", code="OK", ms=90.0, attempts=2),
    ]

    access_log(lines).log(
        asked, status=200, route_id="r1", path_template="/v1/orders/{id}", upstream="orders"
    )

    fields = parsed(lines)
    expected = {
        "ts": "2023-11-14T22:13:20.042Z",
        "request_id": "req-1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "user_id": "u1",
        "tenant_id": "acme",
        "route_id": "r1",
        "upstream_service": "orders",
        "status_code": 200,
        "latency_ms": 250.0,
        "upstream_latency_ms": 90.0,
        "auth_method": "jwt",
        "client_ip": "192.0.2.1",
    }
    assert {name: fields[name] for name in expected} == expected
    assert [call["attempts"] for call in fields["calls"]] == [1, 2]


@pytest.mark.rule("control.OB8")
def test_queries_and_headers_are_never_logged() -> None:
    lines: list[bytes] = []

    access_log(lines).log(request(), status=401, reason="TOKEN_INVALID", stage="authenticate")

    assert b"secret" not in lines[0]
    assert parsed(lines)["reason"] == "TOKEN_INVALID"


@pytest.mark.rule("control.OB8")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param('/a\n{"status_code":200}', id="newline"),
        pytest.param('/a","status_code":1,"b":"', id="quote"),
        pytest.param("/\x1b[31m\x00", id="escape-codes"),
        pytest.param("/\ud800", id="half-a-surrogate-pair"),
        pytest.param("/" + "a" * 100_000, id="endless"),
    ],
)
def test_no_path_can_forge_or_break_a_line(path: str) -> None:
    lines: list[bytes] = []

    access_log(lines).log(request(path), status=404, reason="NO_ROUTE")

    assert parsed(lines)["status_code"] == 404
    assert not any(byte < 32 for byte in lines[0][:-1])
    assert len(lines[0]) < 4_000


@pytest.mark.rule("control.OB8")
def test_texts_of_strangers_are_cut() -> None:
    lines: list[bytes] = []
    asked = request("/" + "a" * 2_000)
    asked.detail = "d" * 2_000
    asked.host = "h" * 2_000
    asked.principal = Principal(kind="jwt", sub="s" * 2_000, tenant="t" * 2_000)
    asked.calls = [
        UpstreamCall(operation="o.Get", upstream="o", code="OK", ms=1.0, source=source)
        for source in ("a" * 2_000, "order.0.item", "")
    ]

    access_log(lines).log(
        asked, status=200, graphql_operation="q" * 2_000, client_app="c" * 2_000, upstream="o"
    )

    fields = parsed(lines)
    names = ("path", "detail", "host", "graphql_operation", "client_app", "user_id", "tenant_id")
    assert [len(fields[name]) for name in names] == [1_024, 1_024, 1_024, 256, 256, 256, 256]
    assert [call["source"] for call in fields["calls"]] == ["a" * 128, "order.0.item", ""]
    assert asked.calls[0].source == "a" * 2_000


@pytest.mark.rule("control.OB8")
@pytest.mark.parametrize(
    "forging",
    ["\x80", "\x85", "\x9b", "\u2028", "\u202a", "\u202e", "\u2066", "\u2069"],
    ids=lambda text: f"U+{ord(text):04X}",
)
def test_no_character_that_turns_or_hides_text_reaches_a_line(forging: str) -> None:
    lines: list[bytes] = []
    text = f"gr\u00fc\u00df{forging}e"
    asked = request(text)
    asked.host = asked.detail = text
    asked.calls = [UpstreamCall(operation="o.Get", upstream="o", code="OK", ms=1.0, source=text)]

    access_log(lines).log(asked, status=404, graphql_operation=text)

    fields = parsed(lines)
    names = ("path", "host", "detail", "graphql_operation")
    shown = [*(fields[name] for name in names), fields["calls"][0]["source"]]
    assert shown == ["gr\u00fc\u00dfe"] * 5


@pytest.mark.parametrize(("mode", "shown"), [("plain", "u1"), ("off", None)])
def test_user_ids_appear_as_configured(mode: UserIdMode, shown: str | None) -> None:
    lines: list[bytes] = []

    access_log(lines, user_id=mode).log(request(), status=200)

    assert parsed(lines)["user_id"] == shown


def test_hashed_user_ids_are_stable_and_depend_on_the_key() -> None:
    seen = []
    for key in (b"k" * 16, b"k" * 16, b"l" * 16):
        lines: list[bytes] = []
        access_log(lines, user_id="hash", hash_key=key).log(request(), status=200)
        seen.append(parsed(lines)["user_id"])

    assert seen[0] == seen[1] != seen[2]
    assert "u1" not in seen


@pytest.mark.rule("control.OB1")
def test_a_share_thins_out_good_requests_only() -> None:
    lines: list[bytes] = []
    log = access_log(lines)

    for _ in range(1_000):
        log.log(request(), status=200, share=0.1)
    good = len(lines)
    for _ in range(10):
        log.log(request(), status=500, share=0.0)
        log.log(request(), status=200, aborted=True, share=0.0)
        log.log(request(), status=200, partial=True, share=0.0)
        log.log(request(), status=200, share=0.0)

    assert 50 < good < 150
    assert len(lines) - good == 30


WHO = {
    "a user": Principal(kind="jwt", sub="u1", tenant="acme"),
    "nobody": Principal(),
    "a key without a user": Principal(kind="api_key", key_id="k1"),
    "names that would break a line": Principal(
        kind="jwt", sub='u"1%s\\\u2028', tenant="\u202eacme\n%d"
    ),
    "half a surrogate pair": Principal(kind="jwt", sub="a\ud800b"),
    "an endless name": Principal(kind="jwt", sub="u" * 10_000),
}


@pytest.mark.rule("control.OB2")
@pytest.mark.parametrize("mode", ["plain", "hash", "off"])
@pytest.mark.parametrize("who", WHO.values(), ids=WHO)
def test_a_prepared_line_says_what_an_encoded_one_says(who: Principal, mode: UserIdMode) -> None:
    """Good requests take a prepared text; naming the client's app takes the encoder: all else is equal."""
    lines: list[bytes] = []
    log = access_log(lines, user_id=mode, hash_key=b"k" * 32)
    for app in ("", "ios", ""):
        asked = request()
        asked.principal = who
        asked.address, asked.host = "2001:db8::1", 'a"b.example'
        asked.calls = [
            UpstreamCall(operation="/s.O/Get%s", upstream="or%ders", code="OK", ms=1 / 3)
        ]
        log.log(
            asked, status=201, route_id="r%1", path_template='/v1/"{id}"', upstream="or%ders",
            version="v1", bytes_in=7, bytes_out=1701, client_app=app,
        )  # fmt: skip

    prepared, encoded, again = (json.loads(line) for line in lines)
    assert prepared == {**encoded, "client_app": ""}
    assert again == prepared
    assert list(prepared) == list(encoded)
