"""Protobuf types as plain values: what a service's descriptors say, without any protobuf library.

`transcoding.descriptors` makes them; binding, expressions, GraphQL, OpenAPI and checks read them.
Messages may refer to each other in circles, so a message's fields are filled in after it is made;
afterwards nothing changes.
"""

from typing import Literal, get_args

from msgspec import Struct, field

from bff.core.problems import Where

__all__ = [
    "LONG_KINDS",
    "EnumType",
    "EnumValue",
    "Field",
    "HttpBinding",
    "Idempotency",
    "Kind",
    "MessageType",
    "Method",
    "Service",
    "kind_of",
]

# In the order of FieldDescriptorProto.Type; `kind_of` counts on it.
Kind = Literal[
    "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string",
    "group", "message", "bytes", "uint32", "enum", "sfixed32", "sfixed64", "sint32", "sint64",
]  # fmt: skip

_KINDS: tuple[Kind, ...] = get_args(Kind)

# 64 bits: whole numbers that are texts in JSON, since a double does not hold them all.
LONG_KINDS: frozenset[str] = frozenset({"int64", "uint64", "sint64", "fixed64", "sfixed64"})

Idempotency = Literal["unknown", "no_side_effects", "idempotent"]


def kind_of(number: int) -> Kind:
    """The kind of a number of FieldDescriptorProto.Type, which counts them from 1."""
    return _KINDS[number - 1]


class EnumValue(Struct, frozen=True, kw_only=True):
    """One name of an enum; aliases share a number, the first listed is the one printed."""

    name: str
    number: int
    deprecated: bool = False
    comment: str = ""


class EnumType(Struct, frozen=True, kw_only=True):
    """An enum. `closed` enums (proto2) refuse numbers they do not list. `variant` is as a message's."""

    full_name: str
    package: str
    values: tuple[EnumValue, ...]
    closed: bool = False
    comment: str = ""
    variant: int = 1


class Field(Struct, kw_only=True):
    """One field of a message.

    For a map, `repeated` is False, `map_key` is the key's kind and `kind`/`message`/`enum` describe
    the value. `has_presence` is True where unset and default can be told apart (`optional`, messages,
    oneof members, proto2). `oneof` names a real oneof, never the synthetic one of `optional`.
    """

    name: str
    json_name: str
    number: int
    kind: Kind
    repeated: bool = False
    map_key: Kind | None = None
    message: "MessageType | None" = None
    enum: EnumType | None = None
    has_presence: bool = False
    oneof: str | None = None
    # google.api.field_behavior
    required: bool = False
    output_only: bool = False
    input_only: bool = False
    deprecated: bool = False
    comment: str = ""

    @property
    def is_map(self) -> bool:
        """True for `map<K, V>` fields."""
        return self.map_key is not None


class MessageType(Struct, kw_only=True, eq=False):
    """A message. `by_name` finds a field by its proto name or its JSON name (JSON names win a clash).

    `variant` counts types of one name that are not the same: those of sources that do not fit each other.
    """

    full_name: str
    package: str
    fields: tuple[Field, ...] = ()
    by_name: dict[str, Field] = field(default_factory=dict)
    oneofs: dict[str, tuple[Field, ...]] = field(default_factory=dict)
    comment: str = ""
    variant: int = 1

    def __repr__(self) -> str:
        """Only the name: fields may lead back here."""
        return f"MessageType({self.full_name})"


class HttpBinding(Struct, frozen=True, kw_only=True):
    """One HTTP binding of an operation, as written in an annotation or a mapping file.

    `method` is upper case (a custom kind stays as written, `*` = any); `template` the path template
    as text; `body` is `""`, `"*"` or a field path; `where` is for problems: where the template's first
    character stands if `is_exact`, else the nearest place that is known. `body_where` and
    `response_body_where` are those of the two names, None where they are not known.
    """

    method: str
    template: str
    body: str = ""
    response_body: str = ""
    where: Where = Where("")
    is_exact: bool = False
    body_where: Where | None = None
    response_body_where: Where | None = None

    def where_at(self, column: int) -> Where:
        """The place of the template's character number `column`, from 1; `where` if that is unknown."""
        if not self.is_exact:
            return self.where
        return Where(self.where.file, self.where.line, self.where.column + column - 1)


class Method(Struct, kw_only=True, eq=False):
    """An operation: one method of a gRPC service. `path` is what goes on the wire."""

    name: str
    service: str
    path: str
    input: MessageType
    output: MessageType
    client_streaming: bool = False
    server_streaming: bool = False
    idempotency: Idempotency = "unknown"
    # From the google.api.http option: the rule and its additional_bindings, in order.
    http: tuple[HttpBinding, ...] = ()
    deprecated: bool = False
    comment: str = ""
    where: Where = Where("")

    def __repr__(self) -> str:
        """The full name."""
        return f"Method({self.path})"


class Service(Struct, kw_only=True, eq=False):
    """A gRPC service and its methods by name."""

    full_name: str
    methods: dict[str, Method]
    comment: str = ""
    where: Where = Where("")
