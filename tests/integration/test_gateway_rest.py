"""REST outside, gRPC inside: what clients send and read, over a real gateway and real services."""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import brotli
import httpx
import pytest
import zstandard

from tests.support.gateway import GatewayProcess, reason_of
from tests.support.samples import SampleServices

# Whatever a test asks for, no fault that another left in the services is in its way.
pytestmark = pytest.mark.usefixtures("samples")

MIB = 1 << 20


def details(reply: httpx.Response, kind: str) -> dict[str, Any]:
    """One detail of an error body, such as "BadRequest"."""
    found = reply.json()["error"]["details"]
    return next(d for d in found if d["@type"] == f"type.googleapis.com/google.rpc.{kind}")


async def place(http: httpx.AsyncClient, who: dict[str, str], **more: Any) -> httpx.Response:
    order = {"customerId": "u-2", "items": [{"productId": "p-1", "quantity": 2}], **more}
    return await http.post("/v1/orders", json=order, headers=who)


# What works


@pytest.mark.rule("transcoding.55")
async def test_a_get_reads_one_message(http: httpx.AsyncClient) -> None:
    reply = await http.get("/v1/products/p-1")

    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    product = reply.json()
    assert product["productId"] == "p-1"
    # ProtoJSON: 64-bit integers are text, enums are names, durations end in "s".
    assert isinstance(product["stock"], str)
    assert product["category"] == "CATEGORY_ELECTRONICS"
    assert product["handlingTime"].endswith("s")


@pytest.mark.rule("transcoding.58")
@pytest.mark.parametrize("spelling", ["pageSize", "page_size"])
async def test_both_spellings_of_a_parameter_bind(http: httpx.AsyncClient, spelling: str) -> None:
    reply = await http.get("/v1/products", params={spelling: 3})

    assert len(reply.json()["products"]) == 3


@pytest.mark.rule("transcoding.56")
async def test_a_repeated_parameter_gives_every_value(http: httpx.AsyncClient) -> None:
    reply = await http.get("/v1/products:batchGet?ids=p-2&ids=p-1")

    assert [p["productId"] for p in reply.json()["products"]] == ["p-2", "p-1"]


async def test_pages_follow_one_another(http: httpx.AsyncClient, premium: dict[str, str]) -> None:
    """Every order comes once, whatever the page size."""
    whole = (await http.get("/v1/users/u-1/orders?pageSize=100", headers=premium)).json()
    seen: list[str] = []
    token = ""
    for _ in range(10):
        query: dict[str, str | int] = {"pageSize": 7, "pageToken": token}
        page = (await http.get("/v1/users/u-1/orders", params=query, headers=premium)).json()
        seen += [order["id"] for order in page.get("orders", [])]
        token = page.get("nextPageToken", "")
        if not token:
            break

    assert seen == [order["id"] for order in whole["orders"]]
    assert len(seen) > 7


async def test_nested_fields_and_enums_bind_from_the_query(http: httpx.AsyncClient) -> None:
    query = "category=CATEGORY_TOYS&minPrice.currencyCode=EUR&minPrice.units=50&pageSize=5"
    products = (await http.get(f"/v1/products?{query}")).json()["products"]

    assert products
    assert all(p["category"] == "CATEGORY_TOYS" for p in products)
    assert all(int(p["price"]["units"]) >= 50 for p in products)


async def test_a_read_mask_comes_in_camel_case(
    http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    query = "pageSize=2&readMask=id,customerId"
    reply = await http.get(f"/v1/users/u-1/orders?{query}", headers=premium)

    assert [set(order) for order in reply.json()["orders"]] == [{"id", "customerId"}] * 2


async def test_a_post_creates_with_the_written_status(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    reply = await place(http, admin, card={"brand": "visa", "lastFour": "4242"})

    assert reply.status_code == 201
    order = reply.json()
    assert order["status"] == "ORDER_STATUS_PLACED"
    read = await http.get(f"/v1/orders/{order['id']}", headers=admin)
    assert read.json() == order


@pytest.mark.rule("transcoding.39")
async def test_a_verb_after_a_variable_is_a_route_of_its_own(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    order_id = (await place(http, admin)).json()["id"]

    cancelled = await http.post(
        f"/v1/orders/{order_id}:cancel", json={"reason": "changed my mind"}, headers=admin
    )

    assert cancelled.status_code == 200
    assert cancelled.json()["order"]["status"] == "ORDER_STATUS_CANCELLED"


@pytest.mark.rule("transcoding.108")
async def test_a_patch_changes_what_its_body_names_and_nothing_else(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    before = (await http.get("/v1/users/u-2", headers=admin)).json()

    reply = await http.patch("/v1/users/u-2", json={"displayName": "New Name"}, headers=admin)

    assert reply.status_code == 200
    assert reply.json() == {**before, "displayName": "New Name"}
    again = await http.patch(
        "/v1/users/u-2", json={"displayName": before["displayName"]}, headers=admin
    )
    assert again.json() == before


@pytest.mark.rule("transcoding.110")
async def test_a_written_mask_is_taken_as_it_is(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    """A field outside the mask is not changed, though the body has it; one inside is, though it is absent."""
    before = (await http.get("/v1/users/u-10", headers=admin)).json()

    reply = await http.patch(
        "/v1/users/u-10?updateMask=phone", json={"displayName": "No"}, headers=admin
    )

    assert reply.status_code == 200
    assert "phone" in before
    assert reply.json() == {key: value for key, value in before.items() if key != "phone"}


@pytest.mark.rule("transcoding.118")
async def test_a_download_has_its_own_media_type(
    http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    reply = await http.get(
        "/v1/orders/o-1/invoice", headers={**premium, "accept": "application/json"}
    )

    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/pdf"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.content.startswith(b"%PDF-")
    assert int(reply.headers["content-length"]) == len(reply.content)


@pytest.mark.rule("transcoding.120")
async def test_accept_does_not_refuse_json(http: httpx.AsyncClient) -> None:
    reply = await http.get("/v1/products/p-1", headers={"accept": "text/event-stream"})

    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"


# Methods


@pytest.mark.rule("transcoding.45")
async def test_head_has_the_fields_of_get_and_no_content(http: httpx.AsyncClient) -> None:
    get = await http.get("/v1/products/p-1")
    head = await http.head("/v1/products/p-1")

    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]
    assert head.headers["content-type"] == "application/json"


async def test_head_of_an_error_has_no_content(http: httpx.AsyncClient) -> None:
    reply = await http.head("/v1/products/p-999999")

    assert reply.status_code == 404
    assert reply.content == b""


@pytest.mark.rule("transcoding.45")
async def test_head_never_runs_a_stream(
    http: httpx.AsyncClient, samples: SampleServices, premium: dict[str, str]
) -> None:
    """The stream has no HEAD, so the verb is data of the next route that fits: an order of that name."""
    reply = await http.head("/v1/orders/o-81:watch", headers=premium)

    assert reply.status_code == 404
    assert (await samples.calls("orders", "WatchOrder")).calls == 0


@pytest.mark.rule("transcoding.46")
async def test_options_lists_what_the_path_takes(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    reply = await http.options("/v1/users/u-1")

    assert reply.status_code == 204
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS, PATCH"
    assert reply.content == b""
    assert (await samples.calls("users", "GetUser")).calls == 0


@pytest.mark.rule("transcoding.44")
@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "TRACE", "get", "BREW"])
async def test_another_method_is_405_with_allow(gateway: GatewayProcess, method: str) -> None:
    request = f"{method} /v1/products/p-1 HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
    reply = await gateway.raw(request.encode())

    assert (reply.status, reply.reason) == (405, "METHOD_NOT_ALLOWED")
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.rule("transcoding.44")
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2/products/p-1",
        "/v1/products/p-1/",
        "/v1//products/p-1",
        "/v1/Products/p-1",
        "/v1/products/p-1/reviews",
        "/sample.catalog.v1.CatalogService/GetProduct",
        "/v1/users/u-1:delete/x",
    ],
)
async def test_an_unknown_path_is_404(http: httpx.AsyncClient, path: str) -> None:
    reply = await http.get(path)

    assert reply.status_code == 404
    assert reason_of(reply.json()) == "NO_ROUTE"


@pytest.mark.rule("transcoding.46")
async def test_a_method_override_is_ignored(
    http: httpx.AsyncClient, samples: SampleServices, admin: dict[str, str]
) -> None:
    reply = await http.get("/v1/users/u-2", headers={**admin, "x-http-method-override": "PATCH"})

    assert reply.status_code == 200
    assert (await samples.calls("users", "UpdateUser")).calls == 0


# Bad requests: each is refused before any service is asked

BAD_QUERIES = {
    "unknown": ("nope=1", "UNKNOWN_PARAMETER", "nope"),
    "unknown, near": ("pageSise=1", "UNKNOWN_PARAMETER", "pageSise"),
    "no number": ("pageSize=abc", "INVALID_PARAMETER", "pageSize"),
    "fraction": ("pageSize=1.5", "INVALID_PARAMETER", "pageSize"),
    "too large": ("pageSize=2147483648", "INVALID_PARAMETER", "pageSize"),
    "padded": ("pageSize=%205", "INVALID_PARAMETER", "pageSize"),
    "twice": ("pageSize=1&pageSize=1", "INVALID_PARAMETER", "pageSize"),
    "twice by both names": ("pageSize=1&page_size=1", "INVALID_PARAMETER", "page_size"),
    "unknown enum": ("category=BOOKS", "INVALID_PARAMETER", "category"),
    "into a scalar": ("query.x=1", "INVALID_PARAMETER", "query.x"),
    "a message": ("minPrice=5", "INVALID_PARAMETER", "minPrice"),
}


@pytest.mark.rule("transcoding.57")
@pytest.mark.rule("transcoding.62")
@pytest.mark.rule("transcoding.68")
@pytest.mark.parametrize(("query", "reason", "name"), BAD_QUERIES.values(), ids=BAD_QUERIES)
async def test_a_bad_parameter_is_400_and_named(
    http: httpx.AsyncClient, samples: SampleServices, query: str, reason: str, name: str
) -> None:
    reply = await http.get(f"/v1/products?{query}")

    assert reply.status_code == 400
    assert reply.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert reason_of(reply.json()) in {reason, "INVALID_FIELD"}
    fields = [v["field"] for v in details(reply, "BadRequest")["fieldViolations"]]
    assert name in fields
    assert (await samples.calls("catalog", "SearchProducts")).calls == 0


@pytest.mark.rule("transcoding.158")
async def test_all_faults_of_a_query_are_told_together(http: httpx.AsyncClient) -> None:
    reply = await http.get("/v1/products?pageSize=x&nope=1&category=Y")

    fields = {v["field"] for v in details(reply, "BadRequest")["fieldViolations"]}
    assert fields == {"pageSize", "nope", "category"}


@pytest.mark.rule("transcoding.65")
async def test_the_query_cannot_overrule_the_path(
    http: httpx.AsyncClient, samples: SampleServices, premium: dict[str, str]
) -> None:
    reply = await http.get("/v1/users/u-1?userId=u-2", headers=premium)

    assert reply.status_code == 400
    assert reason_of(reply.json()) == "FIELD_CONFLICT"
    assert (await samples.calls("users", "GetUser")).calls == 0


@pytest.mark.rule("edge.2")
async def test_too_many_parameters_are_refused(http: httpx.AsyncClient) -> None:
    reply = await http.get("/v1/products:batchGet?" + "&".join(["ids=p-1"] * 257))

    assert reply.status_code == 400
    assert reason_of(reply.json()) == "TOO_MANY_PARAMETERS"


BAD_BODIES = {
    "cut off": (b'{"customerId":"u-2"', "INVALID_JSON"),
    "two values": (b"{}{}", "INVALID_JSON"),
    "trailing comma": (b'{"note":"x",}', "INVALID_JSON"),
    "NaN": (b'{"note":NaN}', "INVALID_JSON"),
    "white space": (b"  ", "INVALID_JSON"),
    "not UTF-8": (b'{"note":"\xff"}', "INVALID_JSON"),
    "null": (b"null", "INVALID_FIELD"),
    "a list": (b"[]", "INVALID_FIELD"),
    "unknown field": (b'{"custmerId":"u-2"}', "UNKNOWN_FIELD"),
    "wrong type": (b'{"customerId":7}', "INVALID_FIELD"),
    "wrong type within": (b'{"items":[{"quantity":"many"}]}', "INVALID_FIELD"),
    "twice": (b'{"note":"a","note":"b"}', "DUPLICATE_FIELD"),
    "two of a oneof": (b'{"voucher":"V","card":{"brand":"visa"}}', "DUPLICATE_FIELD"),
    "output too large": (b'{"items":[{"quantity":2147483648}]}', "INVALID_FIELD"),
}


@pytest.mark.rule("transcoding.84")
@pytest.mark.rule("transcoding.87")
@pytest.mark.rule("transcoding.88")
@pytest.mark.rule("transcoding.95")
@pytest.mark.parametrize(("body", "reason"), BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_bad_body_is_400_and_reaches_nobody(
    http: httpx.AsyncClient,
    samples: SampleServices,
    admin: dict[str, str],
    body: bytes,
    reason: str,
) -> None:
    reply = await http.post(
        "/v1/orders", content=body, headers={**admin, "content-type": "application/json"}
    )

    assert reply.status_code == 400
    assert reason_of(reply.json()) == reason
    assert (await samples.calls("orders", "PlaceOrder")).calls == 0


@pytest.mark.rule("transcoding.157")
async def test_a_wrong_field_is_told_by_its_json_path(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    reply = await place(http, admin, items=[{"productId": "p-1"}, {"quantity": True}])

    violation = details(reply, "BadRequest")["fieldViolations"][0]
    assert violation["field"] == "items[1].quantity"
    assert "int32" not in violation["description"]


@pytest.mark.rule("transcoding.99")
async def test_deep_json_is_refused_and_harms_nobody(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    deep = b'{"note":' + b"[" * 500_000
    reply = await http.post("/v1/orders", content=deep, headers=admin)

    assert reply.status_code == 400
    assert (await place(http, admin)).status_code == 201


@pytest.mark.rule("transcoding.83")
async def test_the_body_cannot_overrule_the_path(
    http: httpx.AsyncClient, samples: SampleServices, premium: dict[str, str]
) -> None:
    reply = await http.patch(
        "/v1/users/u-1", json={"userId": "u-2", "displayName": "x"}, headers=premium
    )

    assert reply.status_code == 400
    assert reason_of(reply.json()) == "FIELD_CONFLICT"
    assert (await samples.calls("users", "UpdateUser")).calls == 0


@pytest.mark.rule("transcoding.81")
async def test_a_body_where_none_belongs_is_refused(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    reply = await http.request("GET", "/v1/products/p-1", content=b"{}")

    assert reply.status_code == 400
    assert reason_of(reply.json()) == "BODY_NOT_ALLOWED"
    assert (await samples.calls("catalog", "GetProduct")).calls == 0


@pytest.mark.rule("transcoding.81")
async def test_an_empty_body_is_an_empty_message(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    """The service, not the gateway, then says what is missing."""
    reply = await http.post("/v1/orders", headers=admin)

    assert reply.status_code == 400
    assert reason_of(reply.json()) == "FIELD_INVALID"
    fields = {v["field"] for v in details(reply, "BadRequest")["fieldViolations"]}
    assert "customer_id" in fields


TYPES = {
    "text": "text/plain",
    "form": "application/x-www-form-urlencoded",
    "grpc": "application/grpc",
    "grpc+proto": "application/grpc+proto",
    "xml": "application/xml",
    "charset": "application/json; charset=latin-1",
    "nonsense": "json",
}


@pytest.mark.rule("transcoding.100")
@pytest.mark.rule("transcoding.48")
@pytest.mark.parametrize("content_type", TYPES.values(), ids=TYPES)
async def test_other_content_types_are_415(
    http: httpx.AsyncClient, samples: SampleServices, admin: dict[str, str], content_type: str
) -> None:
    reply = await http.post(
        "/v1/orders", content=b"{}", headers={**admin, "content-type": content_type}
    )

    assert reply.status_code == 415
    assert reason_of(reply.json()) == "UNSUPPORTED_MEDIA_TYPE"
    assert "application/json" in reply.headers["accept"]
    assert (await samples.calls("orders", "PlaceOrder")).calls == 0


@pytest.mark.rule("transcoding.101")
@pytest.mark.parametrize(
    "coding", ["gzip, gzip", "gzip, br", "compress", "deflate", "*", "GZIP;q=1"]
)
async def test_a_coded_body_is_never_read_as_plain(
    http: httpx.AsyncClient, samples: SampleServices, admin: dict[str, str], coding: str
) -> None:
    reply = await http.post(
        "/v1/orders", content=b"{}", headers={**admin, "content-encoding": coding}
    )

    assert reply.status_code == 415
    assert reply.headers["accept-encoding"] == "gzip, br, zstd, identity"
    assert (await samples.calls("orders", "PlaceOrder")).calls == 0


_ORDER = json.dumps({"customerId": "u-2", "items": [{"productId": "p-1", "quantity": 2}]})
_LONG_ORDER = _ORDER.encode() + b" " * 30_000
CODED_ORDERS = {
    "gzip": gzip.compress(_LONG_ORDER[:20], 0) + gzip.compress(_LONG_ORDER[20:], 0),
    "X-GZip": gzip.compress(_LONG_ORDER),
    "br": brotli.compress(_LONG_ORDER),
    "zstd": zstandard.compress(_LONG_ORDER[:20]) + zstandard.compress(_LONG_ORDER[20:]),
}


@pytest.mark.rule("transcoding.101")
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("coding", CODED_ORDERS)
async def test_a_coded_body_is_read_as_what_it_holds(
    http: httpx.AsyncClient,
    samples: SampleServices,
    admin: dict[str, str],
    coding: str,
    chunked: bool,
) -> None:
    """In one member or several, in one read or many."""
    octets = CODED_ORDERS[coding]

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(octets), 97):
            yield octets[at : at + 97]

    reply = await http.post(
        "/v1/orders",
        content=pieces() if chunked else octets,
        headers={**admin, "content-encoding": coding, "content-type": "application/json"},
    )

    assert reply.status_code == (await place(http, admin)).status_code
    assert reply.json()["customerId"] == "u-2"
    assert reply.json()["items"][0]["quantity"] == 2


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}
# What is done with a coder, and what comes of it.
CODED: dict[str, tuple[Callable[[Callable[[bytes], bytes]], bytes], int, str]] = {
    "not coded": (lambda _: b"{}", 400, "INVALID_CODING"),
    "cut short": (lambda code: code(b'{"a":1}')[:-1], 400, "INVALID_CODING"),
    "junk behind": (lambda code: code(b"{}") + b"junk", 400, "INVALID_CODING"),
    "thousands of members": (lambda code: code(b" ") * 2_000, 400, "INVALID_CODING"),
    "beyond the cap": (lambda code: code(bytes(2_000_000)), 413, "BODY_TOO_LARGE"),
    "a bomb in a bomb's way": (lambda code: code(bytes(900_000)), 413, "BODY_TOO_LARGE"),
    "the wrong text": (lambda code: code(b"{]"), 400, "INVALID_JSON"),
}


@pytest.mark.rule("transcoding.101")
@pytest.mark.parametrize("coding", CODERS)
@pytest.mark.parametrize(("make", "status", "reason"), CODED.values(), ids=CODED)
async def test_a_coded_body_is_held_to_its_caps_and_its_form(
    http: httpx.AsyncClient,
    samples: SampleServices,
    admin: dict[str, str],
    coding: str,
    make: Callable[[Callable[[bytes], bytes]], bytes],
    status: int,
    reason: str,
) -> None:
    """It may grow to the cap of a plain one, and to a hundred times what came."""
    reply = await http.post(
        "/v1/orders", content=make(CODERS[coding]), headers={**admin, "content-encoding": coding}
    )

    assert (reply.status_code, reason_of(reply.json())) == (status, reason)
    assert (await samples.calls("orders", "PlaceOrder")).calls == 0


@pytest.mark.rule("transcoding.101")
async def test_the_checksum_of_a_gzipped_body_is_looked_at(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    octets = gzip.compress(b"{}")[:-8] + bytes(8)
    reply = await http.post(
        "/v1/orders", content=octets, headers={**admin, "content-encoding": "gzip"}
    )

    assert (reply.status_code, reason_of(reply.json())) == (400, "INVALID_CODING")


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "application/json; charset=UTF-8", "application/merge-patch+json"],
)
async def test_json_by_any_of_its_names_is_taken(
    http: httpx.AsyncClient, admin: dict[str, str], content_type: str | None
) -> None:
    more = {} if content_type is None else {"content-type": content_type}
    body = json.dumps({"customerId": "u-2", "items": [{"productId": "p-1", "quantity": 1}]})
    reply = await http.post("/v1/orders", content=body.encode(), headers={**admin, **more})

    assert reply.status_code == 201


# Sizes


@pytest.mark.rule("edge.2")
@pytest.mark.rule("transcoding.102")
async def test_a_body_declared_too_large_is_413_before_it_is_sent(
    gateway: GatewayProcess, samples: SampleServices, admin: dict[str, str]
) -> None:
    """Not one octet of the body is needed for the refusal."""
    head = (
        "POST /v1/orders HTTP/1.1\r\nHost: gateway\r\n"
        f"Authorization: {admin['authorization']}\r\nContent-Length: {MIB + 1}\r\n\r\n"
    )
    reply = await gateway.raw(head.encode())

    assert (reply.status, reply.reason) == (413, "BODY_TOO_LARGE")
    assert reply.headers["connection"] == "close"
    assert (await samples.calls("orders", "PlaceOrder")).calls == 0


@pytest.mark.rule("edge.2")
async def test_a_chunked_body_is_413_once_it_is_too_large(
    gateway: GatewayProcess, samples: SampleServices, admin: dict[str, str]
) -> None:
    """The chunk that goes too far is answered; the end of the body is not waited for."""
    head = (
        "POST /v1/orders HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n"
        f"Authorization: {admin['authorization']}\r\n\r\n{MIB + 1:x}\r\n"
    )
    reply = await gateway.raw(head.encode() + b"x" * (MIB + 1) + b"\r\n")

    assert (reply.status, reply.reason) == (413, "BODY_TOO_LARGE")
    assert reply.headers["connection"] == "close"
    assert (await samples.calls("orders", "PlaceOrder")).calls == 0


async def test_a_body_of_just_the_limit_is_read(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    body = b'{"note":"' + b"x" * (MIB - 11) + b'"}'
    assert len(body) == MIB
    reply = await http.post("/v1/orders", content=body, headers=admin)

    assert reply.status_code == 400
    assert reason_of(reply.json()) == "FIELD_INVALID"


@pytest.mark.rule("edge.2")
@pytest.mark.parametrize(
    ("target", "status"),
    [("/" + "a" * 8_192, 414), ("/v1/products?query=" + "a" * 8_192, 414), ("/" * 8_000, 404)],
    ids=["path", "query", "slashes"],
)
async def test_long_targets_are_refused(gateway: GatewayProcess, target: str, status: int) -> None:
    assert (await gateway.raw_get(target)).status == status


@pytest.mark.rule("edge.2")
@pytest.mark.parametrize(
    "headers",
    [
        {"x-long": "a" * 8_193},
        {"x" * 129: "1"},
        {f"x-{number}": "a" * 8_000 for number in range(5)},
    ],
    ids=["long value", "long name", "all together"],
)
async def test_large_headers_are_431(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    reply = await http.get("/v1/products/p-1", headers=headers)

    assert reply.status_code == 431
    assert reason_of(reply.json()) == "HEADERS_TOO_LARGE"


@pytest.mark.rule("edge.2")
async def test_too_many_header_fields_are_431(http: httpx.AsyncClient) -> None:
    """The server itself says so, before the door sees them."""
    reply = await http.get("/v1/products/p-1", headers={f"x-{n}": "1" for n in range(101)})

    assert reply.status_code == 431


# What a service refuses

STATUSES = {
    "INVALID_ARGUMENT": (400, "this fault was asked for"),
    "NOT_FOUND": (404, "this fault was asked for"),
    "ALREADY_EXISTS": (409, "this fault was asked for"),
    "PERMISSION_DENIED": (403, "this fault was asked for"),
    "RESOURCE_EXHAUSTED": (429, "this fault was asked for"),
    "FAILED_PRECONDITION": (400, "this fault was asked for"),
    "ABORTED": (409, "this fault was asked for"),
    "OUT_OF_RANGE": (400, "this fault was asked for"),
    "UNAUTHENTICATED": (401, "this fault was asked for"),
    "CANCELLED": (499, "this fault was asked for"),
    "UNKNOWN": (500, "The service failed."),
    "UNIMPLEMENTED": (501, "The service does not offer this operation."),
    "INTERNAL": (500, "The service failed."),
    "UNAVAILABLE": (503, "The service is not available now."),
    "DATA_LOSS": (500, "The service failed."),
}


@pytest.mark.rule("transcoding.149")
@pytest.mark.rule("transcoding.153")
@pytest.mark.parametrize("code", STATUSES)
async def test_a_status_of_a_service_has_its_row(
    http: httpx.AsyncClient, samples: SampleServices, code: str
) -> None:
    status, message = STATUSES[code]
    reply = await http.get("/v1/products/p-1", headers={"x-fault": f"fail={code}"})

    assert reply.status_code == status
    error = reply.json()["error"]
    assert (error["code"], error["status"], error["message"]) == (status, code, message)
    assert reason_of(reply.json()) == "FAULT_INJECTED"
    assert details(reply, "RequestInfo")["requestId"] == reply.headers["x-request-id"]


@pytest.mark.rule("transcoding.151")
async def test_a_services_own_details_reach_the_client(
    http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    missing = await http.get("/v1/products/p-424242")
    foreign = await http.get("/v1/orders/o-2", headers=premium)

    assert missing.status_code == 404
    assert missing.json()["error"]["status"] == "NOT_FOUND"
    assert foreign.status_code == 403
    assert reason_of(foreign.json()) == "NOT_YOUR_ORDER"


# Documents


async def test_the_openapi_document_lists_the_routes(http: httpx.AsyncClient) -> None:
    reply = await http.get("/openapi.json")

    document = reply.json()
    assert document["openapi"].startswith("3.1")
    assert "/v1/mobile/home" in document["paths"]
    assert {"get", "patch"} <= set(document["paths"]["/v1/users/{user_id}"])
    again = await http.get("/openapi.json", headers={"if-none-match": reply.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
