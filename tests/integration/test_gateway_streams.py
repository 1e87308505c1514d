"""Server streams over HTTP: framings, errors in the middle, clients that leave."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.support.gateway import GatewayProcess, reason_of
from tests.support.samples import SampleServices

DELIVERED = "/v1/orders/o-81:watch"  # its history is over, so the stream ends
PAID = "/v1/orders/o-1:watch"  # two events, then it waits for the next


async def first_line(reply: httpx.Response) -> dict[str, Any]:
    async for line in reply.aiter_lines():
        found: dict[str, Any] = json.loads(line)
        return found
    raise AssertionError("the stream had no line")


@pytest.mark.rule("transcoding.122")
@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html"])
async def test_the_routes_framing_is_one_document_a_line(
    http: httpx.AsyncClient, premium: dict[str, str], accept: str | None
) -> None:
    more = {} if accept is None else {"accept": accept}
    reply = await http.get(DELIVERED, headers={**premium, **more})

    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/x-ndjson"
    events = [json.loads(line) for line in reply.text.splitlines()]
    assert [int(event["revision"]) for event in events] == [1, 2, 3, 4]
    assert events[-1]["status"] == "ORDER_STATUS_DELIVERED"
    assert "content-length" not in reply.headers


@pytest.mark.rule("transcoding.122")
async def test_browsers_get_server_sent_events(
    http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    accept = "application/x-ndjson;q=0.5, text/event-stream"
    reply = await http.get(DELIVERED, headers={**premium, "accept": accept})

    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["cache-control"] == "no-store"
    retry, *messages, end, rest = reply.text.split("\n\n")
    assert retry == "retry: 3000"
    ids = [message.partition("\n")[0] for message in messages]
    data = [json.loads(message.partition("\ndata: ")[2]) for message in messages]
    assert ids == ["id: 1", "id: 2", "id: 3", "id: 4"]
    assert [event["revision"] for event in data] == list("1234")
    assert (end, rest) == ("event: end\ndata: {}", "")


@pytest.mark.rule("transcoding.130")
async def test_a_browser_comes_back_where_it_was(
    http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    """The header wins over the old URL, which browsers send again."""
    headers = {**premium, "accept": "text/event-stream", "last-event-id": "3"}
    reply = await http.get(f"{DELIVERED}?afterRevision=1", headers=headers)

    assert [line for line in reply.text.splitlines() if line.startswith("id:")] == ["id: 4"]


@pytest.mark.rule("transcoding.130")
async def test_an_id_that_is_none_is_refused(
    http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    headers = {**premium, "accept": "text/event-stream", "last-event-id": "three"}
    reply = await http.get(DELIVERED, headers=headers)

    assert (reply.status_code, reason_of(reply.json())) == (400, "INVALID_HEADER")


@pytest.mark.rule("transcoding.131")
async def test_a_browser_that_comes_back_to_nothing_stays_away(
    http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    headers = {**premium, "accept": "text/event-stream", "x-fault": "fail=OUT_OF_RANGE"}
    back = await http.get(DELIVERED, headers={**headers, "last-event-id": "4"})
    first = await http.get(DELIVERED, headers=headers)

    assert (back.status_code, back.content) == (204, b"")
    assert (first.status_code, reason_of(first.json())) == (400, "FAULT_INJECTED")


@pytest.mark.rule("transcoding.130")
async def test_a_stream_is_taken_up_where_it_broke(
    http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    reply = await http.get(f"{DELIVERED}?afterRevision=2", headers=premium)

    assert [json.loads(line)["revision"] for line in reply.text.splitlines()] == ["3", "4"]


@pytest.mark.rule("transcoding.123")
async def test_an_empty_stream_is_an_empty_body(
    http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    reply = await http.get(f"{DELIVERED}?afterRevision=4", headers=premium)

    assert (reply.status_code, reply.content) == (200, b"")


@pytest.mark.rule("transcoding.124")
@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_an_error_before_the_first_message_is_an_ordinary_reply(
    http: httpx.AsyncClient, premium: dict[str, str], accept: str
) -> None:
    headers = {**premium, "accept": accept}
    missing = await http.get("/v1/orders/o-999999:watch", headers=headers)
    failing = await http.get(DELIVERED, headers={**headers, "x-fault": "fail=ABORTED"})

    assert (missing.status_code, reason_of(missing.json())) == (404, "ORDER_NOT_FOUND")
    assert (failing.status_code, reason_of(failing.json())) == (409, "FAULT_INJECTED")
    assert failing.headers["content-type"] == "application/json"


async def test_a_stream_needs_what_its_service_needs(http: httpx.AsyncClient) -> None:
    assert (await http.get(DELIVERED)).status_code == 401


@pytest.mark.rule("transcoding.125")
async def test_an_error_in_the_middle_is_the_last_line(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    """The service's connection is cut after two messages; the client reads an error, not an end."""
    async with gateway.client() as http, http.stream("GET", PAID, headers=premium) as reply:
        assert reply.status_code == 200
        lines = reply.aiter_lines()
        got = [json.loads(await anext(lines)), json.loads(await anext(lines))]
        # A second stream, on the same connection, cuts it.
        cut = await http.get(DELIVERED, headers={**premium, "x-fault": "drop"})
        got += [json.loads(line) async for line in lines]
        # Connected again, whoever comes next.
        back = await http.get(DELIVERED, headers=premium)

    assert (cut.status_code, back.status_code) == (503, 200)
    assert [event.get("revision") for event in got] == ["1", "2", None]
    assert got[2]["error"]["code"] == 503
    assert got[2]["error"]["status"] == "UNAVAILABLE"
    line = await gateway.access_line(reply)
    assert (line["status_code"], line["reason"]) == (200, "UPSTREAM_UNAVAILABLE")


@pytest.mark.rule("transcoding.138")
async def test_messages_come_as_they_are_made(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    """What happens while the stream is open is seen by its reader at once, and its end ends it."""
    order = {"customerId": "u-2", "items": [{"productId": "p-1", "quantity": 1}]}
    order_id = (await http.post("/v1/orders", json=order, headers=admin)).json()["id"]

    async with http.stream("GET", f"/v1/orders/{order_id}:watch", headers=admin) as reply:
        lines = reply.aiter_lines()
        placed = json.loads(await anext(lines))
        await http.post(f"/v1/orders/{order_id}:cancel", json={}, headers=admin)
        cancelled = json.loads(await anext(lines))
        rest = [line async for line in lines]

    assert placed["status"] == "ORDER_STATUS_PLACED"
    assert cancelled["status"] == "ORDER_STATUS_CANCELLED"
    assert rest == []


@pytest.mark.rule("transcoding.139")
@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_leaving_a_stream_cancels_its_call(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str], accept: str
) -> None:
    headers = {**premium, "accept": accept}
    async with gateway.client() as http, http.stream("GET", PAID, headers=headers) as reply:
        # Kept, since httpx closes the reply of an iterator that is dropped.
        lines = reply.aiter_lines()
        await anext(lines)
        assert (await samples.calls("orders", "WatchOrder")).in_flight == 1

    seen = await samples.wait_calls("orders", "WatchOrder", lambda calls: calls.in_flight == 0)
    assert (seen.calls, seen.cancelled) == (1, 1)
    line = await gateway.access_line(reply)
    assert (line["aborted"], line["status_code"], line["reason"]) == (True, 499, "CLIENT_GONE")


@pytest.mark.rule("edge.1")
async def test_leaving_a_call_cancels_it(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    async with gateway.client() as http:
        asking = asyncio.create_task(
            http.get("/v1/orders/o-1", headers={**premium, "x-fault": "hang"})
        )
        await samples.wait_calls("orders", "GetOrder", lambda calls: calls.in_flight == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    seen = await samples.wait_calls("orders", "GetOrder", lambda calls: calls.in_flight == 0)
    assert (seen.calls, seen.cancelled) == (1, 1)
    line = await gateway.access_where(reason="CLIENT_GONE", route_id="orders.GetOrder")
    assert (line["status_code"], line["aborted"]) == (499, True)


async def test_many_streams_and_calls_share_one_connection(
    http: httpx.AsyncClient, samples: SampleServices, premium: dict[str, str]
) -> None:
    """Open streams hold nothing that calls need."""
    async with asyncio.TaskGroup() as tasks:
        streams = [tasks.create_task(http.get(DELIVERED, headers=premium)) for _ in range(20)]
        calls = [tasks.create_task(http.get("/v1/products/p-1")) for _ in range(20)]

    assert {task.result().status_code for task in (*streams, *calls)} == {200}
    assert (await samples.calls("orders", "WatchOrder")).calls == 20
