"""How bodies of forms are documented: pairs as of a query, and the fields that take a file."""

from typing import Final

from msgspec import Struct

from bff.core.exchange import Json
from bff.core.schema import MessageType, Method
from bff.transcoding.forms import file_fields, filename_key
from bff.transcoding.json_schemas import JsonSchemas
from bff.transcoding.openapi_examples import are_rivals
from bff.transcoding.openapi_parameters import Chain, Query, list_query, name_of
from bff.transcoding.switches import Switches

__all__ = ["form_contents", "upload_contents"]

_PAIRS: Final = "application/x-www-form-urlencoded"
_PARTS: Final = "multipart/form-data"
_OCTETS: Final[dict[str, Json]] = {
    "type": "string",
    "contentMediaType": "application/octet-stream",
}
# A multipart body has 64 parts at most, the files among them.
_FORM_EXAMPLES: Final = 32
_FILE_EXAMPLES: Final = 16
_FILE: Final = "content"
_LAST: Final = "A file in pieces: the last part, and the only one of its kind."
_NAME: Final = "Left out: the name of the file."


class _File(Struct, frozen=True):
    """A field that takes a file, by the name of its part."""

    name: str
    chain: Chain

    @property
    def is_list(self) -> bool:
        return self.chain[-1].repeated


def form_contents(
    message: MessageType,
    *,
    bound: tuple[Chain, ...],
    schemas: JsonSchemas,
    switches: Switches,
    is_stream: bool,
) -> dict[str, Json]:
    """The Media Type Objects of the forms that the body's message may come in.

    `bound` are the fields that the path sets. `is_stream`: the file goes on in pieces, so it is one.
    """
    query = list_query(message, path=bound, body="", schemas=schemas, switches=switches)
    made: dict[str, Json] = {}
    if "form" in switches.body_formats:
        made[_PAIRS] = _media(query)
    if "multipart" in switches.body_formats:
        files = _files_of(message, bound, schemas)
        rest = _without(query, files)
        made[_PARTS] = _with_files(
            _media(rest), rest, files, filename_key(message), is_stream=is_stream
        )
    return made


def upload_contents(
    method: Method,
    body: str,
    *,
    path: tuple[Chain, ...],
    schemas: JsonSchemas,
    switches: Switches,
) -> dict[str, Json]:
    """The form that a stream of files may come in: parameters of the query, and the file."""
    if not method.client_streaming or "multipart" not in switches.body_formats:
        return {}
    query = list_query(method.input, path=path, body=body, schemas=schemas, switches=switches)
    # Each of them stands in the query or here.
    pairs = [
        {key: value for key, value in each.items() if key not in {"example", "required"}}
        for each in query.parameters
    ]
    rest = Query(tuple(pairs), query.chains)
    chain = (method.input.by_name["data" if body == "*" else body],)
    file = _File(name_of(method.input, chain, schemas), chain)
    name = filename_key(method.input)
    return {_PARTS: _with_files(_media(rest), rest, [file], name, is_stream=True)}


def _files_of(message: MessageType, bound: tuple[Chain, ...], schemas: JsonSchemas) -> list[_File]:
    """Those that neither the path sets nor only the service does, lists first: a file in pieces is the last part."""
    taken = [tuple(each.number for each in chain) for chain in bound]
    found = [
        _File(name_of(message, chain, schemas), chain)
        for chain in file_fields(message, taken)
        if not any(each.output_only for each in chain)
    ]
    return sorted(found, key=lambda file: not file.is_list)


def _without(query: Query, files: list[_File]) -> Query:
    """The pairs that are no files, nor a file's type or octets by themselves."""
    kept = [
        (parameter, chain)
        for parameter, chain in zip(query.parameters, query.chains, strict=True)
        if not any(chain[: len(file.chain)] == file.chain for file in files)
    ]
    return Query(tuple(each for each, _ in kept), tuple(chain for _, chain in kept))


def _media(query: Query) -> Json:
    """A form of pairs alone."""
    properties: dict[str, Json] = {}
    example: dict[str, Json] = {}
    encoding: dict[str, Json] = {}
    for parameter in query.parameters:
        name = parameter["name"]
        # Free JSON is one text here.
        properties[name] = dict(parameter.get("schema", {"type": "string"}))
        if "description" in parameter:
            properties[name]["description"] = parameter["description"]
        if "style" in parameter:
            encoding[name] = {"style": parameter["style"]}
        elif "example" in parameter and "schema" in parameter:
            example[name] = parameter["example"]
    example = dict(list(example.items())[:_FORM_EXAMPLES])
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [each["name"] for each in query.parameters if each.get("required")]
    if required:
        schema["required"] = required
    media: Json = {"schema": schema, "example": example}
    if encoding:
        media["encoding"] = encoding
    return media


def _with_files(
    media: Json, query: Query, files: list[_File], filename: str, *, is_stream: bool
) -> Json:
    """The same form with a part for each file; `filename` is the field that takes the name of one."""
    properties, example = media["schema"]["properties"], media["example"]
    if filename in properties:
        told = properties[filename].get("description", "")
        properties[filename]["description"] = f"{told} {_NAME}".strip()
        # It is the file's: one name, of one file.
        example.pop(filename, None)
    most = 1 if filename else _FILE_EXAMPLES
    has_single = not all(file.is_list for file in files)
    shown: list[Chain] = [
        chain
        for parameter, chain in zip(query.parameters, query.chains, strict=True)
        if parameter["name"] in example
    ]
    for file in files:
        field = file.chain[-1]
        in_pieces = is_stream and not file.is_list
        schema: Json = {"type": "array", "items": _OCTETS} if file.is_list else dict(_OCTETS)
        told = " ".join(filter(None, (field.comment, _LAST if in_pieces else "")))
        properties[file.name] = {**schema, "description": told} if told else schema
        if all(each.required for each in file.chain):
            media["schema"].setdefault("required", []).append(file.name)
        if file.is_list and filename and has_single:
            continue
        if most and not any(are_rivals(file.chain, chain) for chain in shown):
            example[file.name] = [_FILE] if file.is_list else _FILE
            shown.append(file.chain)
            # Behind a file in pieces no part may come.
            most = 0 if in_pieces else most - 1
    return media
