"""CEL conditions: what may be written, and what an answer is."""

from typing import Any

import pytest

from bff.transform.condition import ConditionError, ConditionFault, compile_condition

NAMES = frozenset({"auth", "path", "query", "request"})
SAMPLES = {
    "auth": {"sub": "s", "tenant": "t", "roles": ["r"], "scopes": ["s"], "claims": {}, "tier": "t"}
}
SCOPE = {
    "auth": {"sub": "u-1", "tenant": "acme", "roles": ["admin"], "scopes": [], "claims": {"n": 5}},
    "path": {"user_id": "u-1", "ids": ["a", "b"]},
    "query": {"limit": 10},
    "request": {"method": "GET", "headers": {"x-a": "b"}},
}


@pytest.mark.rule("edge.9")
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("auth.sub == path.user_id || 'admin' in auth.roles", True),
        ("auth.sub == path['user_id']", True),
        ("query.limit > 10", False),
        ("query.limit > 5 && request.method == 'GET'", True),
        ("has(auth.claims.department) && auth.claims.department == 'x'", False),
        ("auth.claims.n == 5", True),
        ("request.headers['x-a'].startsWith('b')", True),
        ("auth.sub.matches('^u-[0-9]+$')", True),
        ("path.ids.all(one, one in ['a', 'b'])", True),
        ("path.ids.exists(x, x == 'c') || path.ids.exists(x, x == 'a')", True),
        ("auth.roles.map(r, r + 'x').exists(r, r == 'adminx')", True),
        ("size(path.ids) == 2 ? true : false", True),
        ("auth.sub == 'nope == (1) // x.all(y, z)'", False),
        ("true // unknown == 1", True),
        ("auth.missing == 1 || true", True),
    ],
)
def test_conditions_answer(text: str, answer: bool) -> None:
    samples = {} if "missing" in text else SAMPLES

    assert compile_condition(text, NAMES, samples=samples).holds(SCOPE) is answer


@pytest.mark.rule("edge.9")
@pytest.mark.parametrize("text", ["path + path.id / 2", "path - path.id == 2"])
def test_a_root_beside_its_own_member_is_judged_too(text: str) -> None:
    """Such a condition is refused for what it says; it once ended the process."""
    with pytest.raises(ConditionError, match="never true or false"):
        compile_condition(text, NAMES)


@pytest.mark.rule("edge.9")
@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        pytest.param("auth.sub == ", 13, "not a CEL expression", id="syntax"),
        pytest.param("", 1, "not a CEL expression", id="empty"),
        pytest.param("auth.roles.all(., true)", 17, "no viable alternative", id="macro"),
        pytest.param("auth.roles.all('x', true)", 16, "must be a simple name", id="macro_alone"),
        pytest.param("(" * 300 + "true" + ")" * 300, None, "not a CEL expression", id="deep"),
        pytest.param("true" + " " * 1021, None, "1024 bytes", id="too_long"),
        pytest.param("true || pth.a == 'x'", 9, "did you mean 'path'", id="unknown_root"),
        pytest.param("body.a == 'x'", 1, "'body' is not known", id="no_body"),
        pytest.param(".auth.sub == 'x'", None, "not known", id="leading_dot"),
        pytest.param("auth.role == 'x'", 1, "did you mean 'roles'", id="unknown_member"),
        pytest.param("auth.sub.lower() == 'x'", 10, "function 'lower' is not known", id="function"),
        pytest.param("fetch('http://x') == 1", 1, "function 'fetch'", id="io"),
        pytest.param("cel.bind(x, 1, x == 1)", 1, "not known", id="bind"),
        pytest.param("Foo{a: 1} == 1", 1, "not known", id="struct"),
        pytest.param("path.a.all(x, x.exists(y, y == 1))", 17, "nested", id="nested"),
        pytest.param(
            "path.a.map(x, path.b.filter(y, y == x)) == []", 22, "nested", id="nested_other"
        ),
        pytest.param("path.a.all(auth, true)", 8, "taken", id="shadowed_root"),
        pytest.param("auth.sub.matches('(a')", 18, "RE2", id="bad_pattern"),
        pytest.param("auth.sub.matches('(?=a)')", 18, "RE2", id="look_ahead"),
        pytest.param("auth.sub.matches(query.p)", 10, "written as text", id="clients_pattern"),
        pytest.param(
            "auth.sub.matches('a' + query.p)", 10, "write value.matches", id="joined_pattern"
        ),
        pytest.param("auth.sub", 1, "never true or false", id="text"),
        pytest.param("1", 1, "never true or false", id="number"),
        pytest.param("auth.sub + 1 == 2", 1, "never true or false", id="never_fits"),
    ],
)
def test_what_could_not_run_is_refused_at_load(text: str, column: int | None, message: str) -> None:
    with pytest.raises(ConditionError) as error:
        compile_condition(text, NAMES, samples=SAMPLES)

    assert message in str(error.value)
    if column is not None:
        assert error.value.column == column


@pytest.mark.rule("edge.9")
@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("path.user_id == 'a'", {"path": {}}),
        ("path.user_id == 'a'", {}),
        ("query.limit > 1", {"query": {"limit": "1"}}),
        ("10 / query.limit == 1", {"query": {"limit": 0}}),
        ("query.a[5] == 1", {"query": {"a": [1]}}),
        ("query.n + 9223372036854775807 > 0", {"query": {"n": 1}}),
        ("query.a == 's' ? true : 1 == 1", {"query": {"a": object()}}),
        ("query.flag", {"query": {"flag": "yes"}}),
    ],
    ids=["no_key", "no_root", "type", "zero", "index", "overflow", "foreign_value", "no_bool"],
)
def test_what_cannot_be_decided_is_a_fault_without_values(text: str, scope: dict[str, Any]) -> None:
    condition = compile_condition(text, NAMES)

    with pytest.raises(ConditionFault) as fault:
        condition.holds(scope)

    assert "yes" not in str(fault.value)


@pytest.mark.rule("edge.9")
def test_a_comprehension_visits_at_most_100_items() -> None:
    condition = compile_condition("query.ids.all(x, x != 'z')", NAMES)
    assert condition.holds({"query": {"ids": ["a"] * 100}})

    with pytest.raises(ConditionFault, match="100"):
        condition.holds({"query": {"ids": ["a"] * 101}})
    assert compile_condition("size(query.ids) > 100", NAMES).holds({"query": {"ids": ["a"] * 101}})


def test_a_condition_says_which_roots_it_reads() -> None:
    condition = compile_condition("auth.roles.exists(r, r == request.method)", NAMES)

    assert condition.names == {"auth", "request"}


def test_only_the_roots_it_reads_are_handed_over() -> None:
    """A root that the condition does not read may hold what the library cannot take."""
    assert compile_condition("query.a == 1", NAMES).holds({"query": {"a": 1}, "path": object()})
