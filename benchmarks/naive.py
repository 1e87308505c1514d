"""What people write today: a FastAPI route per method, grpc.aio behind it, google's json_format, uvicorn.

`python -m benchmarks.naive --port N --upstream HOST:PORT`, with the generated stubs on PYTHONPATH.
"""

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module

import grpc
import uvicorn
from fastapi import FastAPI, Request, Response
from google.protobuf.json_format import MessageToJson, Parse

__all__ = ["main", "make_app"]


def make_app(upstream: str) -> FastAPI:
    """The gateway: a route a method, one channel."""
    messages = import_module("bench.v1.bench_pb2")
    stubs = import_module("bench.v1.bench_pb2_grpc")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with grpc.aio.insecure_channel(upstream) as channel:
            app.state.orders = stubs.OrderServiceStub(channel)
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

    return app


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
