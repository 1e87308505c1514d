"""Bytes of descriptors -> the plain values of `core.schema`, for one version of the configuration.

The libraries' own descriptor objects end here. google's pool checks the files against each other
and answers what depends on syntax and edition (presence, closed enums); options are read from bytes.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
    ServiceDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from msgspec import Struct

from bff.core.errors import ConfigError
from bff.core.problems import Problem, Where, nearest
from bff.core.schema import (
    EnumType,
    EnumValue,
    Field,
    HttpBinding,
    Idempotency,
    MessageType,
    Method,
    Service,
    kind_of,
)
from bff.transcoding.option_bytes import (
    HttpRule,
    OptionError,
    read_field_behaviors,
    read_http_rule,
)
from bff.transcoding.positions import Positions
from bff.transcoding.source_merge import SourceFile, join_name, load_pool, merge_sources
from bff.transcoding.sources import MAX_SET_BYTES, SourceSet

__all__ = ["Descriptors"]

_IDEMPOTENCY: Final[dict[int, Idempotency]] = {
    MethodOptions.IDEMPOTENCY_UNKNOWN: "unknown",
    MethodOptions.NO_SIDE_EFFECTS: "no_side_effects",
    MethodOptions.IDEMPOTENT: "idempotent",
}

# google.api.FieldBehavior.
_REQUIRED, _OUTPUT_ONLY, _INPUT_ONLY = 2, 3, 4

# Field numbers inside descriptor.proto, of which positions' paths are made.
_FILE_MESSAGES, _FILE_ENUMS, _FILE_SERVICES = 4, 5, 6
_MESSAGE_FIELDS, _MESSAGE_NESTED, _MESSAGE_ENUMS = 2, 3, 4
_ENUM_VALUES, _SERVICE_METHODS = 2, 2

_Path = tuple[int, ...]


class Descriptors(Struct, frozen=True, kw_only=True):
    """All types of one version: services, messages and enums by full name (no leading dot).

    `file_set` is a FileDescriptorSet of all sources, dependencies first, without source positions:
    what a codec loads. `digest` changes with any source, comments included.
    """

    services: Mapping[str, Service]
    messages: Mapping[str, MessageType]
    enums: Mapping[str, EnumType]
    file_set: bytes
    digest: str

    @staticmethod
    def build(sets: Sequence[SourceSet], *, before: Sequence["Descriptors"] = ()) -> "Descriptors":
        """Merge the sources and read every type. `before`: types that stand beside these.

        Raises ConfigError with all problems: a service or file from two sources, files that do not
        fit together, google.api.http options that do not parse.
        """
        files, problems = merge_sources(sets)
        if problems:
            raise ConfigError(problems)
        return _Reader(files, load_pool(files), sets, before).read()

    @staticmethod
    def join(parts: Sequence["Descriptors"]) -> "Descriptors":
        """All services; of each type the first of its name. `file_set` is that of the first part."""
        services: dict[str, Service] = {}
        messages: dict[str, MessageType] = {}
        enums: dict[str, EnumType] = {}
        for part in reversed(parts):
            services |= part.services
            messages |= part.messages
            enums |= part.enums
        return Descriptors(
            services=services,
            messages=messages,
            enums=enums,
            file_set=parts[0].file_set,
            digest=sha256("".join(part.digest for part in parts).encode()).hexdigest(),
        )

    def nearest_method(self, name: str, *, service: str) -> str:
        """The method of `service` whose name is most like this one; empty if none comes close."""
        found = self.services.get(service)
        return nearest(name, found.methods) if found else ""


class _Reader:
    """One pass over the files: shells of all types first, then what refers to them."""

    def __init__(
        self,
        files: Sequence[SourceFile],
        pool: DescriptorPool,
        sets: Sequence[SourceSet],
        before: Sequence[Descriptors],
    ) -> None:
        self.before = before
        self.files = files
        self.pool = pool
        self.digest = sha256("".join(source.digest for source in sets).encode()).hexdigest()
        self.rules = {name: rule for source in sets for name, rule in source.rules.items()}
        self.messages: dict[str, MessageType] = {}
        self.enums: dict[str, EnumType] = {}
        self.services: dict[str, Service] = {}
        # Synthetic messages of map fields: they are part of their field, not types.
        self.entries: dict[str, DescriptorProto] = {}
        self.pending: list[tuple[DescriptorProto, str, Positions, _Path]] = []
        self.problems: list[Problem] = []

    def read(self) -> Descriptors:
        positions = [
            Positions.read(file.proto, texts=file.source.texts, places=file.source.places)
            for file in self.files
        ]
        for file, found in zip(self.files, positions, strict=True):
            self._add_types(file.proto, found)
        for proto, full_name, found, path in self.pending:
            self._fill_message(proto, self.messages[full_name], found, path)
        for file, found in zip(self.files, positions, strict=True):
            for number, service in enumerate(file.proto.service):
                self._add_service(file.proto, service, found, (_FILE_SERVICES, number))
        if self.problems:
            raise ConfigError(self.problems)
        return Descriptors(
            services=self.services,
            messages=self.messages,
            enums=self.enums,
            file_set=self._file_set(),
            digest=self.digest,
        )

    def _file_set(self) -> bytes:
        whole = FileDescriptorSet()
        for file in self.files:
            whole.file.add().CopyFrom(file.proto)
            whole.file[-1].ClearField("source_code_info")
        data = whole.SerializeToString(deterministic=True)
        if len(data) > MAX_SET_BYTES:
            message = (
                f"all sources together hold {len(data)} bytes; at most {MAX_SET_BYTES} are read"
            )
            raise ConfigError([Problem(Where("descriptors"), message)])
        return data

    def _add_types(self, file: FileDescriptorProto, positions: Positions) -> None:
        for number, message in enumerate(file.message_type):
            self._add_message(message, file.package, file, positions, (_FILE_MESSAGES, number))
        for number, enum in enumerate(file.enum_type):
            self._add_enum(enum, file.package, file, positions, (_FILE_ENUMS, number))

    def _add_message(
        self,
        proto: DescriptorProto,
        scope: str,
        file: FileDescriptorProto,
        positions: Positions,
        path: _Path,
    ) -> None:
        full_name = join_name(scope, proto.name)
        if proto.options.map_entry:
            self.entries[full_name] = proto
            return
        self.messages[full_name] = MessageType(
            full_name=full_name, package=file.package, comment=positions.comment(path)
        )
        self.pending.append((proto, full_name, positions, path))
        for number, nested in enumerate(proto.nested_type):
            self._add_message(nested, full_name, file, positions, (*path, _MESSAGE_NESTED, number))
        for number, enum in enumerate(proto.enum_type):
            self._add_enum(enum, full_name, file, positions, (*path, _MESSAGE_ENUMS, number))

    def _add_enum(
        self,
        proto: EnumDescriptorProto,
        scope: str,
        file: FileDescriptorProto,
        positions: Positions,
        path: _Path,
    ) -> None:
        full_name = join_name(scope, proto.name)
        values = tuple(
            EnumValue(
                name=value.name,
                number=value.number,
                deprecated=value.options.deprecated,
                comment=positions.comment((*path, _ENUM_VALUES, number)),
            )
            for number, value in enumerate(proto.value)
        )
        self.enums[full_name] = EnumType(
            full_name=full_name,
            package=file.package,
            values=values,
            closed=self.pool.FindEnumTypeByName(full_name).is_closed,
            comment=positions.comment(path),
            variant=self._enum_variant(full_name, values),
        )

    def _enum_variant(self, full_name: str, values: tuple[EnumValue, ...]) -> int:
        """1, or the next number where another enum of this name stands beside."""
        plain = [(value.name, value.number) for value in values]
        highest = 0
        for types in self.before:
            other = types.enums.get(full_name)
            if other is None:
                continue
            if [(value.name, value.number) for value in other.values] == plain:
                return other.variant
            highest = max(highest, other.variant)
        return highest + 1

    def _fill_message(
        self, proto: DescriptorProto, message: MessageType, positions: Positions, path: _Path
    ) -> None:
        checked = self.pool.FindMessageTypeByName(message.full_name).fields_by_name
        fields = []
        for number, field in enumerate(proto.field):
            made = self._make_field(
                proto,
                field,
                has_presence=checked[field.name].has_presence,
                json_name=checked[field.name].json_name,
                comment=positions.comment((*path, _MESSAGE_FIELDS, number)),
            )
            if checked[field.name].type == FieldDescriptorProto.TYPE_GROUP:
                # Editions write groups as messages with a feature; the pool has resolved it.
                made.kind = "group"
            self._read_behavior(field, made, positions.where((*path, _MESSAGE_FIELDS, number)))
            fields.append(made)
        message.fields = tuple(fields)
        # JSON names last: they win where one field's JSON name is another's proto name.
        message.by_name = {field.name: field for field in fields}
        message.by_name |= {field.json_name: field for field in fields}
        members: dict[str, list[Field]] = {}
        for made in fields:
            if made.oneof is not None:
                members.setdefault(made.oneof, []).append(made)
        message.oneofs = {name: tuple(found) for name, found in members.items()}

    def _make_field(
        self,
        parent: DescriptorProto,
        proto: FieldDescriptorProto,
        *,
        has_presence: bool,
        json_name: str,
        comment: str,
    ) -> Field:
        value, map_key = proto, None
        entry = self.entries.get(proto.type_name.removeprefix("."))
        if entry is not None:
            key, value = sorted(entry.field, key=_number)
            map_key = kind_of(key.type)
        type_name = value.type_name.removeprefix(".")
        in_oneof = proto.HasField("oneof_index") and not proto.proto3_optional
        return Field(
            name=proto.name,
            json_name=json_name,
            number=proto.number,
            kind=kind_of(value.type),
            repeated=proto.label == FieldDescriptorProto.LABEL_REPEATED and map_key is None,
            map_key=map_key,
            message=self.messages.get(type_name),
            enum=self.enums.get(type_name),
            has_presence=has_presence,
            oneof=parent.oneof_decl[proto.oneof_index].name if in_oneof else None,
            deprecated=proto.options.deprecated,
            comment=comment,
        )

    def _read_behavior(self, proto: FieldDescriptorProto, field: Field, where: Where) -> None:
        if not proto.HasField("options"):
            return
        try:
            behaviors = read_field_behaviors(proto.options.SerializeToString())
        except OptionError as error:
            message = f"{proto.name}: google.api.field_behavior does not parse: {error}"
            self.problems.append(Problem(where, message))
            return
        field.required = _REQUIRED in behaviors
        field.output_only = _OUTPUT_ONLY in behaviors
        field.input_only = _INPUT_ONLY in behaviors

    def _add_service(
        self,
        file: FileDescriptorProto,
        proto: ServiceDescriptorProto,
        positions: Positions,
        path: _Path,
    ) -> None:
        full_name = join_name(file.package, proto.name)
        self.services[full_name] = Service(
            full_name=full_name,
            methods={
                method.name: self._make_method(
                    full_name, method, positions, (*path, _SERVICE_METHODS, number)
                )
                for number, method in enumerate(proto.method)
            },
            comment=positions.comment(path),
            where=positions.where(path),
        )

    def _make_method(
        self, service: str, proto: MethodDescriptorProto, positions: Positions, path: _Path
    ) -> Method:
        return Method(
            name=proto.name,
            service=service,
            path=f"/{service}/{proto.name}",
            input=self.messages[proto.input_type.removeprefix(".")],
            output=self.messages[proto.output_type.removeprefix(".")],
            client_streaming=proto.client_streaming,
            server_streaming=proto.server_streaming,
            idempotency=_IDEMPOTENCY.get(proto.options.idempotency_level, "unknown"),
            http=self._read_bindings(service, proto, positions, path),
            deprecated=proto.options.deprecated,
            comment=positions.comment(path),
            where=positions.where(path),
        )

    def _read_bindings(
        self, service: str, proto: MethodDescriptorProto, positions: Positions, path: _Path
    ) -> tuple[HttpBinding, ...]:
        ruled = self.rules.get(f"{service}.{proto.name}")
        if ruled is not None:
            # google/api/http.proto: a service config's rule overrides the annotation.
            return ruled
        if not proto.HasField("options"):
            return ()
        try:
            rule = read_http_rule(proto.options.SerializeToString())
        except OptionError as error:
            message = f"{service}.{proto.name}: google.api.http: {error}"
            self.problems.append(Problem(positions.option(path), message))
            return ()
        if rule is None:
            return ()
        return tuple(_binding(each, positions, path) for each in (rule, *rule.additional))


def _binding(rule: HttpRule, positions: Positions, path: _Path) -> HttpBinding:
    written = positions.option_text(path, rule.path)
    return HttpBinding(
        method=rule.method,
        template=rule.path,
        body=rule.body,
        response_body=rule.response_body,
        where=written or positions.option(path),
        is_exact=written is not None,
        body_where=positions.option_text(path, rule.body),
        response_body_where=positions.option_text(path, rule.response_body),
    )


def _number(field: FieldDescriptorProto) -> int:
    return field.number
