"""What a configuration of many routes costs: counts of what is kept for each, never megabytes."""

import gc
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.memory import Shape, write_routes
from bff.cli.offline import compile_offline
from bff.pipeline.route import CompiledRoute, Tools

# Objects that the collector knows and a live version keeps for one more route: 29 for one more path
# of a method, 172 for a method with a request of its own, most of which are the request's types.
_MOST_OBJECTS = {"rules": 36, "methods": 210}


def tools_of(folder: Path, shape: Shape, routes: int) -> Tools:
    """What a worker keeps of so many routes."""
    folder.mkdir()
    write_routes(folder, shape, routes)
    return compile_offline(folder)[1].tools


def routes_of(tools: Tools, *paths: str) -> list[CompiledRoute]:
    """The routes that take a GET at these paths."""
    return [tools.trie.find("GET", path).value for path in paths]  # type: ignore[union-attr]  # all are found


def kept_of(tools: Tools) -> Counter[str]:
    """All objects that can be reached from a version and that the collector knows, by type."""
    known = {id(each) for each in gc.get_objects()}
    # The globals of functions lead to everything that any module holds, this run's other tests too.
    known -= {id(vars(module)) for module in list(sys.modules.values())}
    seen: dict[int, Any] = {}
    todo: list[Any] = [tools]
    while todo:
        for each in gc.get_referents(todo.pop()):
            # Classes and modules lead to everything.
            if id(each) in known and id(each) not in seen and not isinstance(each, _NOT_OURS):
                seen[id(each)] = each
                todo.append(each)
    return Counter(type(each).__name__ for each in seen.values())


_NOT_OURS = (type, type(gc))


@pytest.mark.parametrize("shape", ["rules", "methods"])
def test_one_more_route_keeps_few_objects(tmp_path: Path, shape: Shape) -> None:
    few = kept_of(tools_of(tmp_path / "few", shape, 100))
    many = kept_of(tools_of(tmp_path / "many", shape, 300))

    more = {name: (many - few)[name] / 200 for name in many - few}

    assert more["CompiledRoute"] == 1.0
    assert sum(more.values()) <= _MOST_OBJECTS[shape], Counter(more).most_common(20)


def test_a_live_version_keeps_nothing_of_the_files_it_came_from(tmp_path: Path) -> None:
    kept = kept_of(tools_of(tmp_path / "files", "methods", 20))

    assert kept["CompiledRoute"] > 20
    left = {"Placed", "ServiceFile", "GatewayFile", "Route", "Source", "Template", "ServedBinding"}
    assert not left & kept.keys()


def test_paths_of_one_method_share_what_translates_and_what_lets_in(tmp_path: Path) -> None:
    tools = tools_of(tmp_path / "rules", "rules", 3)

    first, second = routes_of(tools, "/v1/r0/a", "/v1/r2/a")

    assert first is not second
    assert first.work.bound.binder is second.work.bound.binder  # type: ignore[attr-defined]  # unary calls both
    assert first.work.write is second.work.write  # type: ignore[attr-defined]  # as above
    assert first.access is second.access


def test_buckets_by_route_stay_apart_and_share_the_rest(tmp_path: Path) -> None:
    tools = tools_of(tmp_path / "rules", "rules", 3)

    first, second = (route.limits for route in routes_of(tools, "/v1/r0/a", "/v1/r2/a"))

    assert first is not None
    assert second is not None
    assert first is not second
    per_caller, each = zip(first.rules, second.rules, strict=True)
    assert per_caller[0] is per_caller[1]
    assert each[0] is not each[1]
    assert each[0].admitted is each[1].admitted
    assert first.admitted is second.admitted
