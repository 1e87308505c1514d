"""What an HTTP binding may say about a method: template and body names against the descriptors.

Checked when a configuration is compiled, every problem at once. Equal routes are found by
`route_trie.insert`, the grammar by `path_template`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import structs

from bff.core.problems import Problem, Where, nearest
from bff.core.schema import Field, HttpBinding, MessageType, Method
from bff.transcoding.field_hints import IN_BODY, beside_body, listed, other_way
from bff.transcoding.path_template import Template, Variable
from bff.transcoding.scalars import SCALAR_MESSAGES
from bff.transcoding.setters import leads_on

__all__ = [
    "BindingFault",
    "check_binding",
    "find_field_path",
    "named_binding",
    "shadowed_names",
    "unbound_binding",
]

# RFC 9110 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# A gateway neither tunnels nor echoes.
_NEVER: Final = frozenset({"CONNECT", "TRACE"})
# AIP-127 and RFC 9110 9.3: content of these requests has no defined meaning.
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "DELETE"})
# By repeated and map: what has no one place for a field below it.
_KIND_OF: Final = {(True, False): "repeated", (False, True): "a map", (True, True): "a map"}


class BindingFault(Exception):
    """One way a binding does not fit; `column` is inside the template, 0 where that is not at fault.

    `where` is the place of another text that is at fault.
    """

    def __init__(
        self, message: str, *, hint: str = "", column: int = 0, where: Where | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.column = column
        self.where = where


def check_binding(
    method: Method,
    binding: HttpBinding,
    template: Template,
    *,
    body_on_get: bool = False,
    body_on_delete: bool = False,
) -> list[Problem]:
    """Every way in which `binding` does not fit `method`; empty if it does.

    Columns of the template stand in the message. The two switches allow a body where AIP-127
    forbids one.
    """
    allowed = {"GET": body_on_get, "HEAD": body_on_get, "DELETE": body_on_delete}
    faults: list[BindingFault] = []
    faults += _method_faults(binding, body_allowed=allowed.get(binding.method, True))
    paths: list[tuple[Variable, tuple[Field, ...]]] = []
    for variable in template.variables:
        try:
            path = find_field_path(method.input, variable.path)
            _need_open_way(path)
            _need_one_segment(variable, path[-1])
            paths.append((variable, path))
        except BindingFault as fault:
            fault.column = variable.column
            faults.append(fault)
    faults += _double_faults(paths)
    faults += _body_faults(method, binding, paths)
    return [_problem(method, binding, fault) for fault in faults]


def named_binding(method: Method, binding: HttpBinding) -> HttpBinding:
    """A binding that passed its checks, its two fields by their proto names, whichever were written."""
    body, response_body = binding.body, binding.response_body
    if body not in {"", "*"}:
        body = method.input.by_name[body].name
    if response_body:
        response_body = method.output.by_name[response_body].name
    return structs.replace(binding, body=body, response_body=response_body)


def unbound_binding(method: Method) -> HttpBinding:
    """The route of a method that has no pattern: POST on its gRPC path, the message as body."""
    return HttpBinding(method="POST", template=method.path, body="*", where=method.where)


def find_field_path(message: MessageType, names: Sequence[str]) -> tuple[Field, ...]:
    """The fields that a path of proto or JSON names leads through, outermost first.

    All but the last are singular messages. Raises BindingFault otherwise.
    """
    found: list[Field] = []
    within: MessageType | None = message
    for name in names:
        if within is None:
            above = ".".join(names[: len(found)])
            kind = _KIND_OF.get((found[-1].repeated, found[-1].is_map), "no message")
            raise BindingFault(
                f'"{above}" is {kind}, so "{name}" cannot be set in it',
                hint=other_way(found[-1], above) or f"end the path at {above}",
            )
        field = within.by_name.get(name)
        if field is None:
            close = nearest(name, (known.name for known in within.fields))
            hint = f"nearest: {close}" if close else listed(within)
            raise BindingFault(f'{within.full_name} has no field "{name}"', hint=hint)
        found.append(field)
        within = None if field.repeated or field.is_map else field.message
    return tuple(found)


def shadowed_names(message: MessageType) -> Iterator[tuple[str, Field, Field]]:
    """Proto names that are another field's JSON name, at any depth: (type, the field, the other).

    As a key of a query such a name is the other field's.
    """
    waiting, seen = [message], {message.full_name}
    while waiting:
        here = waiting.pop()
        for field in here.fields:
            other = here.by_name[field.name]
            if other is not field:
                yield here.full_name, field, other
            below = field.message
            if below is not None and below.full_name not in seen:
                seen.add(below.full_name)
                waiting.append(below)


def _method_faults(binding: HttpBinding, *, body_allowed: bool) -> Iterator[BindingFault]:
    if not _TOKEN.fullmatch(binding.method):
        hint = 'write one word, such as PURGE, or "*" for any method'
        yield BindingFault(f'"{binding.method}" is no HTTP method', hint=hint)
    if binding.method in _NEVER:
        yield BindingFault(f"{binding.method} is never routed", hint="remove the rule")
    if binding.body and binding.method in _WITHOUT_BODY and not body_allowed:
        hint = "remove `body`, or use POST"
        yield BindingFault(f"{binding.method} has no body", hint=hint, where=binding.body_where)


def _need_open_way(path: tuple[Field, ...]) -> None:
    """Raise where a path leads through a message whose fields have no names in JSON, or a group.

    There `{at.seconds}` and the parameter `at` would be two readings of one value.
    """
    for depth, field in enumerate(path[:-1], 1):
        if leads_on(field):
            continue
        name = ".".join(each.name for each in path[:depth])
        if field.kind == "group":
            raise BindingFault(
                f'"{name}" is a group; no path variable sets a field in it', hint=IN_BODY
            )
        kind = field.message.full_name if field.message is not None else field.kind
        hint = f"bind {{{name}}} itself" if kind in SCALAR_MESSAGES else other_way(field, name)
        raise BindingFault(
            f'"{name}" is a {kind}, one value in JSON; no path variable sets a field in it',
            hint=hint,
        )


def _need_one_segment(variable: Variable, field: Field) -> None:
    """Raise unless a text of a path can be this field."""
    name = ".".join(variable.path)
    if field.repeated or field.is_map:
        kind = "a map" if field.is_map else "repeated"
        raise BindingFault(
            f'"{name}" is {kind}; a path variable sets one value', hint=other_way(field, name)
        )
    if field.message is not None and field.message.full_name not in SCALAR_MESSAGES:
        raise BindingFault(
            f'"{name}" is a {field.message.full_name}, which is no single value',
            hint=other_way(field, name),
        )


def _double_faults(paths: list[tuple[Variable, tuple[Field, ...]]]) -> Iterator[BindingFault]:
    """Fields that two variables set, and members of one oneof that they would both set."""
    ends: set[tuple[int, ...]] = set()
    members: dict[tuple[tuple[int, ...], str], Field] = {}
    for variable, path in paths:
        name = ".".join(variable.path)
        numbers = tuple(field.number for field in path)
        if numbers in ends:
            hint = "give one of the two another field, or make its segment `*`"
            yield BindingFault(f'"{name}" is bound twice', hint=hint, column=variable.column)
        ends.add(numbers)
        for depth, field in enumerate(path):
            if field.oneof is None:
                continue
            other = members.setdefault((numbers[:depth], field.oneof), field)
            if other.number != field.number:
                yield BindingFault(
                    f'"{name}" and "{other.name}" are members of one oneof "{field.oneof}"',
                    hint="a message holds one of them: make the segment of the other `*`",
                    column=variable.column,
                )


def _body_faults(
    method: Method, binding: HttpBinding, paths: list[tuple[Variable, tuple[Field, ...]]]
) -> Iterator[BindingFault]:
    try:
        if binding.response_body:
            where = binding.response_body_where
            _top_field(method.output, "response_body", binding.response_body, where)
    except BindingFault as fault:
        yield fault
    if binding.body in {"", "*"}:
        return
    try:
        body = _top_field(method.input, "body", binding.body, binding.body_where)
    except BindingFault as fault:
        yield fault
        return
    for variable, path in paths:
        if path[0].number == body.number:
            if len(path) == 1:
                yield BindingFault(
                    f'"{body.name}" is the body and a variable',
                    hint=beside_body(body),
                    column=variable.column,
                )
        elif body.oneof is not None and path[0].oneof == body.oneof:
            yield BindingFault(
                f'the body "{body.name}" and "{path[0].name}" are members of one oneof'
                f' "{body.oneof}"',
                hint='a message holds one of them: write body: "*", or make the segment `*`',
                column=variable.column,
            )


def _top_field(message: MessageType, key: str, name: str, where: Where | None) -> Field:
    if "." in name:
        text = f'{key}: "{name}" is a path; a field of {message.full_name} itself is needed'
        raise BindingFault(text, hint=f"write {key}: {name.partition('.')[0]}", where=where)
    if key == "response_body" and name == "*":
        text = 'response_body: "*" is no field; the whole message is what is sent without the key'
        raise BindingFault(text, hint="remove `response_body`", where=where)
    try:
        return find_field_path(message, (name,))[0]
    except BindingFault as fault:
        text = f"{key}: {fault.message}"
        raise BindingFault(text, hint=fault.hint, where=where) from None


def _problem(method: Method, binding: HttpBinding, fault: BindingFault) -> Problem:
    where = binding.where_at(fault.column or 1) if binding.where != Where("") else method.where
    where = fault.where or where
    column = f' (column {fault.column} of "{binding.template}")' if fault.column else ""
    return Problem(where, f"{method.service}.{method.name}: {fault.message}{column}", fault.hint)
