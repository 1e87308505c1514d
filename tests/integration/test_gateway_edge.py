"""The door: paths, headers, ids, addresses; and what the log says of each request."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import ROOMY
from tests.support.gateway import GatewayProcess
from tests.support.samples import SampleServices

# Whatever a test asks for, no fault that another left in the services is in its way.
pytestmark = pytest.mark.usefixtures("samples")

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

# Spelling of the path, status. None of them may reach a service.
SPELLINGS = {
    "dot": ("/v1/./products/p-1", 400),
    "two dots": ("/v1/users/../products/p-1", 400),
    "dots at the end": ("/v1/products/..", 400),
    "encoded dots": ("/v1/products/%2e%2e", 400),
    "half encoded dots": ("/v1/products/.%2E", 400),
    "dots beside an encoded slash": ("/v1/products/..%2Fp-1", 400),
    "dots before a parameter": ("/v1/products/..;a=1", 400),
    "backslash": ("/v1\\products\\p-1", 400),
    "encoded backslash": ("/v1/products/p%5C1", 400),
    "nul": ("/v1/products/p-1%00", 400),
    "line break": ("/v1/products/p-1%0a", 400),
    "delete": ("/v1/products/%7f", 400),
    "broken escape": ("/v1/products/%zz", 400),
    "short escape": ("/v1/products/%4", 400),
    "no UTF-8": ("/v1/products/%ff", 400),
    "overlong": ("/v1/products/%c0%ae", 400),
    "surrogate": ("/v1/products/%ed%a0%80", 400),
    "double encoded slash": ("/v1/products/..%252fp-1", 400),
    "double encoded nul": ("/v1/products/%2500", 400),
    "raw quote": ('/v1/products/"p-1"', 400),
    "raw brace": ("/v1/products/{p-1}", 400),
    "doubled slash": ("//v1/products/p-1", 404),
    "slash at the end": ("/v1/products/p-1/", 404),
    "encoded slash for a separator": ("/v1%2Fproducts/p-1", 404),
    "other case": ("/V1/products/p-1", 404),
}


@pytest.mark.rule("edge.3")
@pytest.mark.parametrize(("target", "status"), SPELLINGS.values(), ids=SPELLINGS)
async def test_no_spelling_of_a_path_reaches_a_service(
    gateway: GatewayProcess, samples: SampleServices, target: str, status: int
) -> None:
    reply = await gateway.raw_get(target)

    assert reply.status == status
    if reply.body:
        assert reply.reason == ("BAD_PATH" if status == 400 else "NO_ROUTE")
    assert (await samples.calls("catalog", "GetProduct")).calls == 0


@pytest.mark.rule("edge.3")
@pytest.mark.parametrize("target", ["*", "http://gateway/v1/products/p-1", "gateway:80"])
async def test_other_forms_of_a_target_are_refused_or_the_one_route(
    gateway: GatewayProcess, samples: SampleServices, target: str
) -> None:
    """The absolute form names the same path (RFC 9112 3.2.2); the others have none."""
    reply = await gateway.raw_get(target)

    assert reply.status in ({200} if target.startswith("http") else {400, 404, 405})


@pytest.mark.rule("transcoding.49")
async def test_an_encoded_slash_is_data_of_its_variable(
    gateway: GatewayProcess, samples: SampleServices
) -> None:
    reply = await gateway.raw_get("/v1/products/a%2Fb")

    assert reply.status == 404
    assert "a/b" in reply.body.decode()
    assert (await samples.calls("catalog", "GetProduct")).calls == 1


async def test_unreserved_escapes_name_the_same_product(gateway: GatewayProcess) -> None:
    plain = await gateway.raw_get("/v1/products/p-1")
    escaped = await gateway.raw_get("/v1/%70roducts/%70%2D1")

    assert (plain.status, escaped.status) == (200, 200)
    assert plain.body == escaped.body


HEADERS = {
    "two hosts": ("Host: other", 400),
    "underscore": ("x_user_id: u-2", 400),
    "two tokens": ("Authorization: Bearer a\r\nAuthorization: Bearer b", 400),
    "two types": ("Content-Type: text/plain\r\nContent-Type: text/plain", 415),
    "two keys": ("X-Api-Key: a\r\nX-Api-Key: b", 400),
    "token not ASCII": ("Authorization: Bearer \xe9", 400),
    "timeout without unit": ("grpc-timeout: 10", 400),
    "timeout too long": ("grpc-timeout: 123456789S", 400),
    "timeout below zero": ("grpc-timeout: -1S", 400),
    "timeout with a fraction": ("grpc-timeout: 1.5S", 400),
    "two timeouts": ("grpc-timeout: 1S\r\ngrpc-timeout: 1S", 400),
    "Connect timeout with a unit": ("Connect-Timeout-Ms: 10m", 400),
    "Connect timeout too long": ("Connect-Timeout-Ms: 12345678901", 400),
    "server timeout below zero": ("X-Server-Timeout: -1", 400),
    "server timeout in words": ("X-Server-Timeout: soon", 400),
    "a good timeout beside a bad one": ("grpc-timeout: 1S\r\nX-Server-Timeout: x", 400),
    "expectation": ("Expect: teapot", 417),
    "coding": ("Transfer-Encoding: gzip, chunked", 501),
}


@pytest.mark.rule("edge.4", "transcoding.147")
@pytest.mark.parametrize(("lines", "status"), HEADERS.values(), ids=HEADERS)
async def test_a_header_with_two_meanings_is_refused(
    gateway: GatewayProcess, samples: SampleServices, lines: str, status: int
) -> None:
    reply = await gateway.raw_get("/v1/products/p-1", *lines.split("\r\n"))

    # The server itself answers 400 for a transfer coding that it does not know.
    assert reply.status in {status, 400}
    assert reply.headers["connection"] == "close"
    assert (await samples.calls("catalog", "GetProduct")).calls == 0


@pytest.mark.rule("edge.4")
async def test_http_1_0_may_leave_out_its_host(gateway: GatewayProcess) -> None:
    """RFC 9112 3.2 asks it of HTTP/1.1; health checks of old balancers have none."""
    reply = await gateway.raw(b"GET /v1/products/p-1 HTTP/1.0\r\n\r\n")

    assert (reply.status, json.loads(reply.body)["productId"]) == (200, "p-1")


async def test_what_is_no_request_is_counted(gateway: GatewayProcess) -> None:
    """It has no line in the access log, so an operator has nothing else to go by."""
    name = "bff_connections_refused_total"
    before = await gateway.metric(name, reason="MALFORMED_REQUEST")

    reply = await gateway.raw(b"\x16\x03\x01 no HTTP\r\n\r\n")

    assert (reply.status, reply.reason) == (400, "MALFORMED_REQUEST")
    await gateway.wait_metric(name, before + 1, reason="MALFORMED_REQUEST")


@pytest.mark.rule("edge.4")
@pytest.mark.parametrize("host", [None, "", "a b", "user@host", "host:port", "host/x"])
async def test_a_request_without_a_good_host_is_refused(
    gateway: GatewayProcess, samples: SampleServices, host: str | None
) -> None:
    line = "" if host is None else f"Host: {host}\r\n"
    reply = await gateway.raw(
        f"GET /v1/products/p-1 HTTP/1.1\r\n{line}Connection: close\r\n\r\n".encode()
    )

    assert reply.status == 400
    assert (await samples.calls("catalog", "GetProduct")).calls == 0


@pytest.mark.rule("edge.4")
async def test_bytes_after_a_chunked_body_are_no_request(
    gateway: GatewayProcess, samples: SampleServices
) -> None:
    """Content-Length beside chunked: what a proxy may take for the body's rest is never answered."""
    smuggled = "GET /v1/products/p-2 HTTP/1.1\r\nHost: gateway\r\n\r\n"
    reply = await gateway.raw(
        (
            "GET /v1/products/p-1 HTTP/1.1\r\nHost: gateway\r\n"
            f"Content-Length: {5 + len(smuggled)}\r\nTransfer-Encoding: chunked\r\n\r\n"
            f"0\r\n\r\n{smuggled}"
        ).encode(),
        then_close=True,
    )

    assert reply.octets.count(b"HTTP/1.1 ") == 1
    assert (await samples.calls("catalog", "GetProduct")).calls <= 1


# Ids


@pytest.mark.rule("edge.14")
@pytest.mark.parametrize(
    "path", ["/v1/products/p-1", "/v1/products/p-0", "/none", "/v1/users/u-1", "/%zz"]
)
async def test_every_reply_and_its_line_have_one_request_id(
    gateway: GatewayProcess, samples: SampleServices, path: str
) -> None:
    reply = await gateway.raw_get(path)
    request_id = reply.headers["x-request-id"]

    assert re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", request_id)
    line = await gateway.access_line(reply)
    assert line["status_code"] == reply.status


@pytest.mark.rule("edge.14")
async def test_a_strangers_ids_are_not_taken_over(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    headers = {
        "x-request-id": "chosen-by-a-stranger",
        "traceparent": PARENT,
        "x-forwarded-for": "1.2.3.4",
    }
    reply = await http.get("/v1/products/p-1", headers=headers)

    sent = (await samples.calls("catalog", "GetProduct")).metadata
    assert sent["x-request-id"] == reply.headers["x-request-id"] != "chosen-by-a-stranger"
    assert PARENT.split("-")[1] not in sent["traceparent"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", sent["traceparent"])
    assert sent["x-forwarded-for"] == "127.0.0.1"


async def test_replies_say_who_answered_and_are_not_kept(http: httpx.AsyncClient) -> None:
    for path in ("/v1/products/p-1", "/none"):
        reply = await http.get(path)

        assert reply.headers["server"] == "bff"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"


# The access log

FIELDS = {
    "ts", "request_id", "trace_id", "span_id", "worker", "version", "client_ip", "client_app",
    "method", "host", "protocol", "path", "route_id", "path_template", "status_code", "stage",
    "reason", "user_id", "tenant_id", "auth_method", "upstream_service", "calls", "latency_ms",
    "upstream_latency_ms", "bytes_in", "bytes_out", "aborted", "partial", "graphql_operation",
}  # fmt: skip


async def test_the_line_of_a_request_has_every_field(
    gateway: GatewayProcess, http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    reply = await http.get("/v1/orders/o-1", headers=premium)
    line = await gateway.access_line(reply)

    assert set(line) >= FIELDS
    wanted = {
        "client_ip": "127.0.0.1",
        "method": "GET",
        "protocol": "1.1",
        "path": "",
        "route_id": "orders.GetOrder",
        "path_template": "/v1/orders/{order_id}",
        "status_code": 200,
        "stage": None,
        "reason": None,
        "user_id": "u-1",
        "tenant_id": "acme",
        "auth_method": "jwt",
        "upstream_service": "orders",
        "bytes_in": 0,
        "bytes_out": len(reply.content),
        "aborted": False,
        "partial": False,
        "version": gateway.version,
    }
    assert {key: line[key] for key in wanted} == wanted
    assert [(c["operation"], c["code"], c["attempts"]) for c in line["calls"]] == [
        ("orders.GetOrder", "OK", 1)
    ]
    assert line["latency_ms"] >= line["upstream_latency_ms"] > 0


@pytest.mark.parametrize(
    ("path", "stage", "reason"),
    [
        ("/%zz", "door", "BAD_PATH"),
        ("/none", "match", "NO_ROUTE"),
        ("/v1/users/u-1", "authorize", "CREDENTIAL_MISSING"),
        ("/v1/products?nope=1", "validate", "UNKNOWN_PARAMETER"),
        ("/v1/products/p-0", "fetch", "NOT_FOUND"),
    ],
)
async def test_the_line_of_a_refusal_names_stage_and_reason(
    gateway: GatewayProcess, samples: SampleServices, path: str, stage: str, reason: str
) -> None:
    line = await gateway.access_line(await gateway.raw_get(path))

    assert (line["stage"], line["reason"]) == (stage, reason)


async def test_no_credential_is_ever_written_down(
    gateway: GatewayProcess, http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    """Neither good tokens, nor bad ones, nor keys, nor queries: on no stream."""
    token = premium["authorization"].removeprefix("Bearer ")
    canary = "canary-5f2b8e"
    for headers in (
        premium,
        {"authorization": f"Bearer {canary}"},
        {"authorization": f"Basic {canary}"},
        {"x-api-key": f"bff_{canary}"},
        {"cookie": f"session={canary}"},
    ):
        last = await http.get(f"/v1/users/u-1?access_token={canary}", headers=headers)
        assert canary not in last.text
    await gateway.access_line(last)

    output = gateway.output()
    assert canary not in output
    assert token not in output
    assert token.split(".")[2] not in output


# GraphQL


async def test_an_origin_that_is_no_url_is_a_foreign_one(gateway: GatewayProcess) -> None:
    body = b'{"query":"{__typename}"}'
    head = [
        "POST /graphql HTTP/1.1", "Host: gateway", "Connection: close", "Origin: http://[",
        "Content-Type: application/json", f"Content-Length: {len(body)}", "", "",
    ]  # fmt: skip

    reply = await gateway.raw("\r\n".join(head).encode() + body)

    assert reply.status == 403
    assert (await gateway.access_line(reply))["reason"] == "CSRF"


@pytest.mark.rule("control.OB8")
async def test_a_name_that_no_operation_has_is_not_logged(
    gateway: GatewayProcess, http: httpx.AsyncClient
) -> None:
    made_up = "x\u202e" * 10_000
    document = "query Shown { __typename }"

    lines = [
        await gateway.access_line(
            await http.post("/graphql", json={"query": document, "operationName": name})
        )
        for name in ("Shown", made_up)
    ]

    assert [line["graphql_operation"] for line in lines] == ["Shown", None]


# Behind a proxy


@pytest.fixture(scope="module")
def proxied(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    changes = {
        **ROOMY,
        "gateway": {"trusted_proxies": ["127.0.0.1/32", "10.0.0.0/8"]},
        "telemetry": {"user_id": "hash"},
    }
    with GatewayProcess(tmp_path_factory.mktemp("proxied"), shop, changes=changes) as running:
        yield running


FORWARDED = {
    "one": ("203.0.113.7", "203.0.113.7"),
    "the last untrusted": ("6.6.6.6, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
    "with a port": ("203.0.113.7:4711", "203.0.113.7"),
    "IPv6 in brackets": ("[2001:db8::1]:443", "2001:db8::1"),
    "mapped": ("::ffff:203.0.113.7", "203.0.113.7"),
    "unknown": ("203.0.113.7, unknown", "127.0.0.1"),
    "only proxies": ("10.1.2.3", "10.1.2.3"),
}


@pytest.mark.rule("edge.4")
@pytest.mark.parametrize(("field", "address"), FORWARDED.values(), ids=FORWARDED)
async def test_a_trusted_proxy_tells_the_address(
    proxied: GatewayProcess, samples: SampleServices, field: str, address: str
) -> None:
    reply = await proxied.raw_get("/v1/products/p-1", f"X-Forwarded-For: {field}")

    assert reply.status == 200
    sent = (await samples.calls("catalog", "GetProduct")).metadata
    assert sent["x-forwarded-for"] == address
    assert (await proxied.access_line(reply))["client_ip"] == address


@pytest.mark.rule("edge.4")
@pytest.mark.parametrize(
    "field", ["junk", "1.2.3.4.5", "fe80::1%eth0", ", ".join(["1.1.1.1"] * 33)]
)
async def test_junk_from_a_trusted_proxy_is_refused(
    proxied: GatewayProcess, samples: SampleServices, field: str
) -> None:
    reply = await proxied.raw_get("/v1/products/p-1", f"X-Forwarded-For: {field}")

    assert (reply.status, reply.reason) == (400, "BAD_FORWARDED")
    assert (await samples.calls("catalog", "GetProduct")).calls == 0


@pytest.mark.rule("edge.14")
async def test_a_trusted_proxys_ids_go_on(proxied: GatewayProcess, samples: SampleServices) -> None:
    reply = await proxied.raw_get(
        "/v1/products/p-1", "X-Request-Id: from-our-proxy_1", f"Traceparent: {PARENT}"
    )

    assert reply.headers["x-request-id"] == "from-our-proxy_1"
    sent = (await samples.calls("catalog", "GetProduct")).metadata
    assert sent["x-request-id"] == "from-our-proxy_1"
    version, trace_id, span_id, flags = sent["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", PARENT.split("-")[1], "01")
    # Our own span is the parent of the service's.
    assert span_id != PARENT.split("-")[2]


@pytest.mark.rule("edge.14")
@pytest.mark.parametrize(
    "lines",
    ["X-Request-Id: short", "X-Request-Id: has space in it", f"Traceparent: {PARENT}-x"],
)
async def test_malformed_ids_are_replaced(
    proxied: GatewayProcess, samples: SampleServices, lines: str
) -> None:
    reply = await proxied.raw_get("/v1/products/p-1", lines)

    sent = (await samples.calls("catalog", "GetProduct")).metadata
    assert re.fullmatch(r"[0-9a-f]{32}", reply.headers["x-request-id"])
    assert PARENT.split("-")[1] not in sent["traceparent"]


async def test_users_can_be_hashed_in_the_log(
    proxied: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    line = f"Authorization: {premium['authorization']}"
    first = await proxied.access_line(await proxied.raw_get("/v1/users/u-1", line))
    second = await proxied.access_line(await proxied.raw_get("/v1/orders/o-1", line))

    assert first["user_id"] == second["user_id"]
    assert re.fullmatch(r"[0-9a-f]{32}", first["user_id"])
