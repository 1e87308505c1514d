"""The table of presets, and whose word about a switch holds."""

from pathlib import Path

import msgspec
import pytest

from bff.config.presets import PRESET_TABLE, PRESETS, switches_in_force
from bff.config.switches import Transcoding
from bff.transcoding.switches import Switches
from tests.support.config_files import SHOP, lines, problems

# Transcription of the published table where presets differ: strict, grpc-gateway, envoy.
_DIFFERING = """
same_field reject path_wins path_wins
query_unknown reject ignore reject
query_duplicate reject reject last
query_oneof reject reject last
query_star_body reject ignore bind
query_body_field reject ignore merge
query_plus space space literal
query_flag empty empty skip
query_map bracket bracket off
query_bool protojson go protojson
query_duration protojson go protojson
query_mask protojson verbatim protojson
query_enum_number open known open
json_unknown reject ignore ignore
json_duplicates reject reject last
unexpected_body reject ignore ignore
content_type 415 any 415
path_decoding except_slash all except_reserved
trailing_slash distinct distinct ignore
empty_segment no_match bind no_match
template_tail error allow allow
body_on_get error error allow
body_on_delete error allow allow
wrong_method 405 501 404
implied_head True False False
emit_unpopulated False True False
error_format aip193 status status
patch_mask True True False
"""
DIFFERING = _DIFFERING.strip().splitlines()


@pytest.mark.parametrize("row", DIFFERING)
def test_presets_are_those_of_the_table(row: str) -> None:
    name, *values = row.split()

    assert [str(value) for value in PRESET_TABLE[name]] == values


def test_all_other_switches_are_the_same_in_every_preset() -> None:
    same = set(PRESET_TABLE) - {row.split()[0] for row in DIFFERING} - {"query_ignore"}

    assert all(len(set(map(repr, PRESET_TABLE[name]))) == 1 for name in same)


def test_table_models_and_defaults_agree() -> None:
    strict = {name: row[0] for name, row in PRESET_TABLE.items()}
    model = Transcoding()

    assert msgspec.structs.asdict(Switches()) == strict
    assert {name: getattr(model, name) for name in PRESET_TABLE} == strict
    assert set(Transcoding.model_fields) - {"preset"} <= set(PRESET_TABLE)


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
