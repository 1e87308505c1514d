"""Which routes two versions have in common, and which of those mean something else now.

A route is compared by what its callers and its operator see of it: rule, operation, guard, limits,
and the types of its messages, all the way down.
"""

from collections.abc import Mapping

from msgspec import Struct

from bff.core.schema import Method
from bff.snapshot.compiler import Compiled
from bff.transcoding.type_shapes import TypeShapes, digest_of

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
    shapes = TypeShapes()
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
                [_of_method(shapes, compiled.methods[name]) for name in route.operation.split(", ")
                 if name in compiled.methods],
            ]
        )  # fmt: skip
    for route, switches in compiled.switches:
        found[f"{route.method} {route.template}"].append(
            [(switch.name, str(switch.value)) for switch in switches]
        )
    for served in compiled.served:
        binding = served.binding
        found[f"{binding.method} {binding.template}"].append(
            [
                binding.body,
                binding.response_body,
                _of_method(shapes, served.method),
            ]
        )
    return {name: digest_of(parts) for name, parts in found.items()}


def _of_method(shapes: TypeShapes, method: Method) -> list[object]:
    """What a caller of this method depends on."""
    return [
        method.path,
        method.client_streaming,
        method.server_streaming,
        shapes.digest(method.input),
        shapes.digest(method.output),
    ]
