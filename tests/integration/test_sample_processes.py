"""The sample services as processes: faults, counting, health, reflection, start and stop."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sample_services.generated.sample.catalog.v1 import catalog_pb2
from sample_services.generated.sample.orders.v1 import orders_pb2
from tests.support.samples import Calls, SampleServices, ServiceName, refusal


@pytest.fixture(scope="module")
def shop() -> Iterator[SampleServices]:
    """Of their own: what is cut off and counted here is nobody else's."""
    with SampleServices() as running:
        yield running


# Faults and the book of calls


async def raw_get_order(samples: SampleServices, **options: Any) -> bytes:
    """GetOrder without parsing the answer."""
    async with grpc.aio.insecure_channel(samples.orders) as channel:
        call: Any = channel.unary_unary("/sample.orders.v1.OrderService/GetOrder", None, None)
        answer: bytes = await call(
            orders_pb2.GetOrderRequest(order_id="o-1").SerializeToString(), **options
        )
        return answer


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("fail=UNAVAILABLE", grpc.StatusCode.UNAVAILABLE),
        ("fail=DATA_LOSS", grpc.StatusCode.DATA_LOSS),
        ("drop", grpc.StatusCode.UNAVAILABLE),
        ("no-such-fault", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_a_request_chooses_its_own_fault(
    samples: SampleServices, fault: str, code: grpc.StatusCode
) -> None:
    error = await refusal(raw_get_order(samples, metadata=(("x-fault", fault),)))

    assert error.code() == code


async def test_garbage_is_an_answer_that_does_not_parse(samples: SampleServices) -> None:
    answer = await raw_get_order(samples, metadata=(("x-fault", "garbage"),))

    with pytest.raises(Exception, match="parsing"):
        orders_pb2.Order.FromString(answer)


async def test_a_delayed_call_is_still_served(samples: SampleServices) -> None:
    answer = await raw_get_order(samples, metadata=(("x-fault", "delay=1ms"),))

    assert orders_pb2.Order.FromString(answer).id == "o-1"


async def test_a_drop_takes_the_other_calls_of_the_connection_along(
    samples: SampleServices,
) -> None:
    async with samples.stub("orders") as orders:
        hanging = orders.GetOrder(
            orders_pb2.GetOrderRequest(order_id="o-1"), metadata=(("x-fault", "hang"),)
        )
        await samples.wait_calls("orders", "GetOrder", lambda seen: seen.in_flight == 1)
        await refusal(
            orders.ListOrders(
                orders_pb2.ListOrdersRequest(user_id="u-1"), metadata=(("x-fault", "drop"),)
            )
        )
        error = await refusal(hanging)

    assert error.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_fault_set_at_run_time_hits_its_method_as_often_as_told(
    samples: SampleServices,
) -> None:
    await samples.set_fault("orders", "fail=ABORTED", method="*/GetOrder", remaining=2)

    async with samples.stub("orders") as orders:
        listed = await orders.ListOrders(orders_pb2.ListOrdersRequest(user_id="u-1"))
        errors = [
            await refusal(orders.GetOrder(orders_pb2.GetOrderRequest(order_id="o-1")))
            for _ in range(2)
        ]
        served = await orders.GetOrder(orders_pb2.GetOrderRequest(order_id="o-1"))

    assert listed.orders
    assert [error.code() for error in errors] == [grpc.StatusCode.ABORTED] * 2
    assert served.id == "o-1"
    assert (await samples.calls("orders", "GetOrder")).calls == 3


async def test_a_fault_without_count_lasts_until_it_is_taken_back(samples: SampleServices) -> None:
    await samples.set_fault("catalog", "fail=UNAVAILABLE")

    async with samples.stub("catalog") as catalog:
        request = catalog_pb2.GetProductRequest(product_id="p-1")
        errors = [await refusal(catalog.GetProduct(request)) for _ in range(3)]
        await samples.reset()
        served = await catalog.GetProduct(request)

    assert {error.code() for error in errors} == {grpc.StatusCode.UNAVAILABLE}
    assert served.product_id == "p-1"


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_call_given_up_is_counted_as_cancelled(samples: SampleServices, how: str) -> None:
    await samples.set_fault("orders", "hang", method="*/GetOrder")

    async with samples.stub("orders") as orders:
        call = orders.GetOrder(
            orders_pb2.GetOrderRequest(order_id="o-1"), timeout=1.0 if how == "deadline" else None
        )
        if how == "cancel":
            await samples.wait_calls("orders", "GetOrder", lambda seen: seen.in_flight == 1)
            call.cancel()
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await call

    seen = await samples.wait_calls("orders", "GetOrder", lambda seen: seen.in_flight == 0)
    assert (seen.calls, seen.cancelled, seen.max_in_flight) == (1, 1, 1)


async def test_a_watcher_that_leaves_is_counted_as_cancelled(samples: SampleServices) -> None:
    async with samples.stub("orders") as orders:
        watch = orders.WatchOrder(orders_pb2.WatchOrderRequest(order_id="o-241"))
        await watch.read()
        watch.cancel()

    seen = await samples.wait_calls("orders", "WatchOrder", lambda seen: seen.in_flight == 0)
    assert seen.cancelled == 1


async def test_the_book_tells_metadata_and_time_left_of_the_latest_call(
    samples: SampleServices,
) -> None:
    await raw_get_order(
        samples, metadata=(("x-user-id", "u-1"), ("x-many", "a"), ("x-many", "b")), timeout=30
    )
    with_deadline = await samples.calls("orders", "GetOrder")
    await raw_get_order(samples)
    without = await samples.calls("orders", "GetOrder")

    assert with_deadline.metadata["x-user-id"] == "u-1"
    assert with_deadline.metadata["x-many"] == "a, b"
    assert with_deadline.time_remaining_s is not None
    # Not to the millisecond: grpc rounds the timeout it sends.
    assert 20 < with_deadline.time_remaining_s < 31
    assert without.time_remaining_s is None
    assert "x-user-id" not in without.metadata


async def test_a_method_never_called_has_an_empty_record(samples: SampleServices) -> None:
    assert await samples.calls("users", "GetUser") == Calls()


# Health and reflection

NAMES: Mapping[ServiceName, str] = {
    "users": "sample.users.v1.UserService",
    "catalog": "sample.catalog.v1.CatalogService",
    "orders": "sample.orders.v1.OrderService",
}


@pytest.mark.parametrize("service", NAMES)
async def test_each_service_says_it_is_healthy(
    samples: SampleServices, service: ServiceName
) -> None:
    async with grpc.aio.insecure_channel(samples.address(service)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", NAMES[service]):
            reply = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("service", NAMES)
async def test_each_service_reflects_itself(samples: SampleServices, service: ServiceName) -> None:
    async def ask() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        yield reflection_pb2.ServerReflectionRequest(file_containing_symbol=NAMES[service])

    async with grpc.aio.insecure_channel(samples.address(service)) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        listed, file = [reply async for reply in stub.ServerReflectionInfo(ask())]

    names = {entry.name for entry in listed.list_services_response.service}
    assert {NAMES[service], "grpc.health.v1.Health"} <= names
    assert file.file_descriptor_response.file_descriptor_proto


# The processes


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):  # the second: gone while we read
        return False
    # A zombie has ended; whoever inherited it has not looked yet.
    return status.rpartition(")")[2].split()[0] != "Z"


async def until_gone(pids: list[int]) -> None:
    async with asyncio.timeout(20):
        while any(is_alive(pid) for pid in pids):
            await asyncio.to_thread(os.sched_yield)


def end_with_stdin(samples: SampleServices) -> None:
    samples.stop()


def end_with_sigterm(samples: SampleServices) -> None:
    os.kill(samples.pid, signal.SIGTERM)


def end_with_sigkill(samples: SampleServices) -> None:
    os.kill(samples.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "end", [end_with_stdin, end_with_sigterm, end_with_sigkill], ids=["stdin", "TERM", "KILL"]
)
async def test_no_service_outlives_the_launcher(
    end: Callable[[SampleServices], None], tmp_path: Path
) -> None:
    # A folder of ours, since a killed launcher cannot take its own away.
    async with SampleServices(folder=tmp_path) as started:
        children = children_of(started.pid)

        end(started)
        await until_gone(children)

    assert len(children) == 4


async def test_the_launcher_ends_with_a_service_that_ends_by_itself() -> None:
    async with SampleServices() as started:
        children = children_of(started.pid)

        os.kill(children[1], signal.SIGKILL)
        await until_gone(children)
        status = await asyncio.to_thread(started.stop)

    assert status == 1


async def test_a_given_folder_keeps_the_data_over_a_restart(tmp_path: Path) -> None:
    item = orders_pb2.PlaceOrderRequest.Item(product_id="p-1", quantity=1)
    async with SampleServices(folder=tmp_path) as first, first.stub("orders") as orders:
        placed = await orders.PlaceOrder(
            orders_pb2.PlaceOrderRequest(customer_id="u-77", items=[item])
        )
    async with SampleServices(folder=tmp_path) as second, second.stub("orders") as orders:
        read = await orders.GetOrder(orders_pb2.GetOrderRequest(order_id=placed.id))

    assert read == placed
    with sqlite3.connect(tmp_path / "orders.sqlite") as db:
        assert db.execute("SELECT count(*) FROM orders").fetchone()[0] == 2001
    db.close()


async def test_one_service_starts_alone_and_refuses_a_taken_port(samples: SampleServices) -> None:
    port = samples.orders.rpartition(":")[2]

    answer = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "sample_services.orders", f"--port={port}"],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2],
        timeout=30,
    )

    assert answer.returncode != 0
    assert not answer.stdout
