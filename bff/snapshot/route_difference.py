"""Which routes two versions have in common, and which of those mean something else now.

A route is compared by what its callers and its operator see of it: rule, operation, guard, limits,
and the types of its messages, all the way down.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from bff.core.schema import Field, MessageType, Method
from bff.snapshot.compiler import Compiled

__all__ = ["RouteDifference", "compare_routes", "fingerprints"]


class RouteDifference(Struct, frozen=True, kw_only=True):
    """Routes as `GET /v1/orders/{order_id}`, sorted."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.added or self.removed or self.changed)


def compare_routes(before: Mapping[str, str], after: Mapping[str, str]) -> RouteDifference:
    """The difference between two results of `fingerprints`."""
    return RouteDifference(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(
            sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
        ),
    )


def fingerprints(compiled: Compiled) -> dict[str, str]:
    """By route: a digest of what it means."""
    types = _Types()
    found: dict[str, list[object]] = {}
    for route in compiled.routes:
        found.setdefault(f"{route.method} {route.template}", []).append(
            [
                route.id,
                route.operation,
                route.guard,
                route.policies,
                route.deadline_s,
                compiled.sdl if route.operation == "GraphQL" else "",
                # Of an aggregate; a method that is no operation is in `served` below.
                [types.of(compiled.methods[name]) for name in route.operation.split(", ")
                 if name in compiled.methods],
            ]
        )  # fmt: skip
    for served in compiled.served:
        binding = served.binding
        found[f"{binding.method} {binding.template}"].append(
            [
                binding.body,
                binding.response_body,
                types.of(served.method),
                [(switch.name, str(switch.value)) for switch in served.all_switches],
            ]
        )
    return {name: _digest(parts) for name, parts in found.items()}


class _Types:
    """Digests of methods' types; each message is looked at once."""

    def __init__(self) -> None:
        self._shapes: dict[str, object] = {}
        self._whole: dict[str, str] = {}

    def of(self, method: Method) -> list[object]:
        """What a caller of this method depends on."""
        return [
            method.path,
            method.client_streaming,
            method.server_streaming,
            self._closure(method.input),
            self._closure(method.output),
        ]

    def _closure(self, message: MessageType) -> str:
        known = self._whole.get(message.full_name)
        if known is None:
            reached: dict[str, MessageType] = {}
            waiting = [message]
            while waiting:
                one = waiting.pop()
                if one.full_name not in reached:
                    reached[one.full_name] = one
                    waiting += [field.message for field in one.fields if field.message]
            shapes = [self._shape(reached[name]) for name in sorted(reached)]
            known = self._whole[message.full_name] = _digest(shapes)
        return known

    def _shape(self, message: MessageType) -> object:
        shape = self._shapes.get(message.full_name)
        if shape is None:
            shape = [message.full_name, *_fields(message.fields)]
            self._shapes[message.full_name] = shape
        return shape


def _fields(fields: Iterable[Field]) -> Iterable[object]:
    for field in fields:
        yield [
            field.name,
            field.json_name,
            field.number,
            field.kind,
            field.repeated,
            field.map_key,
            field.message.full_name if field.message else None,
            [(value.name, value.number) for value in field.enum.values] if field.enum else None,
            field.has_presence,
            field.oneof,
            field.required,
            field.output_only,
            field.input_only,
        ]


def _digest(content: object) -> str:
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()
