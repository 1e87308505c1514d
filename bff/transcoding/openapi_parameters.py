"""The parameters of a documented operation: its unrolled path, and the fields that a query sets."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from bff.core.exchange import Json
from bff.core.schema import Field, MessageType, Method
from bff.transcoding.http_rules import find_field_path
from bff.transcoding.json_schemas import JsonSchemas
from bff.transcoding.openapi_examples import NOTHING, are_rivals, example_of_field, named_text
from bff.transcoding.path_template import Template
from bff.transcoding.scalars import SCALAR_MESSAGES
from bff.transcoding.setters import JSON_MESSAGES, is_leaf, leads_on
from bff.transcoding.switches import Switches

__all__ = [
    "Chain",
    "Query",
    "UnrolledPath",
    "list_query",
    "name_of",
    "rename_parameters",
    "unroll_path",
]

# A field and the messages that lead to it, outermost first.
Chain = tuple[Field, ...]

# Query parameters are listed so deep; deeper fields bind too, and the operation says so.
_QUERY_DEPTH: Final = 3
_FIELD_MASK: Final = "google.protobuf.FieldMask"
_MASK_TEXT: Final = "Left out: the fields that the body has."


class UnrolledPath(Struct, frozen=True):
    """An unrolled template: the path with {names}, and a Parameter Object for each."""

    text: str
    parameters: tuple[Json, ...]


class Query(Struct, frozen=True):
    """What a query may set: Parameter Objects, the fields behind them, and where the listing stops."""

    parameters: tuple[Json, ...] = ()
    chains: tuple[Chain, ...] = ()
    cut: tuple[str, ...] = ()


def unroll_path(
    template: Template, method: Method | None, schemas: JsonSchemas | None = None
) -> UnrolledPath:
    """The template with each wildcard a parameter: {name=shelves/*} -> shelves/{name_1}."""
    parts: list[str] = []
    parameters: list[Json] = []
    used: set[str] = set()
    schemas = schemas or JsonSchemas()
    wildcards: dict[int, tuple[str, Json]] = {}
    for variable in template.variables:
        name = ".".join(variable.path)
        stop = variable.end
        stars = [n for n in range(variable.start, stop) if template.segments[n].kind != "literal"]
        whole = stop - variable.start == 1
        for count, number in enumerate(stars, 1):
            wildcards[number] = (
                (name if whole else f"{name}_{count}"),
                _path_value(method, variable.path, schemas, whole=whole),
            )
    for number, segment in enumerate(template.segments):
        if segment.kind == "literal":
            parts.append(_encode(segment.text))
            continue
        name, value = wildcards.get(number) or (f"segment_{number + 1}", _part())
        while name in used:
            name += "_"
        used.add(name)
        parameter: Json = {"name": name, "in": "path", "required": True, **value}
        if segment.kind == "**":
            parameter["x-bff-multi-segment"] = True
        parts.append(f"{{{name}}}")
        parameters.append(parameter)
    verb = f":{_encode(template.verb)}" if template.verb else ""
    return UnrolledPath("/" + "/".join(parts) + verb, tuple(parameters))


def _encode(literal: str) -> str:
    return quote(literal.encode("utf-8", "surrogateescape"), safe="-._~!$&'()*+,;=:@")


def _part() -> Json:
    """A part of a longer value: a text, whatever its field is."""
    return {"schema": {"type": "string"}, "example": "text"}


def _path_value(
    method: Method | None, names: tuple[str, ...], schemas: JsonSchemas, *, whole: bool
) -> Json:
    """Schema and example of a variable."""
    if method is None or not whole:
        return _part()
    field = find_field_path(method.input, names)[-1]
    example = example_of_field(field, "in", schemas.style)
    value: Json = {"schema": _parameter_schema(field, schemas)}
    if field.comment:
        value = {"description": field.comment, **value}
    return value if example is NOTHING else {**value, "example": example}


def rename_parameters(path: UnrolledPath, text: str) -> UnrolledPath:
    """The same path with the parameter names of `text`, an equal path that was there before."""
    names = re.findall(r"\{([^}]*)\}", text)
    renamed = tuple(
        {**parameter, "name": name} for parameter, name in zip(path.parameters, names, strict=True)
    )
    return UnrolledPath(text, renamed)


def list_query(
    message: MessageType,
    *,
    path: tuple[Chain, ...],
    body: str,
    schemas: JsonSchemas,
    switches: Switches,
    mask: Field | None = None,
) -> Query:
    """The fields that a query sets: those that neither path nor body covers, messages flattened.

    `mask` is the field of an update mask that is inferred where the query has none. Examples stand
    beside each other: all of them make one good query, and go with path and body.
    """
    field = message.by_name.get(body)
    if body == "*" and switches.query_star_body != "bind":
        return Query()
    covered = {tuple(each.number for each in chain) for chain in path}
    taken = list(path)
    if field is not None:
        taken.append((field,))
        if switches.query_body_field != "merge":
            covered.add((field.number,))
    parameters: list[Json] = []
    chains: list[Chain] = []
    cut: list[str] = []
    for chain, leaf in _bindable(message, covered, (), is_map_taken=switches.query_map != "off"):
        name = name_of(message, chain, schemas)
        if not leaf:
            cut.append(name)
            continue
        parameter = _query_parameter(name, chain, schemas, is_mask=chain[-1] is mask)
        in_body = body == "*" or chain[0] is field
        is_choice = any(each.oneof is not None for each in chain)
        is_beaten = is_choice and any(are_rivals(chain, other) for other in taken)
        if not in_body and not is_beaten:
            taken.append(chain)
            _add_example(parameter, chain[-1], schemas)
        parameters.append(parameter)
        chains.append(chain)
    return Query(tuple(parameters), tuple(chains), tuple(cut))


def name_of(message: MessageType, chain: Chain, schemas: JsonSchemas) -> str:
    """The dotted key of a path of fields; a proto name that is another field's JSON name is not this field's."""
    names: list[str] = []
    here: MessageType | None = message
    for field in chain:
        assert here is not None  # a chain leads through messages
        key = schemas.style.key(field)
        names.append(key if here.by_name.get(key) is field else field.json_name)
        here = field.message
    return ".".join(names)


def _query_parameter(name: str, chain: Chain, schemas: JsonSchemas, *, is_mask: bool) -> Json:
    last = chain[-1]
    parameter: Json = {"name": name, "in": "query"}
    described = " ".join(filter(None, (last.comment, _MASK_TEXT if is_mask else "")))
    if described:
        parameter["description"] = described
    if last.deprecated:
        parameter["deprecated"] = True
    if all(field.required for field in chain) and not is_mask:
        parameter["required"] = True
    schema = _parameter_schema(last, schemas)
    if _is_json_text(last):
        parameter["content"] = {"application/json": {"schema": schema}}
        return parameter
    parameter["schema"] = schema
    if last.is_map:
        parameter["style"] = "deepObject"
    return parameter


def _add_example(parameter: Json, field: Field, schemas: JsonSchemas) -> None:
    """An example, where it says something: a made-up text of no use would only find nothing."""
    is_text = field.kind == "string" and not parameter.get("required")
    is_mask = field.message is not None and field.message.full_name == _FIELD_MASK
    if is_mask or (is_text and named_text(field) is None):
        return
    example = example_of_field(field, "in", schemas.style)
    if example is not NOTHING:
        # Beside `content` there is no place for it (OpenAPI 3.1, 4.8.12).
        place = parameter["content"]["application/json"] if "content" in parameter else parameter
        place["example"] = example


def _is_json_text(field: Field) -> bool:
    """Whether the parameter is one JSON text (Struct, Value, ListValue)."""
    return (
        field.message is not None
        and field.message.full_name in JSON_MESSAGES
        and not field.is_map
        and not field.repeated
    )


def _bindable(
    message: MessageType, covered: set[tuple[int, ...]], above: Chain, *, is_map_taken: bool
) -> Iterator[tuple[Chain, bool]]:
    """Paths of fields that a query sets; False beside a path whose inner fields are not listed."""
    for field in message.fields:
        path = (*above, field)
        if field.output_only or tuple(step.number for step in path) in covered:
            continue
        if is_leaf(field):
            if is_map_taken or not field.is_map:
                yield path, True
        elif field.message is None or not leads_on(field):
            # Lists of messages, groups and Any have no form in a query.
            continue
        elif len(path) == _QUERY_DEPTH:
            yield path, False
        else:
            yield from _bindable(field.message, covered, path, is_map_taken=is_map_taken)


def _parameter_schema(field: Field, schemas: JsonSchemas) -> Json:
    """A field as a parameter: its comment goes to the parameter, its enum stands inline."""
    value: Json
    if field.enum is not None:
        value = schemas.enum(field.enum)
    else:
        value = schemas.value(field, "in")
        if field.message is not None and field.message.full_name in SCALAR_MESSAGES:
            # A wrapper's null has no form in a path or query.
            value["type"] = _without_null(value["type"])
    if field.repeated:
        return {"type": "array", "items": value}
    if field.is_map:
        return {"type": "object", "additionalProperties": value}
    return value


def _without_null(types: Json) -> Json:
    if not isinstance(types, list):
        return types
    left = [each for each in types if each != "null"]
    return left if len(left) > 1 else left[0]
