"""Path, query and body into one upstream request on the wire: path > body > query.

All choices are made by `compile_binder`; a request only looks up setters. Values of path and query
never pass through a message object: each setter turns a text straight into wire octets, and equal
octets are equal values. How a text becomes a value: `scalars`. Keys of the query: `query_text`, `parameters`.
"""

from collections.abc import Sequence
from operator import itemgetter

from bff.core.errors import ClientError
from bff.core.schema import Field, MessageType
from bff.transcoding.bodies import ReadBody, compile_body
from bff.transcoding.enum_names import check_enums
from bff.transcoding.json_codec import Codec
from bff.transcoding.masks import MaskInference, compile_mask_inference
from bff.transcoding.parameters import ParameterTable
from bff.transcoding.query_text import Faults, split_query
from bff.transcoding.scalars import Unfit
from bff.transcoding.setters import Part, Setter, assemble, compile_setter
from bff.transcoding.switches import STRICT, Switches

__all__ = ["Binder", "compile_binder", "judge_content_type", "take_any_content_type"]

_ACCEPT_JSON = ((b"accept", b"application/json"),)


def judge_content_type(value: bytes | None) -> None:
    """Pass JSON content types: `application/json`, `application/*+json`, none at all; UTF-8 only.

    Raises ClientError UNSUPPORTED_MEDIA_TYPE with `Accept` (RFC 9110 15.5.16).
    """
    if value is None or value == b"application/json":
        return
    media_type, *parameters = value.lower().split(b";")
    media_type = media_type.strip(b" \t")
    is_json = media_type == b"application/json" or (
        media_type.startswith(b"application/")
        and media_type.endswith(b"+json")
        and media_type != b"application/+json"
        # Native gRPC is not transcoded, whatever its messages are written in.
        and not media_type.startswith(b"application/grpc")
    )
    for parameter in parameters:
        name, _, text = parameter.strip(b" \t").partition(b"=")
        if name == b"charset" and text.strip(b'"') not in {b"utf-8", b"utf8"}:
            is_json = False
    if not is_json:
        raise ClientError("UNSUPPORTED_MEDIA_TYPE", headers=_ACCEPT_JSON)


def take_any_content_type(value: bytes | None) -> None:
    """Pass every content type but those of native gRPC, which is not transcoded.

    Raises ClientError UNSUPPORTED_MEDIA_TYPE.
    """
    if value is not None and value.lower().lstrip().startswith(b"application/grpc"):
        raise ClientError("UNSUPPORTED_MEDIA_TYPE", headers=_ACCEPT_JSON)


class Binder:
    """Binds one route's requests. `takes_body` is False where the rule names no body.

    `captured` has the name of each field that the path sets, by its numbers from the root.
    """

    def __init__(
        self,
        *,
        captures: tuple[Setter, ...],
        table: ParameterTable,
        read_body: ReadBody | None,
        mask: MaskInference | None,
        max_parameters: int,
        rivals: frozenset[int],
        switches: Switches,
    ) -> None:
        self.takes_body = read_body is not None
        self.captured = {setter.path: setter.name for setter in captures}
        self._captures = captures
        self._table = table
        self._read_body = read_body
        self._mask = mask
        self._max_parameters = max_parameters
        # Fields of the request that a oneof sets against the field which the body is.
        self._rivals = rivals
        self._switches = switches
        # Flat captures have nothing to nest: their octets follow each other as they are.
        self._is_flat = all(len(setter.path) == 1 for setter in captures)
        self._only = captures[0].piece if self._is_flat and len(captures) == 1 else None
        in_order = sorted(range(len(captures)), key=lambda index: captures[index].path)
        self._pieces = tuple((index, captures[index].piece) for index in in_order)
        self._places = tuple((captures[at].path, at, captures[at].piece) for at in in_order)

    def bind(self, captures: Sequence[str], query: bytes, body: bytes) -> bytes:
        """The request message as wire octets.

        `captures` are the decoded texts of the path's variables in their order, `query` the raw
        octets after `?`. Raises ClientError with every fault of path and query, or the body's first.
        """
        if not body:
            message = self._bind_plain(captures, query)
            if message is not None:
                return message
        elif self._read_body is None:
            raise ClientError("BODY_NOT_ALLOWED")
        parts, asked = self._bind_texts(captures, query)
        if body and self._read_body is not None:
            if self._rivals and asked:
                asked = self._without_rivals(asked)
            parts = self._read_body(body, parts, asked, captures)
            if self._mask is not None and all(path != self._mask.path for path, _ in parts):
                parts.extend(self._mask.infer(body))
        elif asked:
            parts += asked
        if len(parts) > 1:
            parts.sort(key=itemgetter(0))
        return assemble(parts)

    def paths_of(self, query: bytes) -> set[str]:
        """The fields that a query names, dotted; it has been bound before."""
        pairs = split_query(query, self._max_parameters, Faults(), self._switches)
        return self._table.paths_of(pairs)

    def mask_of(self, query: bytes, found: set[str]) -> bytes:
        """The update mask that a form gives by the fields `found` in it; empty where none is inferred."""
        mask = self._mask
        if mask is None or (query and mask.name in self.paths_of(query)):
            return b""
        return b"".join([octets for _, octets in mask.of_paths(found)])

    def _bind_plain(self, captures: Sequence[str], query: bytes) -> bytes | None:
        """The message where no two texts meet in one field or oneof; None for the longer way.

        That way is also taken for faults, which get their names there.
        """
        try:
            if not query and self._only is not None:
                return self._only(captures[0])
            asked = self._table.bind_plain(query, self._max_parameters) if query else {}
            if asked is None:
                return None
            if self._is_flat and (not asked or max(map(len, asked)) == 1):
                octets = [piece(captures[index]) for index, piece in self._pieces]
                octets += asked.values()
                return b"".join(octets)
            parts = [(path, piece(captures[index])) for path, index, piece in self._places]
        except Unfit:
            return None
        parts += asked.items()
        parts.sort(key=itemgetter(0))
        return assemble(parts)

    def _bind_texts(self, captures: Sequence[str], query: bytes) -> tuple[list[Part], list[Part]]:
        """The parts of the path and those of the query."""
        faults = Faults()
        parts: list[Part] = []
        values: list[bytes | None] = []
        for setter, text in zip(self._captures, captures, strict=True):
            value = None
            try:
                value = setter.encode(text)
                parts.append((setter.path, setter.whole(value)))
            except Unfit as error:
                faults.add("INVALID_FIELD", setter.name, str(error))
            values.append(value)
        asked: list[Part] = []
        if query:
            pairs = split_query(query, self._max_parameters, faults, self._switches)
            asked, overruled = self._table.bind(pairs, values, faults)
            if overruled:
                parts = [part for part in parts if part[0] not in overruled]
        faults.raise_if_any()
        return parts, asked

    def _without_rivals(self, asked: list[Part]) -> list[Part]:
        """The query's parts that may stand beside the body in its oneof."""
        kept = [part for part in asked if part[0][0] not in self._rivals]
        if len(kept) < len(asked) and self._switches.query_oneof == "reject":
            raise ClientError("FIELD_CONFLICT", detail="body and query set members of one oneof")
        return kept


def compile_binder(
    *,
    codec: Codec,
    message: MessageType,
    variables: Sequence[tuple[str, ...]],
    body: str = "",
    max_parameters: int = 256,
    patch_mask: bool = False,
    switches: Switches = STRICT,
) -> Binder:
    """Prepare one route's binder.

    `variables` are the path's field paths in the order of its captures, `body` is "", "*" or the
    name of a field; `patch_mask` lets a PATCH route infer its mask. Raises ValueError for paths
    that no text can set: http_rules has refused them before; and for enums whose names clash.
    """
    if switches.enum_case == "ignore" or switches.enums == "no_prefix":
        check_enums(
            message,
            no_prefix=switches.enums == "no_prefix",
            any_case=switches.enum_case == "ignore",
        )
    chains = [_fields(message, names) for names in variables]
    captures = tuple(compile_setter(chain, codec, switches) for chain in chains)
    field = message.by_name.get(body)
    bound = frozenset(
        ".".join(each.name for each in chain[1:])
        for chain in chains
        if len(chain) > 1 and chain[0] is field
    )
    table = ParameterTable(
        message=message,
        codec=codec,
        body=field.name if field else body,
        captures=captures,
        switches=switches,
    )
    siblings = message.oneofs.get(field.oneof, ()) if field and field.oneof else ()
    return Binder(
        captures=captures,
        table=table,
        read_body=compile_body(codec, message, body, captures, table, switches) if body else None,
        mask=compile_mask_inference(
            message, body, bound, resolve=codec.message_type, switches=switches
        )
        if patch_mask
        else None,
        max_parameters=max_parameters,
        rivals=frozenset(each.number for each in siblings if each is not field),
        switches=switches,
    )


def _fields(message: MessageType, names: tuple[str, ...]) -> tuple[Field, ...]:
    chain: list[Field] = []
    here: MessageType | None = message
    for name in names:
        field = here.by_name.get(name) if here else None
        if field is None:
            raise ValueError(f"no field {'.'.join(names)} in {message.full_name}")
        chain.append(field)
        here = field.message
    return tuple(chain)
