"""Presets of `transcoding`: one table that fixes every switch, and which level's word holds.

A block that names a preset sets every switch anew; the switches beside it then stand out from it.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from bff.config.blocks import Block
from bff.config.switches import IGNORED_PARAMETERS, Transcoding

__all__ = [
    "BLOCK_TABLE",
    "DEFAULT_PRESET",
    "PRESETS",
    "PRESET_TABLE",
    "SwitchInForce",
    "SwitchValue",
    "blocks_in_force",
    "switches_in_force",
]

SwitchValue = str | int | bool | tuple[str, ...]
DEFAULT_PRESET = "strict"
PRESETS = (DEFAULT_PRESET, "grpc-gateway", "envoy")

# Switch -> its value under strict, grpc-gateway, envoy.
PRESET_TABLE: dict[str, tuple[SwitchValue, SwitchValue, SwitchValue]] = {
    "same_field": ("reject", "path_wins", "path_wins"),
    "query_unknown": ("reject", "ignore", "reject"),
    "query_ignore": (IGNORED_PARAMETERS, (), IGNORED_PARAMETERS),
    "query_duplicate": ("reject", "reject", "last"),
    "query_oneof": ("reject", "reject", "last"),
    "query_star_body": ("reject", "ignore", "bind"),
    "query_body_field": ("reject", "ignore", "merge"),
    "query_plus": ("space", "space", "literal"),
    "query_flag": ("empty", "empty", "skip"),
    "query_map": ("bracket", "bracket", "off"),
    "query_bool": ("protojson", "go", "go"),
    "query_duration": ("protojson", "go", "protojson"),
    "query_mask": ("protojson", "verbatim", "protojson"),
    "query_enum_number": ("open", "known", "open"),
    "enum_case": ("exact", "exact", "exact"),
    "json_unknown": ("reject", "ignore", "ignore"),
    "json_duplicates": ("reject", "reject", "last"),
    "json_depth": (100, 100, 100),
    "nul": ("accept", "accept", "accept"),
    "unexpected_body": ("reject", "ignore", "ignore"),
    "content_type": (415, "any", 415),
    "body_formats": (("json",), ("json",), ("json",)),
    "path_decoding": ("except_slash", "all", "except_reserved"),
    "trailing_slash": ("distinct", "distinct", "ignore"),
    "empty_segment": ("no_match", "bind", "no_match"),
    "verb_unregistered": ("plain", "plain", "plain"),
    "template_tail": ("error", "allow", "allow"),
    "body_on_get": ("error", "error", "allow"),
    "body_on_delete": ("error", "allow", "allow"),
    "wrong_method": (405, 501, 404),
    "implied_head": (True, False, False),
    "emit_unpopulated": (False, True, False),
    "int64": ("string", "string", "string"),
    "enums": ("name", "name", "name"),
    "names": ("json", "json", "json"),
    "error_format": ("aip193", "status", "status"),
    "not_acceptable": ("json", "json", "json"),
    "show_errors": ((), (), ()),
    "client_stream": ("ndjson+array", "concatenated", "array"),
    "bidi_http1": (426, "half_duplex", "half_duplex"),
    "patch_mask": (True, True, False),
    "protocols": ((), (), ()),
}

# The same for keys of the blocks `stream` and `metadata`.
BLOCK_TABLE: dict[str, tuple[SwitchValue, SwitchValue, SwitchValue]] = {
    "stream.default": ("array", "ndjson", "array"),
    "stream.wrap": (False, True, False),
    "metadata.prefix": ("", "Grpc-Metadata-", ""),
    "metadata.trailers": ("off", "te", "off"),
}


class SwitchInForce(Struct, frozen=True):
    """One switch of one route: its value, and which word of the configuration gave it."""

    name: str
    value: SwitchValue
    origin: str

    @property
    def text(self) -> str:
        """The value as the configuration writes it."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        if isinstance(self.value, tuple):
            return f"[{', '.join(self.value)}]"
        return str(self.value) or '""'


def switches_in_force(
    levels: Sequence[tuple[Transcoding | None, Callable[[str], str]]],
) -> tuple[SwitchInForce, ...]:
    """Every switch from the blocks of several levels, far to near, each with what tells a key's place.

    A nearer block decides, switch by switch; a block's `preset` decides all of them, before the
    switches written beside it.
    """
    values = _of_preset(PRESET_TABLE, DEFAULT_PRESET)
    for block, place in levels:
        if block is None:
            continue
        written = block.model_fields_set
        if "preset" in written:
            values = _of_preset(PRESET_TABLE, block.preset, place("preset"))
        for name in PRESET_TABLE:
            if name in written:
                values[name] = SwitchInForce(name, getattr(block, name), place(name))
    return tuple(values.values())


def blocks_in_force(
    levels: Sequence[tuple[Mapping[str, Block | None], Callable[[str], str]]],
) -> tuple[SwitchInForce, ...]:
    """What presets say of other blocks, against what is written there, as `switches_in_force`.

    A level has its blocks by name, `transcoding` with the preset among them, and what tells the
    place of a key such as `stream.wrap`.
    """
    values = _of_preset(BLOCK_TABLE, DEFAULT_PRESET)
    for blocks, place in levels:
        transcoding = blocks.get("transcoding")
        if isinstance(transcoding, Transcoding) and "preset" in transcoding.model_fields_set:
            where = place("transcoding.preset")
            values = _of_preset(BLOCK_TABLE, transcoding.preset, where)
        for name in BLOCK_TABLE:
            key, _, attribute = name.partition(".")
            block = blocks.get(key)
            if block is not None and attribute in block.model_fields_set:
                values[name] = SwitchInForce(name, getattr(block, attribute), place(name))
    return tuple(values.values())


def _of_preset(
    table: Mapping[str, tuple[SwitchValue, SwitchValue, SwitchValue]],
    preset: str,
    where: str = "default",
) -> dict[str, SwitchInForce]:
    column = PRESETS.index(preset)
    origin = f"preset {preset} ({where})"
    return {name: SwitchInForce(name, row[column], origin) for name, row in table.items()}
