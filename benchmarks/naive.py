"""What people write today: a FastAPI route per method, grpc.aio behind it, google's json_format, uvicorn.

A screen is three calls at once and a dict; GraphQL is graphql-core with a resolver a field (`naive_graphql`).

`python -m benchmarks.naive --port N --upstream HOST:PORT`, with the generated stubs on PYTHONPATH.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import grpc
import uvicorn
from fastapi import FastAPI, Request, Response
from google.protobuf.json_format import MessageToDict, MessageToJson, Parse

from benchmarks.naive_graphql import Answer, make_answer

__all__ = ["main", "make_app"]


def make_app(upstream: str) -> FastAPI:
    """The gateway: a route a method, one channel."""
    messages = import_module("bench.v1.bench_pb2")
    stubs = import_module("bench.v1.bench_pb2_grpc")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with grpc.aio.insecure_channel(upstream) as channel:
            app.state.orders = stubs.OrderServiceStub(channel)
            app.state.answer = make_answer(app.state.orders, messages)
            yield

    app = FastAPI(lifespan=lifespan)

    def route(method: str) -> Callable[[str], Awaitable[Response]]:
        async def get_order(order_id: str) -> Response:
            call = getattr(app.state.orders, method)
            order = await call(messages.GetOrderRequest(order_id=order_id), timeout=5)
            # Its quickest form: a dict through FastAPI's own encoder would cost several times this.
            return Response(MessageToJson(order, indent=None), media_type="application/json")

        return get_order

    for size in ("small", "medium", "large"):
        app.get(f"/v1/{size}/{{order_id}}")(route(f"Get{size.capitalize()}"))

    @app.post("/v1/orders")
    async def place_order(request: Request) -> Response:
        asked = Parse(await request.body(), messages.Order())
        order = await app.state.orders.PlaceOrder(asked, timeout=5)
        return Response(MessageToJson(order, indent=None), media_type="application/json")

    @app.get("/v1/screens/{customer_id}/{order_id}")
    async def screen(customer_id: str, order_id: str) -> Response:
        orders = app.state.orders
        which = messages.GetOrderRequest(order_id=order_id)
        found = await asyncio.gather(
            orders.GetCustomer(messages.GetCustomerRequest(customer_id=customer_id), timeout=5),
            orders.GetMedium(which, timeout=5),
            orders.GetShipment(which, timeout=5),
        )
        return _json(screen_of(*(MessageToDict(message) for message in found)))

    @app.post("/graphql")
    async def graphql(request: Request) -> Response:
        answer: Answer = app.state.answer
        return _json(await answer(json.loads(await request.body())))

    return app


def screen_of(customer: Any, order: Any, shipment: Any) -> dict[str, Any]:
    """What the screen shows of three replies."""
    return {
        "customer": {"name": customer["displayName"], "tier": customer["tier"]},
        "order": {
            "id": order["orderId"],
            "status": order["status"],
            "total": order["total"],
            "items": [
                {"title": item["title"], "quantity": item["quantity"], "price": item["unitPrice"]}
                for item in order["items"]
            ],
        },
        "shipment": {
            "carrier": shipment["carrier"],
            "events": [
                {"place": event["place"], "at": event["at"]} for event in shipment["events"]
            ],
        },
    }


def _json(tree: Any) -> Response:
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    return Response(text, media_type="application/json")


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.naive")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    given = parser.parse_args()
    uvicorn.run(
        make_app(given.upstream),
        host="127.0.0.1",
        port=given.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
