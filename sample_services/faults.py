"""Faults on demand and the book of calls: what a sample service shall do wrong, and what it saw.

A fault is asked for by one request (metadata `x-fault`) or switched on at run time for the methods
that match a pattern (`sample.faults.v1.FaultService`). Nothing here does the wrong itself;
`serving` does.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, Self

import grpc
import msgspec
from google.protobuf.duration_pb2 import Duration

from sample_services.generated.sample.faults.v1 import faults_pb2
from sample_services.refusal import Refused, invalid

__all__ = ["FAULT_KEY", "CallBook", "Fault", "FaultControl", "FaultTable", "parse_fault"]

FAULT_KEY = "x-fault"

_MAX_FAULTS = 100  # patterns at one time; a test or demo sets a handful
_DELAY = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")

Kind = Literal["delay", "fail", "hang", "drop", "garbage"]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What to do wrong.

    `delay`: serve after `delay_s`. `fail`: answer with `code`. `hang`: never answer. `drop`: cut
    the caller's connection, with all calls on it. `garbage`: answer OK with bytes that are no
    message.
    """

    kind: Kind
    delay_s: float = 0.0
    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN


_PLAIN: Mapping[str, Fault] = {
    "hang": Fault(kind="hang"),
    "drop": Fault(kind="drop"),
    "garbage": Fault(kind="garbage"),
}


def parse_fault(text: str) -> Fault:
    """Read `delay=250ms`, `delay=1.5s`, `fail=UNAVAILABLE`, `hang`, `drop` or `garbage`.

    Raises Refused (INVALID_ARGUMENT) for anything else, so that a typing error in a test shows.
    """
    plain = _PLAIN.get(text)
    if plain is not None:
        return plain
    name, _, value = text.partition("=")
    if name == "fail" and value in grpc.StatusCode.__members__ and value != "OK":
        return Fault(kind="fail", code=grpc.StatusCode[value])
    delay = _DELAY.fullmatch(value)
    if name == "delay" and delay is not None:
        scale = 0.001 if delay[2] == "ms" else 1.0
        return Fault(kind="delay", delay_s=float(delay[1]) * scale)
    raise invalid("fault", f"no such fault: {text!r}")


class _Rule:
    def __init__(self, *, fault: Fault, remaining: int) -> None:
        self.fault = fault
        self.remaining = remaining  # 0 = without end


class FaultTable:
    """The faults switched on at run time: one for each pattern, the newest pattern wins."""

    def __init__(self) -> None:
        self._rules: dict[str, _Rule] = {}

    def set(self, pattern: str, fault: Fault, *, remaining: int) -> None:
        """Let the next `remaining` calls that match `pattern` suffer; 0 = all of them."""
        if pattern not in self._rules and len(self._rules) >= _MAX_FAULTS:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many faults are set")
        self._rules.pop(pattern, None)
        self._rules[pattern] = _Rule(fault=fault, remaining=remaining)

    def clear(self, pattern: str) -> None:
        """Take one pattern back, or all if it is empty."""
        if pattern:
            self._rules.pop(pattern, None)
        else:
            self._rules.clear()

    def take(self, method: str, metadata: Mapping[str, str]) -> Fault | None:
        """The fault this call suffers: its own wish first, then the table's. Uses up one."""
        wish = metadata.get(FAULT_KEY)
        if wish is not None:
            return parse_fault(wish)
        for pattern, rule in reversed(self._rules.items()):
            if fnmatchcase(method, pattern):
                return self._use(pattern, rule)
        return None

    def _use(self, pattern: str, rule: _Rule) -> Fault:
        if rule.remaining == 1:
            del self._rules[pattern]
        elif rule.remaining > 1:
            rule.remaining -= 1
        return rule.fault


class CallRecord:
    """What one method was asked; see `MethodCalls` of faults.proto for the meanings.

    As a context manager it counts one call from begin to end.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self.metadata: Mapping[str, str] = {}
        self.time_remaining_s: float | None = None

    def __enter__(self) -> Self:
        self.calls += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.in_flight -= 1

    def reset(self) -> None:
        """Count anew; calls still running stay in flight, or their end would count below zero."""
        self.calls = 0
        self.cancelled = 0
        self.max_in_flight = self.in_flight
        self.metadata = {}
        self.time_remaining_s = None


class CallBook:
    """One record for each method of the service; their number is that of its descriptor."""

    def __init__(self) -> None:
        self._records: dict[str, CallRecord] = {}

    def of(self, method: str) -> CallRecord:
        """The record of "package.Service/Method"."""
        return self._records.setdefault(method, CallRecord())

    def matching(self, pattern: str) -> list[tuple[str, CallRecord]]:
        """Records of methods that were called and match, by name."""
        return [
            (method, record)
            for method, record in sorted(self._records.items())
            if (record.calls or record.in_flight) and fnmatchcase(method, pattern or "*")
        ]

    def reset(self) -> None:
        """Count anew."""
        for record in self._records.values():
            record.reset()


class FaultControl:
    """`sample.faults.v1.FaultService` over one table and one book."""

    def __init__(self, *, faults: FaultTable, calls: CallBook) -> None:
        self._faults = faults
        self._calls = calls
        self.unary = {
            "SetFault": self._set_fault,
            "ClearFaults": self._clear_faults,
            "GetCalls": self._get_calls,
            "ResetCalls": self._reset_calls,
        }

    async def _set_fault(self, request: Any, _caller: object) -> Any:
        if request.remaining < 0:
            raise invalid("remaining", "must be 0 or more")
        self._faults.set(
            request.method or "*", parse_fault(request.fault), remaining=request.remaining
        )
        return faults_pb2.SetFaultResponse()

    async def _clear_faults(self, request: Any, _caller: object) -> Any:
        self._faults.clear(request.method)
        return faults_pb2.ClearFaultsResponse()

    async def _get_calls(self, request: Any, _caller: object) -> Any:
        found = self._calls.matching(request.method)
        return faults_pb2.GetCallsResponse(
            methods=[_to_message(method, record) for method, record in found]
        )

    async def _reset_calls(self, _request: Any, _caller: object) -> Any:
        self._calls.reset()
        return faults_pb2.ResetCallsResponse()


def _to_message(method: str, record: CallRecord) -> Any:
    message = faults_pb2.MethodCalls(
        method=method,
        calls=record.calls,
        cancelled=record.cancelled,
        in_flight=record.in_flight,
        max_in_flight=record.max_in_flight,
        last_metadata=record.metadata,
    )
    if record.time_remaining_s is not None:
        left = Duration()
        left.FromNanoseconds(int(record.time_remaining_s * 1e9))
        message.last_time_remaining.CopyFrom(left)
    return message
