"""Who may call: rules in order, what each refusal says, and when the request is looked at."""

from collections.abc import Mapping
from typing import Any

import pytest

from bff.auth.access import Access, AccessRules, compile_access
from bff.core.errors import DeniedError, GatewayError
from bff.core.events import Event, Noted
from bff.core.exchange import ANONYMOUS, Json, Principal

CALLER = Principal(
    kind="jwt",
    sub="u-1",
    tenant="acme",
    scopes=frozenset({"orders.read", "profile"}),
    roles=frozenset({"support"}),
)


def never() -> Mapping[str, Json]:
    raise AssertionError("the request was looked at")


def access(*rules: AccessRules, required: bool = True, **changes: Any) -> Access:
    return compile_access(required=required, rules=rules, realm="shop", **changes)


def denial(stage: Access, principal: Principal, **request: Json) -> GatewayError:
    with pytest.raises(GatewayError) as error:
        stage.check(principal, lambda: request)
    return error.value


def test_a_route_without_rules_asks_for_a_credential_only_if_required() -> None:
    access(required=False).check(ANONYMOUS, never)
    access().check(CALLER, never)

    error = denial(access(), ANONYMOUS)

    assert (error.status, error.reason) == (401, "CREDENTIAL_MISSING")
    assert error.headers == ((b"www-authenticate", b'Bearer realm="shop"'),)


def test_a_credential_of_a_kind_that_the_route_does_not_take_is_none() -> None:
    stage = access(kinds=frozenset({"api_key"}), required=False)
    stage.check(ANONYMOUS, never)

    assert denial(stage, CALLER).reason == "CREDENTIAL_MISSING"


@pytest.mark.rule("edge.9")
@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        pytest.param({"scopes": ("orders.read", "profile")}, None, id="all_scopes"),
        pytest.param({"scopes": ("orders.read", "orders.write")}, "scopes", id="one_scope_lacks"),
        pytest.param({"scopes": ("orders",)}, "scopes", id="a_prefix_is_no_scope"),
        pytest.param({"any_scopes": ("x", "profile")}, None, id="any_scope"),
        pytest.param({"any_scopes": ("x", "y")}, "any_scopes", id="no_scope_of_any"),
        pytest.param({"roles": ("admin", "support")}, None, id="a_role"),
        pytest.param({"roles": ("admin",)}, "roles", id="no_role"),
        pytest.param({"tenant": lambda tree: tree["path"]["t"]}, None, id="tenant"),
        pytest.param({"tenant": lambda _tree: "other"}, "tenant", id="another_tenant"),
        pytest.param({"tenant": lambda _tree: None}, "tenant", id="no_tenant_named"),
        pytest.param({"when": lambda tree: tree["auth"]["sub"] == "u-1"}, None, id="when"),
        pytest.param({"when": lambda _tree: False}, "when", id="when_not"),
        pytest.param({"when": lambda _tree: 1}, "when", id="when_no_bool"),
        pytest.param({"scopes": ("x",), "roles": ("y",)}, "scopes", id="scopes_first"),
        pytest.param(
            {"roles": ("y",), "when": lambda _tree: False}, "roles", id="roles_before_when"
        ),
    ],
)
def test_the_first_rule_that_fails_is_named(rules: dict[str, Any], rule: str | None) -> None:
    stage = access(AccessRules(**rules))

    if rule is None:
        stage.check(CALLER, lambda: {"path": {"t": "acme"}})
        return
    error = denial(stage, CALLER, path={"t": "acme"})
    assert error.status == 403
    assert error.metadata == {"rule": rule}
    assert error.reason == ("INSUFFICIENT_SCOPE" if "scopes" in rule else "FORBIDDEN")


def test_a_missing_scope_is_named_in_the_challenge() -> None:
    error = denial(access(AccessRules(scopes=("orders.write", "profile"))), CALLER)

    assert error.headers == (
        (
            b"www-authenticate",
            b'Bearer realm="shop", error="insufficient_scope", scope="orders.write profile"',
        ),
    )


@pytest.mark.rule("edge.9")
def test_the_rules_of_all_levels_add_up() -> None:
    gateway = AccessRules(level="gateway", scopes=("profile",))
    service = AccessRules(level="service", roles=("support",))
    stage = access(gateway, service, AccessRules(any_scopes=("orders.read",)))
    stage.check(CALLER, never)

    for lacking in ({"scopes": frozenset({"orders.read"})}, {"roles": frozenset[str]()}):
        fields = {name: getattr(CALLER, name) for name in CALLER.__struct_fields__}
        assert denial(stage, Principal(**(fields | lacking))).status == 403


def test_hidden_routes_answer_404_in_place_of_403_and_ask_for_a_credential_all_the_same() -> None:
    stage = access(AccessRules(roles=("admin",), hide=True))

    error = denial(stage, CALLER)

    assert (error.status, error.reason, error.metadata, error.headers) == (404, "NO_ROUTE", {}, ())
    assert denial(stage, ANONYMOUS).status == 401


def test_nobody_in_particular_is_told_that_a_credential_could_help() -> None:
    stage = access(AccessRules(scopes=("x",)), required=False)

    assert denial(stage, ANONYMOUS).reason == "CREDENTIAL_MISSING"


def test_a_caller_without_tenant_belongs_to_none() -> None:
    stage = access(AccessRules(tenant=lambda _tree: ""))

    assert denial(stage, Principal(kind="jwt", sub="u")).reason == "FORBIDDEN"


@pytest.mark.rule("edge.9")
def test_a_condition_that_cannot_be_decided_denies_with_an_event() -> None:
    events: list[Event] = []

    def undecided(_tree: Mapping[str, Json]) -> bool:
        raise ValueError("cannot be decided")

    stage = access(AccessRules(when=undecided), emit=events.append)

    assert denial(stage, CALLER).reason == "FORBIDDEN"
    assert [event.name for event in events if isinstance(event, Noted)] == ["access_undecided"]


def test_the_request_is_looked_at_once_and_only_if_a_rule_reads_it() -> None:
    looks: list[int] = []

    def scope() -> Mapping[str, Json]:
        looks.append(1)
        return {"path": {}, "auth": {"sub": "forged"}}

    plain = access(AccessRules(scopes=("profile",)))
    reading = access(AccessRules(tenant=lambda _: "acme", when=lambda tree: "path" in tree))
    own = access(AccessRules(when=lambda t: t["auth"]["sub"] == "u-1", needs_request=False))
    assert (plain.needs_request, reading.needs_request, own.needs_request) == (False, True, False)

    plain.check(CALLER, scope)
    own.check(CALLER, scope)
    assert looks == []
    reading.check(CALLER, scope)
    assert looks == [1]


def test_conditions_see_the_caller_that_we_verified_and_no_other() -> None:
    own = access(AccessRules(when=lambda tree: tree["auth"]["sub"] == "u-1"))
    forged = access(AccessRules(when=lambda tree: tree["auth"]["sub"] == "forged"))

    own.check(CALLER, lambda: {"auth": {"sub": "forged"}})
    with pytest.raises(DeniedError):
        forged.check(CALLER, lambda: {"auth": {"sub": "forged"}})


def test_what_the_caller_alone_decides_is_judged_without_a_request() -> None:
    """Scopes are judged at once; a condition over the request waits for it."""
    access = compile_access(
        required=True,
        rules=(AccessRules(scopes=("orders.read",), when=lambda _tree: False),),
    )

    access.check_caller(Principal(kind="jwt", sub="u-1", scopes=frozenset({"orders.read"})))
    with pytest.raises(DeniedError) as lacking:
        access.check_caller(Principal(kind="jwt", sub="u-1"))
    with pytest.raises(DeniedError) as nobody:
        access.check_caller(Principal())

    assert (lacking.value.reason, nobody.value.reason) == (
        "INSUFFICIENT_SCOPE",
        "CREDENTIAL_MISSING",
    )
