"""The parameters of a documented operation: its unrolled path, and the fields that a query sets."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from bff.core.exchange import Json
from bff.core.schema import Field, MessageType, Method
from bff.transcoding.http_rules import SCALAR_MESSAGES, find_field_path
from bff.transcoding.json_schemas import JsonSchemas
from bff.transcoding.path_template import Template

__all__ = ["UnrolledPath", "list_query_parameters", "rename_parameters", "unroll_path"]

# Query parameters are listed so deep; deeper fields bind too, and the operation says so.
_QUERY_DEPTH: Final = 3


class UnrolledPath(Struct, frozen=True):
    """An unrolled template: the path with {names}, and a Parameter Object for each."""

    text: str
    parameters: tuple[Json, ...]


def unroll_path(template: Template, method: Method | None) -> UnrolledPath:
    """The template with each wildcard a parameter: {name=shelves/*} -> shelves/{name_1}."""
    parts: list[str] = []
    parameters: list[Json] = []
    used: set[str] = set()
    wildcards: dict[int, tuple[str, Json]] = {}
    for variable in template.variables:
        name = ".".join(variable.path)
        stop = variable.end
        stars = [n for n in range(variable.start, stop) if template.segments[n].kind != "literal"]
        whole = stop - variable.start == 1
        for count, number in enumerate(stars, 1):
            wildcards[number] = (
                (name if whole else f"{name}_{count}"),
                _path_schema(method, variable.path, whole=whole),
            )
    for number, segment in enumerate(template.segments):
        if segment.kind == "literal":
            parts.append(_encode(segment.text))
            continue
        name, schema = wildcards.get(number, (f"segment_{number + 1}", {"type": "string"}))
        while name in used:
            name += "_"
        used.add(name)
        parameter: Json = {"name": name, "in": "path", "required": True, "schema": schema}
        if segment.kind == "**":
            parameter["x-bff-multi-segment"] = True
        parts.append(f"{{{name}}}")
        parameters.append(parameter)
    verb = f":{_encode(template.verb)}" if template.verb else ""
    return UnrolledPath("/" + "/".join(parts) + verb, tuple(parameters))


def _encode(literal: str) -> str:
    return quote(literal.encode("utf-8", "surrogateescape"), safe="-._~!$&'()*+,;=:@")


def _path_schema(method: Method | None, names: tuple[str, ...], *, whole: bool) -> Json:
    """The schema of a variable; a part of a longer value is a text, whatever its field is."""
    if method is None or not whole:
        return {"type": "string"}
    return _parameter_schema(find_field_path(method.input, names)[-1], JsonSchemas())


def rename_parameters(path: UnrolledPath, text: str) -> UnrolledPath:
    """The same path with the parameter names of `text`, an equal path that was there before."""
    names = re.findall(r"\{([^}]*)\}", text)
    renamed = tuple(
        {**parameter, "name": name} for parameter, name in zip(path.parameters, names, strict=True)
    )
    return UnrolledPath(text, renamed)


def list_query_parameters(
    message: MessageType, template: Template, body: str, schemas: JsonSchemas
) -> tuple[list[Json], list[str]]:
    """The bindable fields, flattened; and the paths at which the listing stops."""
    if body == "*":
        return [], []
    covered = {
        tuple(field.number for field in find_field_path(message, variable.path))
        for variable in template.variables
    }
    if body:
        covered.add((message.by_name[body].number,))
    parameters: list[Json] = []
    cut: list[str] = []
    for path, is_leaf in _bindable(message, covered, ()):
        name = ".".join(field.json_name for field in path)
        if not is_leaf:
            cut.append(name)
            continue
        last = path[-1]
        parameter: Json = {"name": name, "in": "query", "schema": _parameter_schema(last, schemas)}
        if last.comment:
            parameter["description"] = last.comment
        if last.deprecated:
            parameter["deprecated"] = True
        if all(field.required for field in path):
            parameter["required"] = True
        if last.is_map:
            parameter["style"] = "deepObject"
        parameters.append(parameter)
    return parameters, cut


def _bindable(
    message: MessageType, covered: set[tuple[int, ...]], above: tuple[Field, ...]
) -> Iterator[tuple[tuple[Field, ...], bool]]:
    """Paths of fields that a query sets; False beside a path whose inner fields are not listed."""
    for field in message.fields:
        path = (*above, field)
        if field.output_only or tuple(step.number for step in path) in covered:
            continue
        if field.message is None or field.message.full_name in SCALAR_MESSAGES:
            yield path, True
        elif field.repeated or field.is_map or field.message.package == "google.protobuf":
            # Lists of messages and free JSON have no form in a query.
            continue
        elif len(path) == _QUERY_DEPTH:
            yield path, False
        else:
            yield from _bindable(field.message, covered, path)


def _parameter_schema(field: Field, schemas: JsonSchemas) -> Json:
    """A field as a parameter: its comment goes to the parameter, its enum stands inline."""
    if field.enum is not None:
        value: Json = {"type": "string", "enum": [each.name for each in field.enum.values]}
    else:
        value = schemas.value(field, "in")
        if isinstance(value.get("type"), list):
            # A wrapper's null has no form in a path or query.
            value["type"] = value["type"][0]
    if field.repeated:
        return {"type": "array", "items": value}
    if field.is_map:
        return {"type": "object", "additionalProperties": value}
    return value
