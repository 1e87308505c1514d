"""Path, query and body into one upstream request on the wire: path > body > query.

All choices are made by `compile_binder`; a request only looks up setters. Values of path and query
never pass through a message object: each setter turns a text straight into wire octets, and equal
octets are equal values. How a text becomes a value: `scalars`. Keys of the query: `parameters`.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from bff.core.errors import ClientError, Violation
from bff.core.schema import Field, MessageType
from bff.transcoding.json_codec import Codec
from bff.transcoding.masks import MaskInference, compile_mask_inference
from bff.transcoding.parameters import Faults, ParameterTable, split_query
from bff.transcoding.scalars import Unfit, delimited, tag
from bff.transcoding.setters import Part, Setter, assemble, compile_setter, is_leaf

__all__ = ["Binder", "compile_binder", "judge_content_type"]

_ACCEPT_JSON = ((b"accept", b"application/json"),)

# Body octets, the parts of path and query, the path's setters and texts: all parts of the request.
_ReadBody = Callable[[bytes, list[Part], Sequence[str]], list[Part]]


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


class Binder:
    """Binds one route's requests. `takes_body` is False where the rule names no body."""

    def __init__(
        self,
        *,
        captures: tuple[Setter, ...],
        table: ParameterTable,
        read_body: _ReadBody | None,
        mask: MaskInference | None,
        max_parameters: int,
    ) -> None:
        self.takes_body = read_body is not None
        self._captures = captures
        self._table = table
        self._read_body = read_body
        self._mask = mask
        self._max_parameters = max_parameters
        # Flat captures have nothing to nest: their octets follow each other as they are.
        self._is_flat = all(len(setter.path) == 1 for setter in captures)
        self._only = captures[0].piece if self._is_flat and len(captures) == 1 else None
        in_order = sorted(range(len(captures)), key=lambda index: captures[index].path)
        self._pieces = tuple((index, captures[index].piece) for index in in_order)

    def bind(self, captures: Sequence[str], query: bytes, body: bytes) -> bytes:
        """The request message as wire octets.

        `captures` are the decoded texts of the path's variables in their order, `query` the raw
        octets after `?`. Raises ClientError with every fault of path and query, or the body's first.
        """
        if not query and not body and self._is_flat:
            try:
                if self._only is not None:
                    return self._only(captures[0])
                return b"".join([piece(captures[index]) for index, piece in self._pieces])
            except Unfit:
                pass  # read once more below, where each fault gets its name
        elif body and self._read_body is None:
            raise ClientError("BODY_NOT_ALLOWED")
        parts = self._bind_texts(captures, query)
        if body and self._read_body is not None:
            parts = self._read_body(body, parts, captures)
            if self._mask is not None and all(path != self._mask.path for path, _ in parts):
                parts.extend(self._mask.infer(body))
        if len(parts) > 1:
            parts.sort(key=itemgetter(0))
        return assemble(parts)

    def _bind_texts(self, captures: Sequence[str], query: bytes) -> list[Part]:
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
        if query:
            pairs = split_query(query, self._max_parameters, faults)
            parts.extend(self._table.bind(pairs, self._captures, values, faults))
        faults.raise_if_any()
        return parts


def compile_binder(
    *,
    codec: Codec,
    message: MessageType,
    variables: Sequence[tuple[str, ...]],
    body: str = "",
    max_parameters: int = 256,
    patch_mask: bool = False,
    json_depth: int | None = None,
) -> Binder:
    """Prepare one route's binder.

    `variables` are the path's field paths in the order of its captures, `body` is "", "*" or the
    name of a field; `patch_mask` lets a PATCH route infer its mask. Raises ValueError for paths
    that no text can set: http_rules has refused them before.
    """
    chains = [_fields(message, names) for names in variables]
    captures = tuple(compile_setter(chain, codec) for chain in chains)
    field = message.by_name.get(body)
    bound = frozenset(
        ".".join(each.name for each in chain[1:])
        for chain in chains
        if len(chain) > 1 and chain[0] is field
    )
    return Binder(
        captures=captures,
        table=ParameterTable(message=message, codec=codec, body=field.name if field else body),
        read_body=_compile_body(codec, message, body, captures, json_depth) if body else None,
        mask=compile_mask_inference(message, body, bound) if patch_mask else None,
        max_parameters=max_parameters,
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


def _compile_body(
    codec: Codec,
    message: MessageType,
    body: str,
    captures: tuple[Setter, ...],
    json_depth: int | None,
) -> _ReadBody:
    if body == "*":
        return _MessageBody(codec, message, (), captures, json_depth).read
    field = message.by_name.get(body)
    if field is None:
        raise ValueError(f"no field {body} in {message.full_name}")
    if field.message is None or field.repeated or field.is_map or is_leaf(field):
        return _ValueBody(codec, message, field, json_depth).read
    return _MessageBody(codec, field.message, (field.number,), captures, json_depth).read


class _MessageBody:
    """A body that is a message: the request itself, or one field of it.

    The path's values are compared with it, and then set in it.
    """

    def __init__(
        self,
        codec: Codec,
        message: MessageType,
        prefix: tuple[int, ...],
        captures: tuple[Setter, ...],
        json_depth: int | None,
    ) -> None:
        self._parse = codec.parser(message.full_name, json_depth)
        self._prefix = prefix
        self._head = tag(prefix[0], 2) if prefix else b""
        depth = len(prefix)
        self._leaves = tuple(
            (index, setter, codec.leaf(message.full_name, tuple(setter.name.split(".")[depth:])))
            for index, setter in enumerate(captures)
            if setter.path[:depth] == prefix
        )

    def read(self, body: bytes, parts: list[Part], captures: Sequence[str]) -> list[Part]:
        found: Any = self._parse(body)
        for index, setter, leaf in self._leaves:
            value, own = setter.parse(captures[index]), leaf.get(found)
            differs = own is not None and setter.encode_value(own) != setter.encode_value(value)
            if differs or (setter.oneofs and leaf.is_excluded(found)):
                raise ClientError(
                    "FIELD_CONFLICT",
                    metadata={"field": setter.name},
                    violations=(Violation(setter.name, "differs from the value in the path"),),
                )
            if own is None:
                leaf.set(found, value)
        octets = found.to_binary()
        if not self._prefix:
            return [((0,), octets)]
        rest = [part for part in parts if part[0][:1] != self._prefix]
        return [*rest, (self._prefix, self._head + delimited(octets))]


class _ValueBody:
    """A body that is the value of a list, map or scalar field."""

    def __init__(
        self, codec: Codec, message: MessageType, field: Field, json_depth: int | None
    ) -> None:
        self._read = codec.reader(message.full_name, json_depth)
        self._name = field.json_name
        self._head = b"{" + msgspec.json.encode(field.json_name) + b":"
        self._path = (field.number,)

    def read(self, body: bytes, parts: list[Part], _captures: Sequence[str]) -> list[Part]:
        # One JSON value and nothing else: `1,"other":2` must not become a second field.
        try:
            msgspec.json.decode(body)
        except (ValueError, RecursionError) as error:
            raise ClientError("INVALID_JSON") from error
        try:
            octets = self._read(self._head + body + b"}")
        except ClientError as error:
            raise self._as_sent(error) from error
        return [*parts, (self._path, octets)]

    def _as_sent(self, error: ClientError) -> ClientError:
        """The error with paths as the client wrote them, without our wrapping."""
        violations = tuple(
            Violation(each.field.removeprefix(self._name), each.description)
            for each in error.violations
        )
        first = violations[0].field if violations else ""
        metadata = {"field": first} if first else {}
        return ClientError(
            error.reason, detail=error.detail, metadata=metadata, violations=violations
        )
