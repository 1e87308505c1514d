"""Which methods a service file serves, and under which HTTP rules: its own, or those of annotations."""

from collections.abc import Iterator

from msgspec import Struct

from bff.config.documents import Placed
from bff.config.routes import Binding, Route, ServiceFile
from bff.core.problems import Problem, nearest
from bff.core.schema import HttpBinding, Method, Service
from bff.snapshot.findings import Findings
from bff.transcoding.descriptors import Descriptors
from bff.transcoding.http_rules import shadowed_names, unbound_binding
from bff.transcoding.path_template import Template

__all__ = [
    "Entry",
    "bindings_of",
    "colon_literals",
    "entries_of",
    "hidden_names",
    "is_unbound",
    "rule_problem",
    "service_of",
]

_VERBS = ("get", "put", "post", "delete", "patch")
# Keys of a route that are no policies: an exact entry has those of the wildcard that it does not write.
_INHERITED = ("upstream", "status", "docs", "unbound", "annotation", "read_mask", "websocket")


class Entry(Struct, frozen=True):
    """One route of a service file after wildcards were spread: the entries that speak for the method."""

    file: Placed[ServiceFile]
    method: Method
    route: Route
    index: int
    # The wildcard entry behind it, whose keys hold where the exact one is silent.
    wildcard: Route | None
    # A wildcard spread to every method skips those without a rule; an exact entry may not.
    exact: bool


def service_of(
    file: Placed[ServiceFile], descriptors: Descriptors, find: Findings
) -> Service | None:
    """The service that the file maps; None, and a problem noted, if the types have none of that name."""
    service = descriptors.services.get(file.value.service)
    if service is None:
        close = nearest(file.value.service, descriptors.services)
        find.add(
            file,
            f"no service {file.value.service} in the descriptors",
            "service",
            hint=f"did you mean {close}?" if close else "look at gateway.protos",
        )
    return service


def entries_of(
    file: Placed[ServiceFile], service: Service, descriptors: Descriptors, find: Findings
) -> Iterator[Entry]:
    """The entries of a file, in its order, a wildcard as one for each method that is not named."""
    routes = file.value.routes
    wildcard = next((r for r in routes if r.rpc == "*"), None)
    exact = {r.rpc for r in routes if r.rpc != "*"}
    # The first entry of each method that serves its annotation.
    annotated: dict[str, int] = {}
    for index, route in enumerate(routes):
        if route.rpc == "*":
            spread = [method for method in service.methods.values() if method.name not in exact]
            patterns = route.also or any(getattr(route, verb) for verb in (*_VERBS, "custom"))
            if patterns and len(spread) != 1:
                find.add(
                    file,
                    "a pattern on every method would be one path for all",
                    "routes",
                    index,
                    hint="name the rpc",
                )
                continue
            for method in spread:
                yield Entry(file, method, route, index, None, exact=False)
            continue
        named = service.methods.get(route.rpc)
        if named is None:
            close = descriptors.nearest_method(route.rpc, service=service.full_name)
            find.add(
                file,
                f"no method {route.rpc} in {service.full_name}",
                "routes",
                index,
                "rpc",
                hint=f"nearest: {close}" if close else "",
            )
            continue
        first = annotated.setdefault(route.rpc, index) if _is_annotated(route) else index
        if first != index:
            find.add(
                file,
                f"{route.rpc} has the paths of its annotation by routes[{first}] already",
                "routes",
                index,
                "rpc",
                hint="write both in one entry, or give this one a path",
            )
            continue
        yield Entry(file, named, _inherit(route, wildcard), index, wildcard, exact=True)


def _is_annotated(route: Route) -> bool:
    """Whether the route serves the rules of its method's annotation."""
    return route.annotation == "keep" or all(getattr(route, verb) is None for verb in Binding.verbs)


def _inherit(route: Route, wildcard: Route | None) -> Route:
    """The exact entry with what only the wildcard writes."""
    if wildcard is None:
        return route
    silent = (wildcard.model_fields_set - route.model_fields_set) & set(_INHERITED)
    return route.model_copy(update={key: getattr(wildcard, key) for key in silent})


def bindings_of(entry: Entry, find: Findings, *, needs_rule: bool = True) -> list[HttpBinding]:
    """The HTTP rules of an entry: what it writes, what its annotation says, or that of no rule.

    The last, on the method's gRPC path, gives way to any rule that has this path: see `is_unbound`.
    `needs_rule`: a named method that nothing gives a rule is a problem.
    """
    file, route, index = entry.file, entry.route, entry.index
    written = _binding_of(route, file, index, ())
    bindings = [written] if written is not None else []
    for number, also in enumerate(route.also):
        made = _binding_of(also, file, index, ("also", number))
        if made is not None:
            bindings.append(made)
    if written is None or route.annotation == "keep":
        bindings.extend(entry.method.http)
    if not bindings and route.unbound:
        return [unbound_binding(entry.method)]
    if not bindings and needs_rule and entry.exact and not _only_inner(file, entry.method.name):
        find.add(
            file,
            f"{entry.method.name} has no HTTP rule",
            "routes",
            index,
            "rpc",
            hint="write get:, post: ... or unbound: true",
        )
    return bindings


def is_unbound(entry: Entry, binding: HttpBinding) -> bool:
    """Whether this is the rule of a method that has none."""
    return binding == unbound_binding(entry.method)


def hidden_names(method: Method, binding: HttpBinding) -> Iterator[Problem]:
    """Which fields the query of a rule can name by their JSON name alone: warnings."""
    for kind, field, other in shadowed_names(method.input) if binding.body != "*" else ():
        message = (
            f'"{field.name}" of {kind} is the JSON name of "{other.name}", so in a query it is '
            f'that field; "{field.name}" itself is "{field.json_name}"'
        )
        yield rule_problem(binding, message)


def colon_literals(binding: HttpBinding, template: Template) -> Iterator[Problem]:
    """Segments that other routers would take for variables, and that are plain texts here: warnings."""
    for segment in template.segments:
        if segment.kind == "literal" and segment.text.startswith(":"):
            message = f'"{segment.text}" in {binding.template} is a text, which a path has to hold'
            name = segment.text.lstrip(":")
            hint = f'write "{{{name}}}" for a variable' if name.isidentifier() else ""
            yield rule_problem(binding, message, hint=hint)


def rule_problem(binding: HttpBinding, message: str, column: int = 1, *, hint: str = "") -> Problem:
    """What is wrong with a rule, at the place where it is written; `column` counts within its pattern."""
    return Problem(binding.where_at(column), message, hint, code="BFF-S002")


def _binding_of(
    rule: Binding, file: Placed[ServiceFile], index: int, path: tuple[str | int, ...]
) -> HttpBinding | None:
    for verb in _VERBS:
        template = getattr(rule, verb)
        if template is not None:
            return _written(rule, file, ("routes", index, *path), verb.upper(), template, (verb,))
    if rule.custom is not None:
        kind, template = rule.custom.kind, rule.custom.path
        return _written(rule, file, ("routes", index, *path), kind, template, ("custom", "path"))
    return None


def _written(
    rule: Binding,
    file: Placed[ServiceFile],
    path: tuple[str | int, ...],
    method: str,
    template: str,
    key: tuple[str, ...],
) -> HttpBinding:
    """The binding of a rule at `path` whose template stands under `key`, with the places of its texts."""
    return HttpBinding(
        method=method,
        template=template,
        body=rule.body or "",
        response_body=rule.response_body or "",
        where=file.where_text(*path, *key),
        is_exact=True,
        body_where=file.where_text(*path, "body") if rule.body else None,
        response_body_where=file.where_text(*path, "response_body") if rule.response_body else None,
    )


def _only_inner(file: Placed[ServiceFile], method: str) -> bool:
    """Named for GraphQL alone: such a method needs no path of its own."""
    block = file.value.graphql
    if block is None:
        return False
    fields = (*block.queries.values(), *block.mutations.values())
    return any(field.rpc == method for field in fields)
