"""Who may call a route: prepared rules over a Principal (scopes, roles, tenant, conditions).

Rules of gateway, service and route add up; none loosens another. Coarse only: business permission
stays in the service.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from bff.auth.challenges import Challenges
from bff.core.errors import ClientError, DeniedError, GatewayError
from bff.core.events import Emit, Noted, silent
from bff.core.exchange import Json, Principal

__all__ = ["Access", "AccessRules", "compile_access", "principal_view"]

Tree = Mapping[str, Json]
Scope = Callable[[], Tree]


class AccessRules(Struct, frozen=True, kw_only=True):
    """The rules that one level writes; `level` (gateway, service, route) is named in events.

    `tenant` gives the tenant that the request is about, `when` whether a condition holds, both over
    {auth, path, query, request}; they raise ValueError when they cannot say, which denies.
    `needs_request` may be False if both look at `auth` alone. `hide` answers 404 instead of 403.
    """

    level: str = "route"
    scopes: tuple[str, ...] = ()
    any_scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tenant: Callable[[Tree], Json] | None = None
    when: Callable[[Tree], bool] | None = None
    needs_request: bool = True
    hide: bool = False


class _Rule(Struct, frozen=True):
    """One prepared rule. `holds` reads the principal, and the tree if `reads_tree`."""

    name: str
    level: str
    holds: Callable[[Principal, Tree], bool]
    reads_tree: bool
    wanted: tuple[str, ...]
    hide: bool


def principal_view(principal: Principal) -> dict[str, Json]:
    """`auth` as conditions and expressions see it: plain JSON, lists sorted."""
    return {
        "kind": principal.kind,
        "sub": principal.sub,
        "tenant": principal.tenant,
        "client_id": principal.client_id,
        "scopes": sorted(principal.scopes),
        "roles": sorted(principal.roles),
        "tier": principal.tier,
        "claims": dict(principal.claims),
    }


_EMPTY: Final[Tree] = {}


class Access:
    """The authorize stage of one route, made by `compile_access`."""

    __slots__ = (
        "_challenges",
        "_emit",
        "_kinds",
        "_required",
        "_rules",
        "has_rules",
        "needs_request",
    )

    def __init__(
        self,
        *,
        required: bool,
        kinds: frozenset[str],
        rules: tuple[_Rule, ...],
        needs_request: bool,
        challenges: Challenges,
        emit: Emit,
    ) -> None:
        self.needs_request = needs_request
        self._required = required
        self._kinds = kinds
        self._rules = rules
        self.has_rules = bool(rules)
        self._challenges = challenges
        self._emit = emit

    @property
    def required(self) -> bool:
        """Whether a caller must be known at all."""
        return self._required

    def check(self, principal: Principal, scope: Scope) -> None:
        """Pass, or raise why not.

        DeniedError 401 CREDENTIAL_MISSING (nobody, or a kind of credential this route does not
        take), 403 INSUFFICIENT_SCOPE or FORBIDDEN naming the rule; ClientError NO_ROUTE where rules
        hide. `scope` gives {path, query, request}; it is called at most once, and only if a rule
        reads them.
        """
        self.check_kind(principal)
        if self.has_rules:
            self.check_rules(principal, scope)

    def check_caller(self, principal: Principal) -> None:
        """As `check`, but only what the caller alone decides: for calls whose request is not made yet."""
        self.check_kind(principal)
        for rule in self._rules:
            if not rule.reads_tree and not rule.holds(principal, _EMPTY):
                raise self._denial(rule, principal)

    def check_kind(self, principal: Principal) -> None:
        """The first part of `check`: is somebody there, with a kind of credential that this route takes."""
        if principal.kind == "anonymous":
            if self._required:
                raise self._missing("no credential")
        elif self._kinds and principal.kind not in self._kinds:
            raise self._missing("a credential of another kind")

    def check_rules(self, principal: Principal, scope: Scope) -> None:
        """The second part of `check`, where `has_rules`."""
        tree: Tree = _EMPTY
        for rule in self._rules:
            if rule.reads_tree and tree is _EMPTY:
                request = scope() if self.needs_request else _EMPTY
                tree = {**request, "auth": principal_view(principal)}
            try:
                holds = rule.holds(principal, tree)
            except ValueError as error:
                self._emit(Noted("access_undecided", {"rule": rule.name, "why": str(error)}))
                holds = False
            if not holds:
                raise self._denial(rule, principal)

    def _missing(self, why: str) -> DeniedError:
        return DeniedError("CREDENTIAL_MISSING", detail=why, headers=self._challenges.missing)

    def _denial(self, rule: _Rule, principal: Principal) -> GatewayError:
        detail = f"rule {rule.name} of the {rule.level}"
        if rule.hide:
            return ClientError("NO_ROUTE", detail=detail)
        # Nobody in particular may not: a credential could help, and 401 says so (RFC 9110 15.5.2).
        if principal.kind == "anonymous":
            return self._missing(detail)
        metadata = {"rule": rule.name}
        if rule.wanted:
            challenge = self._challenges.insufficient_scope(rule.wanted)
            return DeniedError(
                "INSUFFICIENT_SCOPE", detail=detail, metadata=metadata, headers=challenge
            )
        return DeniedError("FORBIDDEN", detail=detail, metadata=metadata)


def compile_access(
    *,
    required: bool,
    kinds: frozenset[str] = frozenset(),
    rules: Sequence[AccessRules] = (),
    realm: str = "bff",
    emit: Emit = silent,
) -> Access:
    """Prepare a route's access from the rules of its levels, outermost first.

    `kinds` are the credential kinds taken (`jwt`, `api_key`, ...), empty = any. `realm` is the
    gateway's name, for WWW-Authenticate.
    """
    prepared = tuple(rule for level in rules for rule in _prepare(level))
    return Access(
        required=required,
        kinds=kinds,
        rules=prepared,
        needs_request=any(level.needs_request and _reads_tree(level) for level in rules),
        challenges=Challenges(realm),
        emit=emit,
    )


def _reads_tree(rules: AccessRules) -> bool:
    return rules.tenant is not None or rules.when is not None


def _prepare(rules: AccessRules) -> list[_Rule]:
    """The rules that this level really has, in the order in which they are judged."""
    tenant, when = rules.tenant, rules.when
    every, some, roles = (
        frozenset(rules.scopes),
        frozenset(rules.any_scopes),
        frozenset(rules.roles),
    )
    found: list[_Rule] = []

    def add(
        name: str,
        holds: Callable[[Principal, Tree], bool],
        *,
        reads_tree: bool = False,
        wanted: tuple[str, ...] = (),
    ) -> None:
        found.append(_Rule(name, rules.level, holds, reads_tree, wanted, rules.hide))

    if every:
        add("scopes", lambda who, _tree: every <= who.scopes, wanted=rules.scopes)
    if some:
        add("any_scopes", lambda who, _: not some.isdisjoint(who.scopes), wanted=rules.any_scopes)
    if roles:
        add("roles", lambda who, _tree: not roles.isdisjoint(who.roles))
    if tenant is not None:
        # A caller without a tenant belongs to none, not to one named "".
        add(
            "tenant",
            lambda who, tree: who.tenant != "" and tenant(tree) == who.tenant,
            reads_tree=True,
        )
    if when is not None:
        add("when", lambda _who, tree: when(tree) is True, reads_tree=True)
    return found
