"""Every cell in which the presets differ, through the whole line: bytes in, the service's message out."""

from pathlib import Path
from typing import Any

import pytest

from bff.config.presets import BLOCK_TABLE, PRESET_TABLE, PRESETS
from bff.core.errors import ConfigError
from tests.support.kitchen_gateway import KitchenGateway

# A dict: what the service is sent beside `text`; a text: the reason of a refusal.
Expected = dict[str, Any] | str
UNKNOWN, INVALID = "UNKNOWN_PARAMETER", "INVALID_PARAMETER"

# Rule, switch, request, body, and what comes of it under strict, grpc-gateway and envoy.
CELLS: list[tuple[int, str, str, str, tuple[Expected, Expected, Expected]]] = [
    (83, "same_field", "POST /k/1", '{"text":"9"}', ("FIELD_CONFLICT", {}, {})),
    (65, "same_field", "GET /k/1?text=9999", "", ("FIELD_CONFLICT", {}, {})),
    (83, "same_field", "POST /k/1", '{"text":"9","i32":2}', ("FIELD_CONFLICT", {"i32": 2}, {"i32": 2})),
    (62, "query_unknown", "GET /k/1?nope=1", "", (UNKNOWN, {}, UNKNOWN)),
    (62, "query_ignore", "GET /k/1?utm_source=a&key=b", "", ({}, {}, {})),
    (57, "query_duplicate", "GET /k/1?i32=1&i32=2", "", (INVALID, INVALID, {"i32": 2})),
    (57, "query_duplicate", "GET /k/1?at=2024-01-02T03:04:05.5Z&at=2024-01-02T03:04:05Z", "",
     (INVALID, INVALID, {"at": "2024-01-02T03:04:05Z"})),
    (79, "query_oneof", "GET /k/1?choiceText=a&choiceNumber=1", "",
     (INVALID, INVALID, {"choiceNumber": 1})),
    (79, "query_oneof", "GET /k/1?choiceMoney.units=1&choiceText=a", "",
     (INVALID, INVALID, {"choiceText": "a"})),
    (79, "query_oneof", "GET /k/1?choiceText=a&choiceNumber=2&i32=5", "",
     (INVALID, INVALID, {"choiceNumber": 2, "i32": 5})),
    (63, "query_star_body", "POST /k/1?i32=5&tags=a", '{"flag":true,"tags":["b"]}',
     (UNKNOWN, {"flag": True, "tags": ["b"]}, {"flag": True, "i32": 5, "tags": ["a", "b"]})),
    (63, "query_star_body", "POST /k/1?i32=5", '{"i32":6}', (UNKNOWN, {"i32": 6}, {"i32": 6})),
    (64, "query_body_field", "POST /kb/1?child.i32=5", '{"flag":true}',
     ("FIELD_CONFLICT", {"child": {"flag": True}}, {"child": {"flag": True, "i32": 5}})),
    (61, "query_plus", "GET /k/1?tags=a+b", "", ({"tags": ["a b"]}, {"tags": ["a b"]}, {"tags": ["a+b"]})),
    (60, "query_flag", "GET /k/1?boxedText", "", ({"boxedText": ""}, {"boxedText": ""}, {})),
    (76, "query_map", "GET /k/1?labels[a]=b", "", ({"labels": {"a": "b"}}, {"labels": {"a": "b"}}, UNKNOWN)),
    (67, "query_bool", "GET /k/1?flag=T", "", (INVALID, {"flag": True}, {"flag": True})),
    (67, "query_bool", "GET /k/1?boxedFlag=0", "", (INVALID, {"boxedFlag": False}, {"boxedFlag": False})),
    (73, "query_duration", "GET /k/1?lasts=1h0m2.5s", "", (INVALID, {"lasts": "3602.500s"}, INVALID)),
    (74, "query_mask", "GET /k/1?mask=a.foo_bar,b", "", (INVALID, {"mask": "a.fooBar,b"}, INVALID)),
    (66, "query_enum_number", "GET /k/1?state=99", "", ({"state": 99}, INVALID, {"state": 99})),
    (87, "json_unknown", "POST /k/1", '{"nope":{"a":[1]},"i32":2,"states":["NOPE","STATE_NEW"]}',
     ("UNKNOWN_FIELD", {"i32": 2, "states": ["STATE_NEW"]}, {"i32": 2, "states": ["STATE_NEW"]})),
    (95, "json_duplicates", "POST /k/1", '{"i32":1,"i32":2,"choiceText":"a","choiceNumber":3}',
     ("DUPLICATE_FIELD", "DUPLICATE_FIELD", {"i32": 2, "choiceNumber": 3})),
    (81, "unexpected_body", "GET /k/1", "{}", ("BODY_NOT_ALLOWED", {}, {})),
    (100, "content_type", "POST /k/1", '{"i32":2}', ("UNSUPPORTED_MEDIA_TYPE", {"i32": 2}, "UNSUPPORTED_MEDIA_TYPE")),
    (49, "path_decoding", "GET /t/a%2Fb/c", "",
     ({"text": "a%2Fb/c"}, {"text": "a/b/c"}, {"text": "a%2Fb/c"})),
    (51, "path_decoding", "GET /t/%23/%20%2523", "",
     ({"text": "#/ %23"}, {"text": "#/ %23"}, {"text": "%23/ %23"})),
    (37, "trailing_slash", "GET /s/", "", ("NO_ROUTE", "NO_ROUTE", {"text": None})),
    (36, "empty_segment", "GET /k/", "", ("NO_ROUTE", {"text": None}, "NO_ROUTE")),
    (44, "wrong_method", "PUT /k/1", "", ("METHOD_NOT_ALLOWED", "UNIMPLEMENTED", "NO_ROUTE")),
    (45, "implied_head", "HEAD /k/1", "", ({}, "UNIMPLEMENTED", "NO_ROUTE")),
]  # fmt: skip


@pytest.fixture(scope="module")
def kitchens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, KitchenGateway]:
    return {
        preset: KitchenGateway(
            tmp_path_factory.mktemp(preset), f"transcoding: {{preset: {preset}}}"
        )
        for preset in PRESETS
    }


ROWS = [
    pytest.param(
        preset,
        switch,
        target,
        body,
        outcomes[column],
        marks=pytest.mark.rule(f"transcoding.{rule}"),
        id=f"{rule}-{switch}-{preset}-{target[:20]}",
    )
    for rule, switch, target, body, outcomes in CELLS
    for column, preset in enumerate(PRESETS)
]


@pytest.mark.parametrize(("preset", "switch", "target", "body", "expected"), ROWS)
async def test_request_ends_as_the_preset_says(
    kitchens: dict[str, KitchenGateway],
    preset: str,
    switch: str,
    target: str,
    body: str,
    expected: Expected,
) -> None:
    media_type = "text/plain" if switch == "content_type" else "application/json"

    answer = await kitchens[preset].ask(target, body, {"content-type": media_type})

    if isinstance(expected, str):
        assert (answer.bound, answer.reason) == (None, expected), answer.body
        return
    assert answer.status == 200, answer.body
    wanted = {"text": "1", **expected}
    assert answer.bound == {name: value for name, value in wanted.items() if value is not None}


@pytest.mark.rule("transcoding.115")
@pytest.mark.parametrize("preset", PRESETS)
async def test_fields_without_value_are_written_as_the_preset_says(
    kitchens: dict[str, KitchenGateway], preset: str
) -> None:
    reply = (await kitchens[preset].ask("GET /k/1")).json

    if preset == "grpc-gateway":
        assert (reply["i32"], reply["u64"], reply["tags"], reply["labels"]) == (0, "0", [], {})
        assert not {"maybe", "child", "choiceText"} & set(reply)
    else:
        assert reply == {"text": "1"}


@pytest.mark.rule("transcoding.150")
@pytest.mark.parametrize("preset", PRESETS)
async def test_errors_have_the_form_that_the_preset_says(
    kitchens: dict[str, KitchenGateway], preset: str
) -> None:
    for target in ("GET /k/1?i32=x", "GET /nowhere"):
        answer = await kitchens[preset].ask(target)
        wanted = ["error"] if preset == "strict" else ["code", "message", "details"]
        assert list(answer.json) == wanted
        assert answer.json.get("code", 0) in {0, 3, 5}


@pytest.mark.rule("transcoding.108")
@pytest.mark.parametrize("preset", PRESETS)
async def test_patch_infers_its_mask_as_the_preset_says(
    kitchens: dict[str, KitchenGateway], preset: str
) -> None:
    answer = await kitchens[preset].ask("PATCH /p/1", '{"i32":5,"boxedText":null}')

    masked = {} if preset == "envoy" else {"updateMask": "boxedText,i32"}
    assert answer.bound == {"id": "1", "child": {"i32": 5}, **masked}


@pytest.mark.rule("transcoding.122")
@pytest.mark.rule("transcoding.126")
@pytest.mark.parametrize("preset", PRESETS)
async def test_streams_have_the_form_that_the_preset_says(tmp_path: Path, preset: str) -> None:
    kitchen = KitchenGateway(
        tmp_path, f"transcoding: {{preset: {preset}}}", routes='  - {rpc: Watch, get: "/w/{text}"}'
    )

    answer = await kitchen.ask("GET /w/a")

    if preset == "grpc-gateway":
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.json["result"]["text"] == "a"
    else:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json == [{"text": "a"}]


@pytest.mark.rule("transcoding.145")
@pytest.mark.parametrize("preset", PRESETS)
async def test_metadata_has_the_prefix_that_the_preset_says(
    kitchens: dict[str, KitchenGateway], preset: str
) -> None:
    kitchen = kitchens[preset]

    await kitchen.ask("GET /k/1", headers={"grpc-metadata-tone": "low"})

    assert (("tone", "low") in kitchen.echo.metadata) == (preset == "grpc-gateway")


LOADED = [
    (20, "template_tail", '{rpc: Get, get: "/a/{text=**}/b"}', (False, True, True)),
    (28, "body_on_get", '{rpc: Get, get: "/a", body: "*"}', (False, False, True)),
    (28, "body_on_delete", '{rpc: Get, delete: "/a", body: "*"}', (False, True, True)),
]


@pytest.mark.parametrize(
    ("preset", "route", "loads"),
    [
        pytest.param(
            preset,
            route,
            loads[column],
            marks=pytest.mark.rule(f"transcoding.{rule}"),
            id=f"{switch}-{preset}",
        )
        for rule, switch, route, loads in LOADED
        for column, preset in enumerate(PRESETS)
    ],
)
def test_rule_loads_as_the_preset_says(
    tmp_path: Path, preset: str, route: str, loads: bool
) -> None:
    def load() -> KitchenGateway:
        switches = f"transcoding: {{preset: {preset}}}"
        return KitchenGateway(tmp_path, switches, routes=f"  - {route}")

    if loads:
        assert load().compiled.served
        return
    with pytest.raises(ConfigError):
        load()


@pytest.mark.rule("transcoding.20")
async def test_literals_after_the_rest_of_a_path(tmp_path: Path) -> None:
    kitchen = KitchenGateway(
        tmp_path,
        "transcoding: {preset: envoy}",
        routes='  - {rpc: Get, get: "/a/{text=**}/b"}',
    )

    assert (await kitchen.ask("GET /a/x/y/b")).bound == {"text": "x/y"}
    assert (await kitchen.ask("GET /a/x/y/b/")).bound == {"text": "x/y"}
    assert (await kitchen.ask("GET /a/b")).bound == {}
    assert (await kitchen.ask("GET /a/x/y")).status == 404


def test_every_switch_that_differs_has_a_row() -> None:
    differing = {name for name, row in PRESET_TABLE.items() if len(set(map(repr, row))) > 1}
    differing |= set(BLOCK_TABLE)
    # Those of client streams need a service that takes them: tests/integration/test_stream_presets.py.
    shown = {"emit_unpopulated", "error_format", "patch_mask", "client_stream", "bidi_http1"}
    shown |= set(BLOCK_TABLE)

    rows = {switch for _, switch, *_ in CELLS} | {switch for _, switch, *_ in LOADED}
    assert differing - rows - shown == set()
