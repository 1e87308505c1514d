"""ProtoJSON to wire octets and back, over dynamic types.

protobuf-py is imported here, which converts, and by those that this module stands on: `dynamic_types`
makes the types, `leaf`, `any_messages`, `bare_fields`, `rarities` and `wild_masks` reach into them.
Where the library is laxer than our rules, `exact_json` decides. What is plain never becomes objects:
`plain_json` has it.
"""

import base64
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from protobuf import DescMessage, Message, message_to_json_value

from bff.core.errors import GatewayError, UpstreamError
from bff.core.exchange import Json
from bff.core.schema import MessageType
from bff.core.status import Code
from bff.transcoding.any_messages import has_broken_any, restore_urls
from bff.transcoding.bare_fields import bare_field_shower, unset_json
from bff.transcoding.dynamic_types import registry_of
from bff.transcoding.exact_json import Fault
from bff.transcoding.json_parser import (
    REFUSALS,
    Parse,
    client_error,
    compile_parser,
    to_octets,
)
from bff.transcoding.json_shaping import ReplyShape
from bff.transcoding.leaf import Leaf
from bff.transcoding.plain_json import Convert, Plan, Spelling, plan_of
from bff.transcoding.rarities import has_rarities, is_extendable
from bff.transcoding.scalars import varint
from bff.transcoding.shapes import Shapes
from bff.transcoding.switches import STRICT, Switches
from bff.transcoding.wild_masks import show_wild_masks

__all__ = ["SHORT", "Codec", "RpcStatus"]

# Texts below this many octets get tag and length in one lookup.
SHORT = 64


class RpcStatus(Struct, frozen=True):
    """A google.rpc.Status; details are type URLs with octets."""

    code: int
    message: str
    details: tuple[tuple[str, bytes], ...]


class Codec:
    """Readers and writers over the types of one serialized FileDescriptorSet (dependencies first).

    Making one costs milliseconds a file; what its methods return is prepared and cheap to call.
    `others` are asked for the types of details that this one does not know. `plain` False: all goes
    by objects, as where nothing is compiled.
    Raises ValueError if the set does not hold together.
    """

    def __init__(
        self, file_set: bytes, *, others: tuple["Codec", ...] = (), plain: bool = True
    ) -> None:
        self._registry = registry_of(file_set)
        self._others = others
        self._takes_plain = plain
        self._shapes = Shapes()
        # As many as there are types and spellings in use.
        self._plans: dict[tuple[str, Spelling], Plan | None] = {}
        self._parsers: dict[tuple[str, Switches], Parse] = {}
        # As many as texts have field numbers.
        self._heads: dict[bytes, tuple[bytes, ...]] = {}

    def message_class(self, full_name: str) -> type[Message]:
        """The dynamic class of a message. Raises KeyError if there is none of that name."""
        return self._message(full_name).type

    def message_type(self, full_name: str) -> MessageType | None:
        """The message as plain values, or None; the same object for the same name."""
        found = self._registry.message(full_name)
        return self._shapes.message(found) if found else None

    def short_heads(self, tag_octets: bytes) -> tuple[bytes, ...]:
        """This tag with each length below `SHORT` behind it: one table for all fields of one number."""
        heads = self._heads.get(tag_octets)
        if heads is None:
            heads = self._heads[tag_octets] = tuple(
                tag_octets + varint(length) for length in range(SHORT)
            )
        return heads

    def parser(self, full_name: str, switches: Switches = STRICT) -> Parse:
        """JSON text to a message, by the rules and these switches.

        The result raises ClientError: INVALID_JSON, UNKNOWN_FIELD, INVALID_FIELD, DUPLICATE_FIELD
        or TOO_DEEP, with the JSON path as the client spelled it.
        """
        parse = self._parser(full_name, switches)
        plan = self._body_plan(full_name, switches)
        if plan is None:
            return parse
        from_binary = self.message_class(full_name).from_binary

        def parse_plain_first(text: bytes) -> Any:
            wire = plan.read(text)
            return parse(text) if wire is None else from_binary(wire)

        return parse_plain_first

    def reader(self, full_name: str, switches: Switches = STRICT) -> Callable[[bytes], bytes]:
        """JSON text to wire octets; raises as `parser` does."""
        parse = self._parser(full_name, switches)

        def read(text: bytes) -> bytes:
            return to_octets(parse(text))

        plan = self._body_plan(full_name, switches)
        return read if plan is None else _plain_first(plan.read, read)

    def _parser(self, full_name: str, switches: Switches) -> Parse:
        """By objects alone; the same one for the same switches."""
        made = self._parsers.get((full_name, switches))
        if made is None:
            message_class = self.message_class(full_name)
            made = self._parsers[full_name, switches] = compile_parser(
                message=self._shapes.message(message_class.desc()),
                from_json=partial(message_class.from_json, registry=self._registry),
                restore_urls=partial(restore_urls, class_of=self.message_class),
                resolve=self.message_type,
                switches=switches,
            )
        return made

    def _body_plan(self, full_name: str, switches: Switches) -> Plan | None:
        # A plan knows no bound of depth but its own.
        if switches.json_depth < STRICT.json_depth:
            return None
        return self._plan(full_name, Spelling())

    def tree_reader(self, full_name: str) -> Callable[[Json], bytes]:
        """JSON tree to wire octets; raises as `parser` does."""
        read = self.reader(full_name)

        def read_tree(tree: Json) -> bytes:
            try:
                text = msgspec.json.encode(tree)
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                raise client_error(Fault("INVALID_FIELD"), detail=str(error)) from error
            return read(text)

        return read_tree

    def writer(
        self,
        full_name: str,
        *,
        emit_unpopulated: bool = False,
        proto_names: bool = False,
        enum_numbers: bool = False,
        long_numbers: bool = False,
        short_enums: bool = False,
        response_body: str = "",
    ) -> Callable[[bytes], bytes]:
        """Wire octets to compact JSON in UTF-8; `response_body` names the one field to show.

        `long_numbers` writes 64-bit integers as numbers, `short_enums` enum names without their
        prefix (ValueError where names clash); both cost a walk. The result raises UpstreamError
        UPSTREAM_MESSAGE for octets that are no such message, and GatewayError UNREPRESENTABLE for
        a message that has no JSON form.
        """
        message_class = self.message_class(full_name)
        read = _wire_reader(message_class)
        options: dict[str, Any] = {
            "registry": self._registry,
            "always_emit_implicit": emit_unpopulated,
            "print_enums_as_ints": enum_numbers,
            "use_proto_field_name": proto_names,
        }
        message_type = self._shapes.message(message_class.desc())
        shape = ReplyShape(
            message_type, self.message_type, numbers=long_numbers, no_prefix=short_enums
        )

        def show(message: Message) -> bytes:
            return message.to_json(**options).encode()

        def show_shaped(message: Message) -> bytes:
            tree = message_to_json_value(message, **options)
            return msgspec.json.encode(shape.message(message_type, tree))

        chosen = show_shaped if long_numbers or short_enums else show
        if response_body:
            field = next(each for each in message_class.desc().fields if each.name == response_body)
            unset = unset_json(self._shapes.field(field), shape, enum_numbers=enum_numbers)
            shown = bare_field_shower(message_class, field, chosen, options=options, unset=unset)
            return self._writer(read, shown)
        spelling = Spelling(emit_unpopulated, proto_names, enum_numbers, long_numbers, short_enums)
        plan = self._plan(full_name, spelling)
        write = self._writer(read, chosen)
        return write if plan is None else _plain_first(plan.show, write)

    def _plan(self, full_name: str, spelling: Spelling) -> Plan | None:
        key = full_name, spelling
        if key not in self._plans:
            desc = self._message(full_name)
            is_plain = self._takes_plain and not has_rarities(desc)
            self._plans[key] = plan_of(self._shapes.message(desc), spelling) if is_plain else None
        return self._plans[key]

    def _writer(
        self, read: Callable[[bytes], Message], show: Callable[[Message], bytes]
    ) -> Callable[[bytes], bytes]:
        def write(wire: bytes) -> bytes:
            message = read(wire)
            try:
                return show(message)
            except REFUSALS as error:
                return self._show_wild(message, show, error)

        return write

    def _show_wild(
        self, message: Message, show: Callable[[Message], bytes], error: Exception
    ) -> bytes:
        """A message that the codec has refused for the wildcards in its masks."""
        if not has_broken_any(message, self._registry):
            try:
                text = show_wild_masks(message, self._registry, show)
            except REFUSALS as other:
                raise GatewayError("UNREPRESENTABLE", detail=str(other)) from other
            if text is not None:
                return text
        raise self._unwritable(message, error) from error

    def _unwritable(self, message: Message, error: Exception) -> GatewayError:
        """The service's fault if an Any within does not decode, else one of JSON."""
        if has_broken_any(message, self._registry):
            return UpstreamError("UPSTREAM_MESSAGE", code=Code.INTERNAL, detail=str(error))
        return GatewayError("UNREPRESENTABLE", detail=str(error))

    def tree_writer(
        self, full_name: str, emit_unpopulated: bool = False
    ) -> Callable[[bytes], Json]:
        """Wire octets to a JSON tree; raises as `writer` does."""
        read, registry = _wire_reader(self.message_class(full_name)), self._registry

        def show_text(message: Message) -> bytes:
            return message.to_json(
                registry=registry, always_emit_implicit=emit_unpopulated
            ).encode()

        plan = self._plan(full_name, Spelling(emit_unpopulated=emit_unpopulated))
        show = _never if plan is None else plan.show
        decode = msgspec.json.Decoder().decode

        def write(wire: bytes) -> Json:
            text = show(wire)
            if text is not None:
                return decode(text)
            message = read(wire)
            try:
                return message_to_json_value(
                    message, registry=registry, always_emit_implicit=emit_unpopulated
                )
            except REFUSALS as error:
                tree: Json = decode(self._show_wild(message, show_text, error))
                return tree

        return write

    def status(self, wire: bytes) -> RpcStatus:
        """A google.rpc.Status with its details undecoded; raises UpstreamError UPSTREAM_MESSAGE."""
        found: Any = _wire_reader(self.message_class("google.rpc.Status"))(wire)
        details = tuple((each.type_url, each.value) for each in found.details)
        return RpcStatus(found.code, found.message, details)

    def any_tree(self, type_url: str, octets: bytes) -> Json:
        """An Any as its ProtoJSON tree; `{"@type", "value": <base64>}` where the type is not known here."""
        for codec in (self, *self._others):
            packed: Any = codec.message_class("google.protobuf.Any")()
            packed.type_url, packed.value = type_url, octets
            try:
                return message_to_json_value(packed, registry=codec._registry)  # noqa: SLF001 - of our own class
            except REFUSALS:
                continue
        return {"@type": type_url, "value": base64.b64encode(octets).decode()}

    def leaf(self, full_name: str, path: tuple[str, ...]) -> Leaf:
        """Access to one singular field by the proto names on the way to it."""
        here, steps = self._message(full_name), []
        for name in path:
            step = next(field for field in here.fields if field.name == name)
            steps.append(step)
            here = getattr(step.value, "message", here)
        return Leaf(tuple(steps))

    def _message(self, full_name: str) -> DescMessage:
        found = self._registry.message(full_name)
        if found is None:
            raise KeyError(full_name)
        return found


def _wire_reader(message_class: type[Message]) -> Callable[[bytes], Message]:
    from_binary = message_class.from_binary
    # An extension lies among the unknown fields; JSON shows those that the types name.
    drops_unknown = not is_extendable(message_class.desc())

    def read(wire: bytes) -> Message:
        try:
            return from_binary(wire, ignore_unknown_fields=drops_unknown)
        except REFUSALS as error:
            raise UpstreamError(
                "UPSTREAM_MESSAGE", code=Code.INTERNAL, detail=str(error)
            ) from error

    return read


def _plain_first(convert: Convert, other: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def convert_first(octets: bytes) -> bytes:
        converted = convert(octets)
        return other(octets) if converted is None else converted

    return convert_first


def _never(_octets: bytes) -> bytes | None:
    """In place of a plan where there is none."""
    return None
