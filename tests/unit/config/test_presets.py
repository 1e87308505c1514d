"""The table of presets, and whose word about a switch holds."""

from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from bff.config.blocks import Block
from bff.config.presets import (
    BLOCK_TABLE,
    PRESET_TABLE,
    PRESETS,
    blocks_in_force,
    switches_in_force,
)
from bff.config.switches import Metadata, Stream, Transcoding
from bff.config.upstreams import Retry
from bff.core.status import MASKED_CODES, Code
from bff.transcoding.switches import Switches
from tests.support.config_files import SHOP, lines, problems

# Transcription of the published table: switch, its value under strict, grpc-gateway and envoy, and
# what else may be written.
_TABLE = """
same_field reject path_wins path_wins body_wins query_wins
query_unknown reject ignore reject
query_ignore (list) () (list)
query_duplicate reject reject last
query_oneof reject reject last
query_star_body reject ignore bind
query_body_field reject ignore merge
query_plus space space literal
query_flag empty empty skip
query_map bracket bracket off
query_bool protojson go go
query_duration protojson go protojson
query_mask protojson verbatim protojson
query_enum_number open known open
enum_case exact exact exact ignore
json_unknown reject ignore ignore
json_duplicates reject reject last
nul accept accept accept reject
unexpected_body reject ignore ignore
content_type 415 any 415
path_decoding except_slash all except_reserved
trailing_slash distinct distinct ignore
empty_segment no_match bind no_match
verb_unregistered plain plain plain no_match
template_tail error allow allow
body_on_get error error allow
body_on_delete error allow allow
wrong_method 405 501 404
implied_head True False False
emit_unpopulated False True False
int64 string string string number
enums name name name number no_prefix
names json json json proto
error_format aip193 status status problem
not_acceptable json json json 406
client_stream ndjson+array concatenated array
bidi_http1 426 half_duplex half_duplex
patch_mask True True False
stream.default array ndjson array sse
stream.wrap False True False
metadata.trailers off te off
"""
TABLE = [row.split() for row in _TABLE.strip().splitlines()]
# Switches that the table leaves to the text beside it: the same in every preset.
_BESIDE = {"json_depth", "body_formats", "show_errors", "protocols"}
_MODELS: dict[str, type[Block]] = {"stream": Stream, "metadata": Metadata, "": Transcoding}


@pytest.mark.rule("transcoding.162")
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_presets_are_those_of_the_table(row: list[str]) -> None:
    name, *values = row
    cells = (PRESET_TABLE | BLOCK_TABLE)[name]
    listed = {("key", "alt", "$fields", "utm_*"): "(list)", (): "()"}

    shown = [listed[cell] if isinstance(cell, tuple) else str(cell) for cell in cells]
    assert shown == values[:3]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_a_switch_takes_what_the_table_lists_and_nothing_else(row: list[str]) -> None:
    name, *values = row
    block, _, key = name.rpartition(".")
    annotation = _MODELS[block].model_fields[key].annotation

    literal = next((each for each in get_args(annotation) if get_origin(each) is Literal), None)
    annotation = literal or annotation
    if get_origin(annotation) is Literal:
        assert {str(value) for value in get_args(annotation)} == set(values)
    else:
        assert name == "query_ignore" or annotation is bool


def test_the_table_is_whole() -> None:
    names = {row[0] for row in TABLE} | _BESIDE | {"metadata.prefix"}

    assert names == set(PRESET_TABLE | BLOCK_TABLE)
    assert all(len(set(map(repr, PRESET_TABLE[name]))) == 1 for name in _BESIDE)


def test_table_models_and_defaults_agree() -> None:
    strict = {name: row[0] for name, row in PRESET_TABLE.items()}
    model = Transcoding()

    assert msgspec.structs.asdict(Switches()) == strict
    assert {name: getattr(model, name) for name in PRESET_TABLE} == strict
    assert set(Transcoding.model_fields) - {"preset"} <= set(PRESET_TABLE)


def words_of(annotation: object) -> set[object]:
    """Every word of a Literal, wherever it stands within."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return set[object]().union(*map(words_of, get_args(annotation)))


# The switch show_errors takes any name of a code; the next test has those that may be written.
@pytest.mark.parametrize("name", sorted(set(PRESET_TABLE) - {"show_errors"}))
def test_a_switch_acts_on_every_word_that_may_be_written(name: str) -> None:
    written = words_of(Transcoding.model_fields[name].annotation)

    assert words_of(get_type_hints(Switches)[name]) == written


def test_names_of_codes_are_those_of_the_table_of_codes() -> None:
    hidden = words_of(Transcoding.model_fields["show_errors"].annotation)
    retried = words_of(Retry.model_fields["codes"].annotation)

    assert hidden == {code.name for code in MASKED_CODES}
    assert retried == {code.name for code in Code if code is not Code.OK}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_of_a_preset_may_be_written(preset: str) -> None:
    column = PRESETS.index(preset)

    written = Transcoding.model_validate({name: row[column] for name, row in PRESET_TABLE.items()})

    found = msgspec.convert(written.model_dump(exclude={"preset"}), Switches)
    assert found.same_field == written.same_field


def held(*blocks: dict[str, object] | None) -> dict[str, tuple[object, str]]:
    names = ("gateway", "service", "route")
    levels = [
        (Transcoding.model_validate(block) if block is not None else None, lambda _key, n=name: n)
        for name, block in zip(names, blocks, strict=True)
    ]
    return {each.name: (each.value, each.origin) for each in switches_in_force(levels)}


@pytest.mark.rule("transcoding.162")
def test_nearest_word_holds_switch_by_switch() -> None:
    found = held(
        {"int64": "number", "query_unknown": "ignore"},
        {"preset": "envoy", "enums": "number"},
        {"query_plus": "space"},
    )

    assert found["query_plus"] == ("space", "route")
    assert found["enums"] == ("number", "service")
    assert found["wrong_method"] == (404, "preset envoy (service)")
    # The service's preset is nearer than the gateway's switches.
    assert found["int64"] == ("string", "preset envoy (service)")
    assert found["query_unknown"] == ("reject", "preset envoy (service)")


@pytest.mark.rule("transcoding.162")
def test_a_nearer_preset_holds_against_blocks_farther_away() -> None:
    gateway = {"stream": Stream(default="sse"), "metadata": Metadata(prefix="X-")}
    service = {"transcoding": Transcoding(preset="grpc-gateway")}
    route = {"stream": Stream(wrap=False)}

    found = blocks_in_force(
        [(gateway, "gateway {}".format), (service, "service {}".format), (route, "route {}".format)]
    )
    assert [(each.name, each.value, each.origin) for each in found] == [
        ("stream.default", "ndjson", "preset grpc-gateway (service transcoding.preset)"),
        ("stream.wrap", False, "route stream.wrap"),
        (
            "metadata.prefix",
            "Grpc-Metadata-",
            "preset grpc-gateway (service transcoding.preset)",
        ),
        ("metadata.trailers", "te", "preset grpc-gateway (service transcoding.preset)"),
    ]


def test_nothing_written_is_strict() -> None:
    found = held(None, {}, {"preset": "strict", "int64": "number"})

    assert found["same_field"] == ("reject", "preset strict (route)")
    assert found["int64"] == ("number", "route")
    assert held(None, None, None)["same_field"] == ("reject", "preset strict (default)")


ROUTE = SHOP + "---\nservice: a.B\nupstream: orders\n%sroutes:\n  - {rpc: '%s', get: /a%s}"


@pytest.mark.parametrize(
    ("text", "path", "part"),
    [
        ("transcoding: {preset: grpcgateway}", "transcoding.preset", "did you mean `grpc-gateway`?"),
        ("transcoding: {wrong_method: 403}", "transcoding.wrong_method", "one of 405, 501, 404"),
        ("transcoding: {int64: nubmer}", "transcoding.int64", "did you mean `number`?"),
        ("transcoding: {json_depth: 0}", "transcoding.json_depth", "at least 1"),
        ("transcoding: {show_errors: [NOT_FOUND]}", "transcoding.show_errors[0]", "one of UNKNOWN"),
        ("transcoding: {same_field: query_wins}", "transcoding.same_field", "move it to the route"),
        (ROUTE % ("transcoding: {same_field: body_wins}\n", "A", ""), "transcoding.same_field", "to the route"),
        (ROUTE % ("", "*", ", transcoding: {same_field: body_wins}"),
         "routes[0].transcoding.same_field", "to the route"),
    ],
)  # fmt: skip
@pytest.mark.rule("transcoding.162")
@pytest.mark.rule("transcoding.160")
def test_bad_switches_are_told(tmp_path: Path, text: str, path: str, part: str) -> None:
    (line,) = lines(problems(tmp_path, text))

    assert f" {path}: " in line
    assert part in line


def test_a_copy_may_win_where_the_route_itself_says_so(tmp_path: Path) -> None:
    assert not problems(tmp_path, ROUTE % ("", "A", ", transcoding: {same_field: body_wins}"))
