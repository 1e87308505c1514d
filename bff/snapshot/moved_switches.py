"""Which switches moved between two versions, route by route: what a change of preset comes to."""

from collections.abc import Mapping

from bff.config.presets import SwitchInForce
from bff.snapshot.compiler import Compiled

__all__ = ["Texts", "moved_switches", "switch_texts"]

# Route, as `GET /v1/orders/{order_id}`, to switch to value, all as the configuration writes them.
Texts = Mapping[str, Mapping[str, str]]


def switch_texts(compiled: Compiled) -> Texts:
    """The switches in force of every route to a method. Routes that agree share one mapping."""
    shared: dict[tuple[SwitchInForce, ...], dict[str, str]] = {}
    found: dict[str, Mapping[str, str]] = {}
    for route, switches in compiled.switches:
        if switches not in shared:
            shared[switches] = {each.name: each.text for each in switches}
        found[f"{route.method} {route.template}"] = shared[switches]
    return found


def moved_switches(before: Texts, after: Texts) -> dict[str, list[str]]:
    """What moved, as `wrong_method 405 -> 404, ..`, and the routes of both versions where it did."""
    moves: dict[str, list[str]] = {}
    for route, now in sorted(after.items()):
        then = before.get(route)
        if then is None or then == now:
            continue
        told = ", ".join(
            f"{name} {then[name]} -> {value}" for name, value in now.items() if then[name] != value
        )
        moves.setdefault(told, []).append(route)
    return moves
