"""One compiled route: its guard, its limits and its work under one id."""

from collections.abc import Sequence

from bff.auth.access import Access
from bff.pipeline.route import CompiledRoute, Work
from bff.snapshot.policies import AuthLevel, PolicyCompiler, policy_names
from bff.snapshot.works import Rule

__all__ = ["make_route"]


def make_route(
    rule: Rule,
    route_id: str,
    work: Work,
    access: Access,
    auth_levels: list[AuthLevel],
    policies: PolicyCompiler,
    *,
    limited_as: str = "",
) -> CompiledRoute:
    """The route of a rule; `limited_as` is another route whose buckets it shares."""
    levels, method = rule.levels, rule.entry.method
    limit_levels = levels.limits()
    return CompiledRoute(
        id=route_id,
        template=rule.binding.template,
        method=rule.binding.method,
        upstream=rule.upstream,
        deadline_s=levels.nearest("deadline") or 5.0,
        authenticator=policies.authenticator,
        access=access,
        limits=policies.limits(
            limit_levels,
            route_id=limited_as or route_id,
            upstream=rule.upstream,
            service=method.service,
            method=rule.binding.method,
            headers_mode=levels.nearest("limit_headers") or "always",
        ),
        work=work,
        variables=tuple(".".join(variable.path) for variable in rule.template.variables),
        log_share=levels.log_share(),
        error_form=rule.switches.error_format,
        operation=f"{rule.upstream}.{method.name}",
        guard=_guard_text(auth_levels, access.required),
        policies=tuple(policy_names(limit_levels)),
    )


def _guard_text(levels: Sequence[AuthLevel], required: bool) -> str:
    scopes = [scope for level, _, _ in levels for scope in level.scopes]
    rules = [word for level, _, _ in levels for word in ("when", "tenant") if getattr(level, word)]
    base = "required" if required else "open"
    return " ".join([base, *scopes, *dict.fromkeys(rules)])
