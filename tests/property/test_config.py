"""Whatever is written in a mapping file, loading gives a document or problems, and nothing else."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bff.config.load import load
from bff.core.errors import ConfigError
from bff.core.problems import Problem

pytestmark = pytest.mark.rule("control.CF11")

VALID: list[dict[str, Any]] = [
    {
        "format": 1,
        "gateway": {
            "protos": ["../protos"],
            "listen": [{"address": "0.0.0.0:8443", "tls": {"cert": "a", "key": "env:KEY"}}],
            "trusted_proxies": ["10.0.0.0/8"],
            "drain": {"grace": "5s"},
        },
        "stores": {"main": {"redis": "redis://h:1", "password": "env:A"}},
        "upstreams": {
            "orders": {
                "endpoints": ["h:1", {"host": "h", "port": 2, "weight": 3}],
                "tls": "mesh",
                "retry": {"codes": ["UNAVAILABLE"], "budget": "20%"},
                "operations": {"Get": {"timeout": "4s", "retry": "off"}},
            }
        },
        "auth": {"issuers": {"main": {"issuer": "https://id", "audience": ["a"]}}},
        "tiers": {"gold": {"rate": "5/s", "burst": 9}},
        "limits": {"slow": {"rate": "1/s", "by": ["tenant", "claim:a"]}},
        "limit": ["slow"],
        "caps": {"body": "64KiB"},
        "telemetry": {"log": "5%"},
    },
    {
        "service": "a.B",
        "upstream": "orders",
        "routes": [
            {"rpc": "Get", "get": "/a/{id}", "auth": {"scopes": ["a"]}, "also": [{"post": "/b"}]},
            {"rpc": "*", "metadata": {"in": ["a"], "set": {"b": "c"}}},
        ],
        "graphql": {"queries": {"a": "Get"}, "mutations": {"b": {"rpc": "Get", "timeout": "1s"}}},
    },
    {
        "aggregate": "GET /home",
        "sources": {"a": {"rpc": "orders.Get", "with": {"x": 1}, "on_error": {"default": None}}},
        "reply": {"a": "a.b"},
    },
]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["off", "none", "5s", "1MiB", "60/min", "env:A", "x-a", "h:1", "http://[", "tier"]
    ),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every container with a key or index of it."""
    pairs = enumerate(tree) if isinstance(tree, list) else tree.items()
    found = []
    for key, value in list(pairs):
        found.append((tree, key))
        if isinstance(value, list | dict):
            found += places(value)
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "all.yaml"


def outcome(file: Path, text: str) -> None:
    """Load it; a refusal has problems, each with a sentence and a code."""
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    found: list[Problem] | None = None
    try:
        load(file)
    except ConfigError as error:
        found = error.problems
    assert found is None or found
    for problem in found or ():
        assert problem.message, problem
        assert problem.code.startswith("BFF-C"), problem
        assert str(problem)


def test_the_document_that_is_mutated_is_valid(file: Path) -> None:
    file.write_text("\n---\n".join(map(json.dumps, VALID)))

    assert load(file).gateway.value.limits["slow"].by == ("tenant", "claim:a")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_change_of_values_and_keys_gives_a_document_or_problems(
    file: Path, data: st.DataObject
) -> None:
    tree = json.loads(json.dumps(VALID))
    for _ in range(data.draw(st.integers(1, 4))):
        left = places(tree)
        if not left:
            break
        container, key = data.draw(st.sampled_from(left))
        with contextlib.suppress(KeyError, IndexError):  # an earlier change may have cut it off
            match data.draw(st.sampled_from(["replace", "remove", "rename"])):
                case "replace":
                    container[key] = data.draw(VALUES)
                case "remove":
                    del container[key]
                case _ if isinstance(container, dict):
                    container[data.draw(st.text(max_size=8))] = container.pop(key)

    outcome(file, "\n---\n".join(json.dumps(part) for part in tree))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    start=st.integers(0, 1500),
    length=st.integers(0, 30),
    insert=st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("{}[]:,&*!|>-?%@`'\"#\n\t "), max_size=12),
)  # fmt: skip
def test_any_change_of_the_text_gives_a_document_or_problems(
    file: Path, start: int, length: int, insert: str
) -> None:
    text = "\n---\n".join(json.dumps(part, indent=1) for part in VALID)

    outcome(file, text[:start] + insert + text[start + length :])


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_gives_a_document_or_problems(file: Path, text: str) -> None:
    outcome(file, text)
