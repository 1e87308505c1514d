"""Metadata over the whole way: what a service reads of a client's fields, and a client of the service's."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from bff.core.status import Code
from sample_services.generated.sample.catalog.v1 import catalog_pb2
from sample_services.generated.sample.orders.v1 import orders_pb2
from tests.conftest import ROOMY
from tests.support.gateway import GatewayProcess, RawReply
from tests.support.samples import SampleServices
from tests.support.upstream_lab import Seen, Step, UpstreamLab

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRODUCT = catalog_pb2.Product(product_id="p-1").SerializeToString()
GET = "/sample.catalog.v1.CatalogService/GetProduct"
CATALOG = """
service: sample.catalog.v1.CatalogService
upstream: catalog
auth: {required: false}
metadata:
  in: [accept-language, x-note, x-key-bin, x-debug]
  out: [etag, location, x-cost-bin, x-hidden]
  rename: {accept-language: locale, etag: x-version}
  set: {x-env: test}
  add: {x-note: ours, x-octets-bin: AQI=}
  remove: [x-debug, x-hidden]
routes:
  - {rpc: GetProduct, get: "/m/{product_id}"}
  - {rpc: GetProduct, id: compat, get: "/compat/{product_id}", transcoding: {preset: grpc-gateway},
     metadata: {in: [], out: [etag, k-bin], rename: {}, add: {}, remove: [x-debug]}}
  - {rpc: GetProduct, id: own, get: "/own/{product_id}",
     metadata: {prefix: X-Meta-, in: [x-note], out: [etag], rename: {}, remove: []}}
  - {rpc: GetProduct, id: hurried, get: "/hurried/{product_id}", deadline: 1ms}
  - {rpc: GetProduct, id: none, get: "/none/{product_id}",
     metadata: {in: [], out: [], rename: {}, set: {}, add: {}, remove: []}}
graphql: {queries: {product: GetProduct}}
"""
SCREEN = """
aggregate: GET /screen
auth: {public: a test}
sources: {product: {rpc: catalog.GetProduct, with: {product_id: "'p-1'"}}}
"""
ORDERS = """
service: sample.orders.v1.OrderService
upstream: catalog
auth: {required: false}
metadata: {out: [etag, x-cost, location], trailers: te}
routes:
  - {rpc: GetOrder, get: "/te/{order_id}"}
  - {rpc: GetOrder, id: te-off, get: "/te-compat/{order_id}",
     metadata: {trailers: off}, transcoding: {preset: grpc-gateway}}
  - {rpc: GetInvoice, get: "/te-file/{order_id}"}
  - {rpc: WatchOrder, get: "/te-watch/{order_id}"}
  - {rpc: WatchOrder, id: plain, get: "/watch/{order_id}", metadata: {trailers: off}}
"""
WATCH = "/sample.orders.v1.OrderService/WatchOrder"
EVENT = orders_pb2.OrderEvent(revision=7).SerializeToString()
_OTHERS = dict.fromkeys(("users.yaml", "home.yaml"))


class Bench:
    """A gateway, and a service that does what a test says."""

    def __init__(self, gateway: GatewayProcess, lab: UpstreamLab) -> None:
        self.gateway = gateway
        self.lab = lab

    async def ask(self, path: str, *lines: str, step: Step | None = None) -> tuple[RawReply, Seen]:
        """One request, which the service answers so; the call as it saw it."""
        self.lab.on(GET, step or Step(message=PRODUCT))
        reply = await self.gateway.raw_get(path, *lines)
        return reply, self.lab.calls(GET)[-1]

    async def trail(self, request: str, step: Step, *lines: str) -> RawReply:
        """One request about an order, such as `GET /te/1`, which the service answers so."""
        for name in ("GetOrder", "GetInvoice"):
            self.lab.on(f"/sample.orders.v1.OrderService/{name}", step)
        self.lab.on(WATCH, step, stream=True)
        head = [f"{request} HTTP/1.1", "Host: g", "Connection: close, TE", *lines, "", ""]
        return await self.gateway.raw("\r\n".join(head).encode())


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Bench]:
    """The gateway of the mapping above."""
    async with UpstreamLab() as lab:
        changes = {**ROOMY, "upstreams": {"catalog": {"endpoints": [lab.address]}}}
        gateway = GatewayProcess(
            tmp_path_factory.mktemp("metadata"),
            shop,
            changes={**changes, "metadata": {}},
            files={**_OTHERS, "catalog.yaml": CATALOG, "orders.yaml": ORDERS, "s.yaml": SCREEN},
        )
        try:
            await asyncio.to_thread(gateway.start)
            yield Bench(gateway, lab)
        finally:
            await asyncio.to_thread(gateway.stop)


def fields_of(reply: RawReply, name: bytes) -> list[bytes]:
    """Every value of one field of a reply, in order."""
    lines = reply.octets.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    pairs = [line.partition(b":") for line in lines]
    return [value.strip() for key, _, value in pairs if key.strip().lower() == name]


@pytest.mark.rule("transcoding.141")
async def test_a_service_reads_what_is_listed_renamed_set_and_added(bench: Bench) -> None:
    lines = ["Accept-Language: de", "X-Note: theirs", "X-Env: prod", "X-Other: 1", "X-Debug: 1"]

    reply, seen = await bench.ask("/m/p-1", *lines)

    assert reply.status == 200
    assert seen.all("locale") == ["de"]
    assert seen.all("accept-language") == []
    # Set: the gateway's alone; added: beside the client's.
    assert seen.all("x-env") == ["test"]
    assert seen.all("x-note") == ["theirs", "ours"]
    assert seen.all("x-octets-bin") == [b"\1\2"]
    assert seen.all("x-other") == seen.all("x-debug") == []


@pytest.mark.rule("transcoding.141", "transcoding.142")
@pytest.mark.parametrize(
    "line",
    [
        "X-User-Id: u-2",
        "Grpc-Metadata-X-User-Id: u-2",
        "X-Bff-Admin: 1",
        "Cookie: a=b",
        "Content-Language: de",
        "Grpc-Status: 0",
        "X-Forwarded-For: 10.9.9.9",
        "Traceparent: 00-11111111111111111111111111111111-2222222222222222-01",
        "X-Request-Id: request-of-theirs",
        "Connection: close, x-note\r\nX-Note: hop",
    ],
)
async def test_nothing_else_of_a_client_reaches_a_service(bench: Bench, line: str) -> None:
    """Under no name and no prefix; what bears one of these names there is the gateway's own."""
    _, value = line.rpartition("\r\n")[2].split(": ", 1)

    for path in ("/m/p-1", "/compat/p-1", "/own/p-1", "/none/p-1"):
        reply, seen = await bench.ask(path, line)

        assert reply.status == 200
        assert not [pair for pair in seen.metadata if pair[1] == value], path


@pytest.mark.rule("transcoding.143")
async def test_a_value_that_cannot_cross_is_left_out_and_counted(bench: Bench) -> None:
    before = await bench.gateway.metric("bff_metadata_skipped_total", direction="in", cause="value")

    reply, seen = await bench.ask("/m/p-1", "X-Note: gr\xfcn", "X-Note: ok", "X-Note: second")

    assert reply.status == 200
    assert seen.all("x-note") == ["ok", "second", "ours"]
    await bench.gateway.wait_metric(
        "bff_metadata_skipped_total", before + 1, direction="in", cause="value"
    )


@pytest.mark.rule("transcoding.144")
async def test_octets_cross_both_ways_as_base64(bench: Bench) -> None:
    step = Step(message=PRODUCT, trailers=(("x-cost-bin", b"\xff\xef\1\2"),))

    reply, seen = await bench.ask("/m/p-1", "X-Key-Bin: AQI=,Aw", step=step)

    assert seen.all("x-key-bin") == [b"\1\2", b"\3"]
    assert fields_of(reply, b"x-cost-bin") == [b"/+8BAg"]


@pytest.mark.rule("transcoding.144")
async def test_bad_base64_is_400_and_reaches_nobody(bench: Bench) -> None:
    calls = len(bench.lab.seen)

    reply = await bench.gateway.raw_get("/m/p-1", "X-Key-Bin: A!")

    assert (reply.status, reply.reason) == (400, "INVALID_HEADER")
    assert b"x-key-bin" in reply.body
    assert len(bench.lab.seen) == calls


@pytest.mark.rule("transcoding.145", "transcoding.146")
async def test_a_client_reads_what_is_listed_of_metadata_and_trailers(bench: Bench) -> None:
    step = Step(
        initial=(("etag", "v1"), ("x-secret", "1"), ("set-cookie", "a=b"), ("x-hidden", "1")),
        message=PRODUCT,
        trailers=(("etag", "v2"), ("location", "/m/p-2"), ("content-length", "7")),
    )

    reply, _ = await bench.ask("/m/p-1", step=step)

    assert reply.status == 200
    assert fields_of(reply, b"x-version") == [b"v1", b"v2"]
    assert fields_of(reply, b"location") == [b"/m/p-2"]
    assert fields_of(reply, b"content-length") == [str(len(reply.body)).encode()]
    for name in (b"etag", b"x-secret", b"set-cookie", b"x-hidden"):
        assert fields_of(reply, name) == []


@pytest.mark.rule("transcoding.145")
async def test_the_prefix_of_grpc_gateway_goes_both_ways(bench: Bench) -> None:
    """Without a word in `metadata`: the preset brings it. `etag` alone is listed, so the rest stays."""
    step = Step(
        initial=(("etag", "v1"), ("x-secret", "1")), message=PRODUCT, trailers=(("k-bin", b"\1\2"),)
    )
    lines = ["Grpc-Metadata-X-Trace: a", "Grpc-Metadata-Key-Bin: AQI", "X-Trace: b"]

    reply, seen = await bench.ask("/compat/p-1", *lines, "Grpc-Metadata-X-Debug: 1", step=step)

    assert seen.all("x-trace") == ["a"]
    assert seen.all("key-bin") == [b"\1\2"]
    assert seen.all("x-debug") == []
    assert fields_of(reply, b"grpc-metadata-etag") == [b"v1"]
    assert fields_of(reply, b"grpc-metadata-k-bin") == [b"AQI"]
    assert b"secret" not in reply.octets


@pytest.mark.rule("transcoding.145")
async def test_a_prefix_of_ones_own_stands_beside_the_list(bench: Bench) -> None:
    step = Step(initial=(("etag", "v1"),), message=PRODUCT)

    reply, seen = await bench.ask("/own/p-1", "X-Meta-A: 1", "X-Note: 2", "X-Env: 3", step=step)

    assert (seen.all("a"), seen.all("x-note"), seen.all("x-env")) == (
        ["1"],
        ["2", "ours"],
        ["test"],
    )
    assert fields_of(reply, b"x-meta-etag") == [b"v1"]


@pytest.mark.rule("transcoding.145")
async def test_metadata_of_a_refusal_stays_inside(bench: Bench) -> None:
    """What is listed belongs to the answer; a refusal has its own form."""
    step = Step(
        code=Code.NOT_FOUND, details="no product", trailers=(("etag", "v1"), ("location", "/x"))
    )

    reply, _ = await bench.ask("/m/p-1", step=step)

    assert reply.status == 404
    assert fields_of(reply, b"location") == []


@pytest.mark.rule("transcoding.141")
@pytest.mark.parametrize(
    "target", ["/screen", "/graphql?query={product(productId:%22p-1%22){productId}}"]
)
async def test_the_calls_of_screens_and_graphql_carry_the_same(bench: Bench, target: str) -> None:
    """What holds for an operation holds however it is reached."""
    lines = ["Accept-Language: de", "X-Note: theirs", "X-Other: 1", "X-Key-Bin: AQI"]

    reply, seen = await bench.ask(target, *lines)

    assert reply.status == 200
    assert b"p-1" in reply.body
    assert (seen.all("locale"), seen.all("x-note")) == (["de"], ["theirs", "ours"])
    assert (seen.all("x-env"), seen.all("x-key-bin")) == (["test"], [b"\1\2"])
    assert seen.all("x-other") == []


@pytest.mark.rule("edge.2", "transcoding.141")
async def test_a_screen_sends_no_more_metadata_than_a_route(bench: Bench) -> None:
    calls = len(bench.lab.seen)

    reply = await bench.gateway.raw_get("/screen", "X-Note: " + "n" * 7_000)

    assert (reply.status, reply.reason) == (431, "METADATA_TOO_LARGE")
    assert len(bench.lab.seen) == calls


@pytest.mark.rule("transcoding.148")
async def test_where_no_time_is_left_nobody_is_asked(bench: Bench) -> None:
    calls = len(bench.lab.seen)

    reply = await bench.gateway.raw_get("/hurried/p-1")

    assert (reply.status, reply.reason) == (504, "NO_TIME")
    assert len(bench.lab.seen) == calls


# Trailers

AROUND = Step(
    initial=(("etag", "v1"), ("x-secret", "1")),
    trailers=(("x-cost", "5"), ("location", "/here"), ("x-secret", "2")),
)


def unchunked(body: bytes) -> tuple[bytes, bytes]:
    """The content of a chunked body, and the fields behind it."""
    content = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return content, body
        content, body = content + body[:length], body[length + 2 :]


@pytest.mark.rule("transcoding.145")
@pytest.mark.parametrize("te", ["trailers", "gzip;q=0.5, Trailers", "trailers,deflate"])
@pytest.mark.parametrize("path", ["/te/1", "/te-file/1"])
async def test_trailers_come_behind_the_body_where_they_are_asked_for(
    bench: Bench, path: str, te: str
) -> None:
    """What steers the client stays in front (RFC 9110 6.5.1)."""
    reply = await bench.trail(f"GET {path}", AROUND, f"TE: {te}")

    assert reply.status == 200
    assert fields_of(reply, b"transfer-encoding") == [b"chunked"]
    assert fields_of(reply, b"content-length") == []
    assert fields_of(reply, b"trailer") == [b"etag, x-cost"]
    assert fields_of(reply, b"etag") == [b"v1"]
    assert fields_of(reply, b"location") == [b"/here"]
    assert fields_of(reply, b"x-cost") == []
    content, behind = unchunked(reply.body)
    assert content == (b"{}" if path == "/te/1" else b"")
    assert behind == b"x-cost: 5\r\n\r\n"


@pytest.mark.rule("transcoding.145")
@pytest.mark.parametrize(
    ("request_line", "lines"),
    [
        ("GET /te/1", ()),
        ("GET /te/1", ("TE: gzip",)),
        ("GET /te/1", ("TE: trailersome",)),
        ("HEAD /te/1", ("TE: trailers",)),
    ],
)
async def test_trailers_are_header_fields_where_nothing_can_come_behind(
    bench: Bench, request_line: str, lines: tuple[str, ...]
) -> None:
    reply = await bench.trail(request_line, AROUND, *lines)

    assert reply.status == 200
    assert fields_of(reply, b"x-cost") == [b"5"]
    assert fields_of(reply, b"content-length") == [b"2"]
    assert fields_of(reply, b"trailer") == fields_of(reply, b"transfer-encoding") == []


@pytest.mark.rule("transcoding.145")
async def test_a_route_may_turn_the_trailers_of_its_preset_off(bench: Bench) -> None:
    reply = await bench.trail("GET /te-compat/1", AROUND, "TE: trailers")

    assert fields_of(reply, b"grpc-metadata-x-cost") == [b"5"]
    assert fields_of(reply, b"trailer") == []


@pytest.mark.rule("transcoding.145")
async def test_the_preset_of_grpc_gateway_has_trailers(bench: Bench) -> None:
    step = Step(message=PRODUCT, trailers=(("etag", "v2"),))
    bench.lab.on(GET, step)

    reply = await bench.gateway.raw_get("/compat/p-1", "TE: trailers")

    assert fields_of(reply, b"grpc-metadata-etag") == []
    assert unchunked(reply.body)[1] == b"grpc-metadata-etag: v2\r\n\r\n"


@pytest.mark.rule("transcoding.145")
async def test_a_stream_has_its_metadata_in_front_and_its_trailers_behind(bench: Bench) -> None:
    step = replace(AROUND, messages=[EVENT, EVENT])

    reply = await bench.trail("GET /te-watch/1", step, "TE: trailers")

    assert reply.status == 200
    assert fields_of(reply, b"etag") == [b"v1"]
    assert fields_of(reply, b"trailer") == [b"etag, x-cost"]
    content, behind = unchunked(reply.body)
    assert content == b'[{"revision":"7"},{"revision":"7"}]'
    assert behind == b"x-cost: 5\r\n\r\n"
    assert b"secret" not in reply.octets


@pytest.mark.rule("transcoding.145")
@pytest.mark.parametrize("request_line", ["GET /te-watch/1", "GET /watch/1"])
async def test_a_stream_without_trailers_has_its_metadata_in_front(
    bench: Bench, request_line: str
) -> None:
    """What comes at the end has no place any more."""
    lines = () if "te" in request_line else ("TE: trailers",)

    reply = await bench.trail(request_line, replace(AROUND, messages=[EVENT]), *lines)

    assert fields_of(reply, b"etag") == [b"v1"]
    assert unchunked(reply.body) == (b'[{"revision":"7"}]', b"\r\n")


@pytest.mark.rule("transcoding.145")
async def test_a_stream_that_fails_has_no_trailers(bench: Bench) -> None:
    step = replace(AROUND, messages=[EVENT], code=Code.NOT_FOUND, details="gone")

    reply = await bench.trail("GET /te-watch/1", step, "TE: trailers")

    content, behind = unchunked(reply.body)
    assert b'"status":"NOT_FOUND"' in content
    assert behind == b"\r\n"
