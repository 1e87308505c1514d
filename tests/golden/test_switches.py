"""Switches set by themselves, through the whole line: values that no preset has, and their edges."""

from pathlib import Path
from typing import Any

import pytest

from bff.core.errors import ConfigError, UpstreamError
from bff.core.status import Code
from tests.support.kitchen_gateway import KitchenGateway

# Rule, switches of the route, request, body, and the message sent (dict) or the reason of a refusal.
ROWS: list[tuple[int, str, str, str, dict[str, Any] | str]] = [
    (160, "same_field: query_wins", "GET /k/100?text=9999", "", {"text": "9999"}),
    (160, "same_field: query_wins", "GET /k/100?text=", "", {}),
    (160, "same_field: query_wins, query_duplicate: last", "GET /k/1?text=9&text=1", "", {"text": "1"}),
    (160, "same_field: query_wins, query_star_body: bind", "POST /k/1?text=2&i32=3",
     '{"text":"4","i32":5}', {"text": "2", "i32": 3}),
    (160, "same_field: query_wins, query_star_body: bind", "POST /k/1?choiceText=a",
     '{"choiceNumber":5}', {"text": "1", "choiceText": "a"}),
    (160, "same_field: body_wins", "POST /k/1", '{"text":"9"}', {"text": "9"}),
    (160, "same_field: body_wins", "POST /k/1", '{"i32":1}', {"text": "1", "i32": 1}),
    (65, "same_field: body_wins", "GET /k/1?text=2", "", {"text": "1"}),
    (83, "same_field: path_wins", "POST /c/5", '{"choiceText":"a"}', {"choiceNumber": 5}),
    (83, "same_field: body_wins", "POST /c/5", '{"choiceText":"a"}', {"choiceText": "a"}),
    (79, "same_field: reject", "POST /c/5", '{"choiceText":"a"}', "FIELD_CONFLICT"),
    (79, "query_oneof: last", "GET /c/5?choiceText=a", "", "INVALID_PARAMETER"),
    (63, "query_star_body: bind", "POST /k/1?i32=5", '{"i32":6}', "FIELD_CONFLICT"),
    (63, "query_star_body: bind", "POST /k/1?i32=5", '{"i32":5}', {"text": "1", "i32": 5}),
    (63, "query_star_body: bind", "POST /k/1?child.i32=5", '{"child":{"flag":true}}',
     {"text": "1", "child": {"i32": 5, "flag": True}}),
    (63, "query_star_body: bind", "POST /k/1?at=2024-01-02T03:04:05.5Z",
     '{"at":"2024-01-02T03:04:05Z"}', "FIELD_CONFLICT"),
    (63, "query_star_body: bind", "POST /k/1?choiceText=a", '{"choiceNumber":1}', "FIELD_CONFLICT"),
    (64, "query_body_field: merge", "POST /g/1?tags=a", '["b"]', {"i32": 1, "tags": ["a", "b"]}),
    (64, "query_body_field: merge", "POST /w/1?boxedText=a", '"b"', "FIELD_CONFLICT"),
    (64, "query_body_field: merge, same_field: path_wins", "POST /w/1?boxedText=a", '"b"',
     {"i32": 1, "boxedText": "b"}),
    (79, "query_unknown: reject", "POST /o/1?choiceText=a", '{"units":"1"}', "FIELD_CONFLICT"),
    (79, "query_oneof: last", "POST /o/1?choiceText=a", '{"units":"1"}',
     {"i32": 1, "choiceMoney": {"units": "1"}}),
    (62, "query_ignore: [trace_*]", "GET /k/1?trace_id=1", "", {"text": "1"}),
    (62, "query_ignore: []", "GET /k/1?key=1", "", "UNKNOWN_PARAMETER"),
    (66, "enum_case: ignore", "GET /k/1?state=state_new", "", {"text": "1", "state": "STATE_NEW"}),
    (66, "enum_case: ignore", "POST /k/1", '{"state":"State_New"}', {"text": "1", "state": "STATE_NEW"}),
    (66, "enum_case: exact", "GET /k/1?state=state_new", "", "INVALID_PARAMETER"),
    (114, "enums: no_prefix", "GET /k/1?state=NEW", "", {"text": "1", "state": "STATE_NEW"}),
    (114, "enums: no_prefix", "GET /k/1?state=STATE_NEW", "", {"text": "1", "state": "STATE_NEW"}),
    (114, "enums: no_prefix", "POST /k/1", '{"states":["NEW",2,"STATE_PAID"]}',
     {"text": "1", "states": ["STATE_NEW", "STATE_PAID", "STATE_PAID"]}),
    (85, "nul: reject", "GET /k/1?tags=a%00b", "", "INVALID_PARAMETER"),
    (85, "nul: reject", "POST /k/1", '{"tags":["\\u0000"]}', "INVALID_FIELD"),
    (85, "nul: reject", "POST /k/1", '{"tags":["\\\\u0000"]}', {"text": "1", "tags": ["\\u0000"]}),
    (85, "nul: accept", "POST /k/1", '{"tags":["\\u0000"]}', {"text": "1", "tags": ["\0"]}),
    (99, "json_depth: 2", "POST /k/1", '{"child":{"child":{}}}', "TOO_DEEP"),
    (99, "json_depth: 2", "POST /k/1", '{"child":{"i32":1}}', {"text": "1", "child": {"i32": 1}}),
    (99, "json_depth: 1", "POST /g/1", '["b"]', {"i32": 1, "tags": ["b"]}),
    (99, "json_depth: 1", "POST /k/1", '{"tags":["b"]}', "TOO_DEEP"),
    (99, "json_unknown: ignore", "POST /k/1", '{"nope":' + "[" * 300 + "]" * 300 + "}", "TOO_DEEP"),
    (87, "json_unknown: ignore", "POST /k/1", '{"state":99,"Text":1,"labels":{"a":"b"}}',
     {"text": "1", "state": 99, "labels": {"a": "b"}}),
    (87, "json_unknown: ignore", "POST /k/1", '{"nope":1,"i32":"x"}', "INVALID_FIELD"),
    (87, "json_unknown: ignore", "POST /k/1", '{"stateOf":{"1":"NOPE","2":"STATE_NEW"}}',
     {"text": "1", "stateOf": {"2": "STATE_NEW"}}),
    (97, "json_unknown: ignore", "POST /k/1", '{"any":{"@type":"x/nope.Nope"}}', "INVALID_FIELD"),
    (97, "json_unknown: ignore", "POST /k/1",
     '{"any":{"no":1,"units":"5","@type":"type.googleapis.com/kitchen.v1.Money"}}',
     {"text": "1", "any": {"@type": "type.googleapis.com/kitchen.v1.Money", "units": "5"}}),
    (95, "json_unknown: ignore", "POST /k/1", '{"no":1,"i32":1,"i32":1}', "DUPLICATE_FIELD"),
    (95, "json_duplicates: last", "POST /k/1", '{"boxedText":"a","boxed_text":"b"}',
     {"text": "1", "boxedText": "b"}),
    (95, "json_duplicates: last", "POST /k/1", '{"labels":{"a":"1","a":"2"},"struct":{"b":1,"b":[2]}}',
     {"text": "1", "labels": {"a": "2"}, "struct": {"b": [2.0]}}),
    (95, "json_duplicates: last", "POST /k/1", '{"choiceText":"a","choiceNumber":null}',
     {"text": "1", "choiceText": "a"}),
    (95, "json_duplicates: last", "POST /k/1", '{"i64":1,"i64":9007199254740993}',
     {"text": "1", "i64": "9007199254740993"}),
    (40, "verb_unregistered: no_match", "GET /k/j:other", "", "NO_ROUTE"),
    (40, "verb_unregistered: no_match", "GET /k/j%3Aother", "", {"text": "j:other"}),
    (40, "verb_unregistered: no_match", "GET /k/j:", "", {"text": "j:"}),
    (40, "verb_unregistered: plain", "GET /k/j:other", "", {"text": "j:other"}),
    (38, "empty_segment: bind", "GET /d//b", "", {}),
    (38, "empty_segment: no_match", "GET /d//b", "", "NO_ROUTE"),
    (37, "trailing_slash: ignore", "GET /k/1/", "", {"text": "1"}),
    (37, "trailing_slash: ignore", "GET /k//", "", "NO_ROUTE"),
    (52, "path_decoding: all", "GET /t/a/..%2Fx", "", "BAD_PATH"),
    (52, "path_decoding: except_reserved", "GET /t/a/%FF", "", "BAD_PATH"),
    (48, "content_type: any", "POST /k/1", "grpc", "UNSUPPORTED_MEDIA_TYPE"),
    (44, "wrong_method: 501", "PUT /k/1", "", "UNIMPLEMENTED"),
    (45, "implied_head: false", "HEAD /k/1", "", "METHOD_NOT_ALLOWED"),
    (73, "query_duration: go", "GET /k/1?lasts=-1.5h", "", {"text": "1", "lasts": "-5400s"}),
    (73, "query_duration: go", "GET /k/1?lasts=300000h", "", {"text": "1", "lasts": "1080000000s"}),
    (73, "query_duration: go", "GET /k/1?lasts=3000000h", "", "INVALID_PARAMETER"),
    (73, "query_duration: go", "GET /k/1?lasts=1h30", "", "INVALID_PARAMETER"),
    (74, "query_mask: verbatim", "GET /k/1?mask=a,,b", "", "INVALID_PARAMETER"),
    (74, "query_mask: protojson", "GET /k/1?mask=a,,b", "", "INVALID_PARAMETER"),
    (98, "query_mask: protojson", "POST /k/1", '{"mask":"a,,b"}', "INVALID_FIELD"),
    (98, "query_mask: protojson", "POST /k/1", '{"child":{"mask":"a b"}}', "INVALID_FIELD"),
    (98, "query_mask: protojson", "POST /k/1", '{"mask":"a.bC,d"}', {"text": "1", "mask": "a.bC,d"}),
]  # fmt: skip

_ROUTES = """
  - rpc: Get
    get: "/k/{text}"
    transcoding: {%s}
    also:
      - {post: "/k/{text}", body: "*"}
      - {get: "/c/{choice_number}"}
      - {post: "/c/{choice_number}", body: "*"}
      - {post: "/g/{i32}", body: tags}
      - {post: "/w/{i32}", body: boxed_text}
      - {post: "/o/{i32}", body: choice_money}
      - {get: "/t/{text=**}"}
      - {get: "/d/{text}/b"}
"""


def gateway(folder: Path, switches: str) -> KitchenGateway:
    return KitchenGateway(folder, routes=_ROUTES % switches)


@pytest.mark.parametrize(
    ("switches", "target", "body", "expected"),
    [
        pytest.param(*rest, marks=pytest.mark.rule(f"transcoding.{rule}"), id=f"{rule}-{rest[0]}-{rest[1]}")
        for rule, *rest in ROWS
    ],
)  # fmt: skip
async def test_request_ends_as_the_switch_says(
    tmp_path: Path, switches: str, target: str, body: str, expected: dict[str, Any] | str
) -> None:
    media_type = "application/grpc+json" if body == "grpc" else "application/json"

    answer = await gateway(tmp_path, switches).ask(target, body, {"content-type": media_type})

    if isinstance(expected, str):
        assert (answer.bound, answer.reason) == (None, expected), answer.body
    else:
        assert (answer.status, answer.bound) == (200, expected), answer.body


REPLIES = [
    (116, "int64: number", '{"i64":"9007199254740991","u64":"9007199254740992","s64":"-5"}',
     b'"i64":9007199254740991,"u64":"9007199254740992","s64":-5'),
    (116, "int64: number", '{"prices":[{"units":"5"}],"boxedLong":"7","moneyOf":{"a":{"units":"6"}}}',
     b'"prices":[{"units":5}],"moneyOf":{"a":{"units":6}},"boxedLong":7'),
    (116, "int64: number", '{"any":{"@type":"type.googleapis.com/kitchen.v1.Money","units":"5"}}',
     b'"any":{"@type":"type.googleapis.com/kitchen.v1.Money","units":5}'),
    (114, "enums: no_prefix", '{"state":"STATE_NEW","states":["STATE_PAID",99],"stateOf":{"1":"NEW"}}',
     b'"state":"NEW","states":["PAID",99],"stateOf":{"1":"NEW"}'),
    (114, "enums: number", '{"state":"STATE_NEW"}', b'"state":1'),
    (115, "names: proto", '{"boxedText":"a"}', b'"boxed_text":"a"'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("switches", "sent", "shown"),
    [
        pytest.param(*rest, marks=pytest.mark.rule(f"transcoding.{rule}"), id=f"{rule}-{rest[1]}")
        for rule, *rest in REPLIES
    ],
)
async def test_reply_is_written_as_the_switch_says(
    tmp_path: Path, switches: str, sent: str, shown: bytes
) -> None:
    answer = await gateway(tmp_path, switches).ask("POST /k/1", sent)

    assert answer.status == 200, answer.body
    assert shown in answer.body


@pytest.mark.rule("transcoding.112")
async def test_a_bare_field_has_the_switches_too(tmp_path: Path) -> None:
    routes = """
  - rpc: Get
    post: "/n"
    body: "*"
    response_body: i64
    transcoding: {int64: number, enums: no_prefix}
    also: [{post: "/s", body: "*", response_body: state}]
"""
    kitchen = KitchenGateway(tmp_path, routes=routes)

    assert (await kitchen.ask("POST /n", '{"i64":5}')).body == b"5"
    assert (await kitchen.ask("POST /n")).body == b"0"
    assert (await kitchen.ask("POST /s", '{"state":"NEW"}')).body == b'"NEW"'
    assert (await kitchen.ask("POST /s")).body == b'"UNSPECIFIED"'


@pytest.mark.rule("transcoding.112")
async def test_a_bare_field_stands_alone_where_fields_without_value_are_written(
    tmp_path: Path,
) -> None:
    routes = """
  - rpc: Get
    post: "/c"
    body: "*"
    response_body: child
    transcoding: {emit_unpopulated: true}
    also: [{post: "/r", body: "*", response_body: real}]
"""
    kitchen = KitchenGateway(tmp_path, routes=routes)

    child = (await kitchen.ask("POST /c", '{"child":{"text":"a"}}')).json
    assert (child["text"], child["i32"], child["tags"]) == ("a", 0, [])
    assert (await kitchen.ask("POST /r", '{"real":1.5,"i64":"9"}')).body == b"1.5"


@pytest.mark.rule("transcoding.120")
@pytest.mark.parametrize(
    ("switches", "accept", "status"),
    [
        ("not_acceptable: 406", "text/html", 406),
        ("not_acceptable: 406", "application/json;q=0", 406),
        ("not_acceptable: 406", "text/html, */*;q=0.1", 200),
        ("not_acceptable: 406", "", 200),
        ("not_acceptable: json", "text/html", 200),
    ],
)
async def test_accept_without_json(tmp_path: Path, switches: str, accept: str, status: int) -> None:
    answer = await gateway(tmp_path, switches).ask("GET /k/1", headers={"accept": accept})

    assert answer.status == status
    assert (answer.bound is None) == (status == 406)


@pytest.mark.rule("transcoding.150")
@pytest.mark.parametrize(
    ("switches", "headers"),
    [("error_format: problem", {}), ("wrong_method: 404", {"accept": "application/problem+json"})],
    ids=["switch", "accept"],
)
async def test_problem_details(tmp_path: Path, switches: str, headers: dict[str, str]) -> None:
    kitchen = gateway(tmp_path, switches)

    answer = await kitchen.ask("POST /k/1", '{"children":[{},{"labels":{"a/b":1}}]}', headers)

    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json == {
        "type": "https://kitchen.example/problems/invalid-field",
        "title": "A field has a value that does not fit.",
        "status": 400,
        "detail": "A field has a value that does not fit.",
        "instance": "/k/1",
        "code": "INVALID_ARGUMENT",
        "reason": "INVALID_FIELD",
        "request_id": "request-1",
        "errors": [{"pointer": "#/children/1/labels/a~1b", "detail": "must be a string"}],
    }


@pytest.mark.rule("transcoding.150")
async def test_status_has_the_number_of_grpc(tmp_path: Path) -> None:
    kitchen = gateway(tmp_path, "error_format: status")
    kitchen.echo.failure = UpstreamError("NOT_FOUND", code=Code.NOT_FOUND, message="no dish")

    answer = await kitchen.ask("GET /k/1")

    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json["code"], answer.json["message"]) == (5, "no dish")
    assert answer.reason == "NOT_FOUND"


@pytest.mark.rule("transcoding.153")
@pytest.mark.parametrize(
    ("switches", "code", "shown"),
    [
        ("show_errors: [UNAVAILABLE]", Code.UNAVAILABLE, "db-7 is down"),
        ("show_errors: [UNAVAILABLE]", Code.INTERNAL, "The service failed."),
        ("show_errors: []", Code.UNAVAILABLE, "The service is not available now."),
    ],
)
async def test_hidden_text_is_opened_code_by_code(
    tmp_path: Path, switches: str, code: Code, shown: str
) -> None:
    kitchen = gateway(tmp_path, switches)
    kitchen.echo.failure = UpstreamError(
        "UNAVAILABLE" if code is Code.UNAVAILABLE else "INTERNAL", code=code, message="db-7 is down"
    )

    assert (await kitchen.ask("GET /k/1")).json["error"]["message"] == shown


@pytest.mark.rule("transcoding.46")
async def test_options_are_told_even_where_a_wrong_method_is_hidden(tmp_path: Path) -> None:
    kitchen = gateway(tmp_path, "wrong_method: 404")

    assert (await kitchen.ask("OPTIONS /k/1")).status == 204
    hidden = await kitchen.ask("PUT /k/1")
    assert (hidden.status, hidden.headers.get("allow")) == (404, None)


@pytest.mark.rule("transcoding.160")
@pytest.mark.parametrize("word", ["body_wins", "query_wins"])
@pytest.mark.parametrize("rule", ["path.text == auth.sub", "request.path == '/k/1'"])
def test_a_copy_never_overrules_a_path_that_a_rule_reads(
    tmp_path: Path, word: str, rule: str
) -> None:
    routes = f"""
  - rpc: Get
    get: "/k/{{text}}"
    auth: {{when: "{rule}"}}
    transcoding: {{same_field: {word}}}
"""
    with pytest.raises(ConfigError) as caught:
        KitchenGateway(tmp_path, routes=routes)

    (problem,) = caught.value.problems
    assert problem.path == "routes[0].transcoding.same_field"
    assert "overrule the path" in problem.message
