"""Who may call and how often: config's rules as compiled access and limits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from bff.auth.access import Access, AccessRules, compile_access
from bff.auth.identity import compile_identity
from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.config.policies import CommonRules, ServiceRules
from bff.config.units import Rate
from bff.core.exchange import Json
from bff.pipeline.route import Identify
from bff.ratelimit.address_buckets import AddressBuckets
from bff.ratelimit.bucket import Bucket
from bff.ratelimit.limits_compiler import LimitsCompiler
from bff.ratelimit.policies import Policy, RouteLimits, per_caller
from bff.snapshot.findings import Findings, Located
from bff.snapshot.parts import Lease, Parts
from bff.snapshot.providers import ProviderCompiler
from bff.transform.condition import ConditionError, compile_condition
from bff.transform.expr import ExprError, compile_expr
from bff.transform.shapes import ANY

__all__ = ["RULE_NAMES", "AuthLevel", "LimitLevel", "PolicyCompiler", "policy_names"]

# What rules of `auth` read.
RULE_NAMES = frozenset({"auth", "path", "query", "request"})
# One level of `auth` rules: the block, the document it stands in, its path there.
AuthLevel = tuple[CommonRules, Located, tuple[str | int, ...]]
# One level of `limit`: names of policies or "none", the document, its path there.
LimitLevel = tuple[Sequence[str] | Literal["none"], Located, tuple[str | int, ...]]


class PolicyCompiler:
    """Compiles the policies of one version. `find` notes what is wrong with them."""

    def __init__(
        self,
        gateway: Placed[GatewayFile],
        parts: Parts,
        lease: Lease,
        find: Findings,
        failures: AddressBuckets,
    ) -> None:
        self._gateway = gateway
        self._parts = parts
        self._find = find
        self._auth = gateway.value.auth
        # Routes share what has a memory of callers: one for each list of names, not each route.
        self._identities: dict[tuple[str, ...], Identify] = {}
        self._limits = LimitsCompiler()
        # By the blocks that speak for a route; they live as long as their document.
        self._accesses: dict[tuple[int, ...], Access] = {}
        self.realm = gateway.value.gateway.name
        self.emit = parts.emit
        self._tiers = self._compile_tiers()
        self._policies = self._compile_policies()
        providers = ProviderCompiler(gateway, parts, lease, find, failures)
        self.authenticator = providers.compile()
        # Part of the version: a key made or revoked is a change like any other.
        self.key_file_digest = providers.key_file_digest

    # Limits

    def _compile_tiers(self) -> dict[str, Bucket]:
        tiers = {}
        for name, tier in self._gateway.value.tiers.items():
            bucket = self._bucket(tier.rate, tier.burst, "tiers", name)
            if bucket is not None:
                tiers[name] = bucket
        return tiers

    def _bucket(self, rate: Rate, burst: int | None, *path: str | int) -> Bucket | None:
        try:
            return Bucket(rate.count, rate.period_s, burst or 0)
        except ValueError as error:
            self._find.add(self._gateway, str(error), *path)
            return None

    def _compile_policies(self) -> dict[str, Policy]:
        policies = {"per-caller": per_caller(self._tiers)}
        for name, limit in self._gateway.value.limits.items():
            bucket = None
            if isinstance(limit.rate, Rate):
                bucket = self._bucket(limit.rate, limit.burst, "limits", name)
                if bucket is None:
                    continue
            policies[name] = Policy(
                name=name,
                bucket=bucket,
                tiers=self._tiers if bucket is None else {},
                by=tuple(limit.by),
                cost=limit.cost,
                shadow=limit.shadow,
                on_store_loss=limit.on_store_loss,
                strict=limit.strict,
            )
        return policies

    def limits(
        self,
        levels: Sequence[LimitLevel],
        *,
        route_id: str,
        upstream: str,
        service: str,
        method: str,
        headers_mode: Literal["always", "refused", "never"],
        inner: bool = False,
    ) -> RouteLimits | None:
        """Policies of gateway, service and route together; None where none applies.

        `inner` leaves out what a client request pays once: per-caller and the gateway's own.
        """
        lifted = any(level == "none" for level, _, _ in levels)
        names: dict[str, None] = {} if lifted or inner else {"per-caller": None}
        place: tuple[Located, tuple[str | int, ...]] = (self._gateway, ("limit",))
        for level, placed, path in levels[1:] if inner else levels:
            if level == "none":
                continue
            for index, name in enumerate(level):
                if name in self._policies:
                    names[name] = None
                    place = (placed, (*path, index))
        if not names:
            return None
        try:
            return self._limits.compile(
                [self._policies[name] for name in names],
                route_id=route_id,
                upstream=upstream,
                service=service,
                method=method,
                headers_mode=headers_mode,
            )
        except ValueError as error:
            self._find.add(place[0], str(error), *place[1])
            return None

    def open_limits(self, route_id: str) -> RouteLimits | None:
        """Limits of a route of our own, such as a document: what holds for every request."""
        return self.limits(
            [(self._gateway.value.limit, self._gateway, ("limit",))],
            route_id=route_id,
            upstream="",
            service="",
            method="GET",
            headers_mode=self._gateway.value.limit_headers,
        )

    def open_access(self) -> Access:
        """Access of a route of our own that needs nobody; the gateway's rules hold all the same."""
        rules = self._rules(self._auth, self._gateway, ("auth",))
        return compile_access(
            required=False,
            rules=() if rules is None else (rules,),
            realm=self.realm,
            emit=self._parts.emit,
        )

    # Access

    def credentials(self, levels: Sequence[AuthLevel]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Kinds of credential that count where these levels speak, and the scopes that all of them ask for."""
        kinds: tuple[str, ...] = ("jwt",) if self._auth.issuers else ()
        if self._auth.api_keys is not None:
            kinds += ("api_key",)
        for level, _, _ in levels:
            if isinstance(level, ServiceRules) and level.any is not None:
                kinds = tuple(kind for kind in kinds if kind in level.any)
        scopes = [scope for level, _, _ in levels for scope in level.scopes]
        return kinds, tuple(dict.fromkeys(scopes))

    def access(self, levels: Sequence[AuthLevel]) -> Access:
        """The rules of gateway, service and route, which add up; the nearest `required` holds.

        Routes under the same blocks share one.
        """
        key = tuple(id(level) for level, _, _ in levels)
        known = self._accesses.get(key)
        if known is None:
            known = self._accesses[key] = self._compile_access(levels)
        return known

    def _compile_access(self, levels: Sequence[AuthLevel]) -> Access:
        required = self._auth.effective_default == "required"
        kinds: frozenset[str] = frozenset()
        rules = []
        for level, placed, path in levels:
            if isinstance(level, ServiceRules):
                if level.required is not None:
                    required = level.required
                if level.any is not None:
                    kinds = frozenset(level.any)
            if getattr(level, "public", None):
                required = False
            compiled = self._rules(level, placed, path)
            if compiled is not None:
                rules.append(compiled)
        return compile_access(
            required=required,
            kinds=kinds,
            rules=tuple(rules),
            realm=self.realm,
            emit=self._parts.emit,
        )

    def _rules(
        self, level: CommonRules, placed: Located, path: tuple[str | int, ...]
    ) -> AccessRules | None:
        tenant = self._tenant(level, placed, path)
        when = self._when(level, placed, path)
        if not (level.scopes or level.any_scopes or level.roles or tenant or when):
            return None
        return AccessRules(
            scopes=tuple(level.scopes),
            any_scopes=tuple(level.any_scopes),
            roles=tuple(level.roles),
            tenant=tenant,
            when=when,
            hide=bool(level.hide),
        )

    def _tenant(
        self, level: CommonRules, placed: Located, path: tuple[str | int, ...]
    ) -> Callable[[Mapping[str, Json]], Json] | None:
        if level.tenant is None:
            return None
        try:
            return compile_expr(level.tenant, dict.fromkeys(RULE_NAMES, ANY)).evaluate
        except ExprError as error:
            self._find.add(
                placed, error.message, *path, "tenant", hint=error.hint, column=error.column
            )
            return None

    def _when(
        self, level: CommonRules, placed: Located, path: tuple[str | int, ...]
    ) -> Callable[[Mapping[str, Json]], bool] | None:
        if level.when is None:
            return None
        try:
            # A fault at run time (a missing key, a type that does not fit) denies, in `auth.access`.
            return compile_condition(level.when, RULE_NAMES).holds
        except ConditionError as error:
            self._find.add(
                placed, error.message, *path, "when", hint=error.hint, column=error.column
            )
            return None

    # Identity

    def identity(self, names: Sequence[str] | Literal["none"], upstream: str) -> Identify:
        """What tells a service who calls, by these providers; `upstream` is where a fault stands."""
        wanted = () if names == "none" else tuple(names)
        known = self._identities.get(wanted)
        if known is not None:
            return known
        try:
            known = self._identities[wanted] = compile_identity(wanted, realm=self.realm)
        except ValueError as error:
            self._find.add(self._gateway, str(error), "upstreams", upstream, "identity")
            return compile_identity(())
        return known


def policy_names(levels: Sequence[LimitLevel]) -> Iterator[str]:
    """The policies that hold where these levels speak; none where one of them lifts all."""
    if any(level == "none" for level, _, _ in levels):
        return
    yield "per-caller"
    for level, _, _ in levels:
        yield from level
