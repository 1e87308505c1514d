"""Dead peers, keepalive, idle connections: what time alone decides."""

import pytest

from bff.wire.http2.frames import ACK, PING, frame
from tests.support.h2_machine import Machine
from tests.support.h2_server import GRPC, headers, reply

pytestmark = pytest.mark.rule("upstreams.2")


def pings(machine: Machine) -> list[bytes]:
    return [one[3] for one in machine.sent() if one[0] == PING]


def until(machine: Machine, end_s: float) -> None:
    """Tick whenever it is due, as an owner does."""
    while machine.state != "closed" and machine.it.vigil.due_s <= end_s:
        machine.tick(max(0.0, machine.it.vigil.due_s - machine.now_s))
    machine.tick(end_s - machine.now_s)


def test_a_call_that_hears_nothing_for_a_second_asks_and_a_silent_peer_is_dead() -> None:
    machine = Machine()
    machine.now_s += 100.0
    call = machine.open()
    machine.tick()
    began_s = machine.now_s

    until(machine, began_s + 0.9)
    assert pings(machine) == []
    until(machine, began_s + 1.0)
    assert len(pings(machine)) == 1
    until(machine, began_s + 1.9)
    assert machine.state == "ready"
    until(machine, began_s + 2.0)

    assert machine.state == "closed"
    assert call.fault is not None
    assert call.fault.sent == "maybe"


def test_an_answered_ping_keeps_the_connection_and_two_are_all() -> None:
    machine = Machine()
    machine.open()
    for _ in range(2):
        until(machine, machine.now_s + 1.01)
        (payload,) = pings(machine)
        machine.receive(frame(PING, ACK, 0, payload))

    until(machine, machine.now_s + 60.0)
    assert pings(machine) == []
    machine.receive(headers(1, *GRPC))
    until(machine, machine.now_s + 1.01)

    assert len(pings(machine)) == 1
    assert machine.state == "ready"


def test_a_loop_that_stood_still_does_not_blame_the_peer() -> None:
    machine = Machine()
    machine.open()
    until(machine, machine.now_s + 1.0)
    (payload,) = pings(machine)

    machine.tick(9.0)
    assert machine.state == "ready"
    machine.receive(frame(PING, ACK, 0, payload))

    assert machine.tick(0.3) == []
    assert machine.state == "ready"


def test_without_calls_nobody_asks() -> None:
    machine = Machine()

    until(machine, machine.now_s + 1_000.0)

    assert pings(machine) == []


def test_keepalive_asks_without_calls_too() -> None:
    machine = Machine(keepalive_s=30.0)
    machine.tick()

    for _ in range(3):
        until(machine, machine.now_s + 30.0)
        (payload,) = pings(machine)
        machine.receive(frame(PING, ACK, 0, payload))

    until(machine, machine.now_s + 30.0)
    until(machine, machine.now_s + 1.0)
    assert machine.state == "closed"


def test_a_connection_without_calls_for_half_an_hour_is_closed() -> None:
    machine = Machine()
    machine.open()
    machine.receive(reply(1, b""))
    machine.tick()

    until(machine, machine.now_s + 1_799.0)
    assert machine.state == "ready"
    until(machine, machine.now_s + 1.0)

    assert machine.state == "closed"
    assert machine.it.is_by_choice
