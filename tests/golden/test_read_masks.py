"""Read masks through the whole line: the reply that a client asks for, and what it may not ask."""

import json
from pathlib import Path
from typing import Any

import pytest

from bff.core.errors import ConfigError
from tests.support.kitchen_gateway import Answer, KitchenGateway

ROUTES = """
  - rpc: Get
    post: "/k/{text}"
    body: "*"
    limit: none
    read_mask: %s
    transcoding: {%s}
    also:
      - {get: "/k/{text}"}
      - {post: "/child/{text}", body: "*", response_body: child}
      - {post: "/children/{text}", body: "*", response_body: children}
      - {post: "/money/{text}", body: "*", response_body: money_of}
"""
WHOLE = """{
  "i32": 1, "i64": "9007199254740993", "real": 0.1, "flag": true, "state": "STATE_NEW",
  "tags": ["a", "b"], "at": "2024-01-02T03:04:05.678Z", "struct": {"x": {"y": 1}},
  "prices": [{"units": "1", "nanos": 2}, {"units": "3"}],
  "labels": {"a": "1", "b": "2"},
  "moneyOf": {"a": {"units": "1", "nanos": 2}, "b": {"units": "3", "nanos": 4}},
  "child": {"i32": 2, "child": {"i32": 3, "flag": true}, "tags": ["c"]},
  "children": [{"i32": 4, "flag": true}, {"i32": 5}]
}"""
B = {"units": "3", "nanos": 4}

# The mask, and what is left of the whole.
KEPT: dict[str, dict[str, Any]] = {
    "i32": {"i32": 1},
    "i64,real,state": {"i64": "9007199254740993", "real": 0.1, "state": "STATE_NEW"},
    "state, i32": {"i32": 1, "state": "STATE_NEW"},
    "child.child.flag": {"child": {"child": {"flag": True}}},
    "child,child.i32": {"child": {"i32": 2, "child": {"i32": 3, "flag": True}, "tags": ["c"]}},
    "child.i32,child": {"child": {"i32": 2, "child": {"i32": 3, "flag": True}, "tags": ["c"]}},
    "child.i32,child.tags": {"child": {"i32": 2, "tags": ["c"]}},
    "prices.nanos": {"prices": [{"nanos": 2}, {}]},
    "prices.*.units": {"prices": [{"units": "1"}, {"units": "3"}]},
    "prices.*": {"prices": [{"units": "1", "nanos": 2}, {"units": "3"}]},
    "children.i32": {"children": [{"i32": 4}, {"i32": 5}]},
    "labels.a": {"labels": {"a": "1"}},
    "labels.zz": {"labels": {}},
    "labels": {"labels": {"a": "1", "b": "2"}},
    "moneyOf.b": {"moneyOf": {"b": B}},
    "money_of.*.units": {"moneyOf": {"a": {"units": "1"}, "b": {"units": "3"}}},
    "moneyOf.*.units,moneyOf.b.nanos": {"moneyOf": {"a": {"units": "1"}, "b": B}},
    "moneyOf.b,moneyOf.*.units": {"moneyOf": {"a": {"units": "1"}, "b": B}},
    "at": {"at": "2024-01-02T03:04:05.678Z"},
    "struct": {"struct": {"x": {"y": 1}}},
    "maybe": {},
    "choice_text": {},
}
# What the reply has not, with the hint that goes with it.
REFUSED = {
    "nope": "",
    "child.nope": "",
    "i32.x": "",
    "at.seconds": "",
    "struct.x": "",
    "labels.a.b": "",
    "any.value": "",
    "tags.x": "",
    "child..i32": "",
    "i32,": "",
    ",": "",
    "labels.": "",
    "child.*": "",
    "*.i32": "",
    "i32(x)": "",
    "I32": "did you mean i32?",
    "chld": "did you mean child?",
    "child.tagz": "did you mean tags?",
}


def gateway(folder: Path, mask: str = "{}", switches: str = "") -> KitchenGateway:
    return KitchenGateway(folder, routes=ROUTES % (mask, switches))


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> KitchenGateway:
    return gateway(tmp_path_factory.mktemp("masks"))


async def ask(kitchen: KitchenGateway, mask: str, path: str = "/k/1") -> Answer:
    kitchen.echo.metadata = ()
    return await kitchen.ask(f"POST {path}?{mask}", WHOLE)


@pytest.mark.rule("transcoding.121")
@pytest.mark.parametrize(("mask", "kept"), KEPT.items(), ids=KEPT)
async def test_a_reply_keeps_what_its_mask_names(
    kitchen: KitchenGateway, mask: str, kept: dict[str, Any]
) -> None:
    answer = await ask(kitchen, f"$fields={mask}")

    assert answer.status == 200
    assert answer.json == kept


@pytest.mark.rule("transcoding.121")
@pytest.mark.parametrize("query", ["", "$fields=*", "$fields=i32,*", "$fields=", "%24fields=*"])
async def test_without_a_mask_the_reply_is_whole(kitchen: KitchenGateway, query: str) -> None:
    answer = await ask(kitchen, query)

    assert answer.status == 200
    assert len(answer.json) == 14


@pytest.mark.rule("transcoding.121", "transcoding.157")
@pytest.mark.parametrize(("mask", "hint"), REFUSED.items(), ids=REFUSED)
async def test_a_path_that_the_reply_does_not_have_is_400(
    kitchen: KitchenGateway, mask: str, hint: str
) -> None:
    answer = await ask(kitchen, f"$fields=i32,{mask}")

    assert (answer.status, answer.reason) == (400, "INVALID_PARAMETER")
    details = answer.json["error"]["details"]
    assert details[0]["metadata"]["parameter"] == "$fields"
    assert details[0]["metadata"]["path"] in mask.split(",")
    [violation] = details[1]["fieldViolations"]
    assert violation["field"] == "$fields"
    said = "has a path that the reply does not have"
    assert violation["description"] == (f"{said}; {hint}" if hint else said)
    assert answer.bound is None


@pytest.mark.rule("transcoding.121")
@pytest.mark.parametrize(
    "query",
    [
        "$fields=i32&$fields=i64",
        "$fields=" + ",".join(["i32"] * 101),
        "$fields=labels." + "a" * 4096,
        "$fields=" + ".".join(["child"] * 17),
        "$fields=labels.%C3%A9",
    ],
    ids=["twice", "many paths", "long", "deep", "a key that is not ASCII"],
)
async def test_a_mask_has_its_bounds(kitchen: KitchenGateway, query: str) -> None:
    answer = await ask(kitchen, query)

    assert (answer.status, answer.reason) == (400, "INVALID_PARAMETER")
    assert answer.bound is None


@pytest.mark.rule("transcoding.158")
async def test_a_bad_mask_is_told_together_with_the_rest_of_the_query(
    kitchen: KitchenGateway,
) -> None:
    answer = await kitchen.ask("GET /k/1?i32=x&$fields=nope&no=1")

    [_, bad, *_] = answer.json["error"]["details"]
    assert {each["field"] for each in bad["fieldViolations"]} == {"i32", "$fields", "no"}


@pytest.mark.rule("transcoding.121")
async def test_the_last_of_two_masks_holds_where_doubles_may_be(tmp_path: Path) -> None:
    kitchen = gateway(tmp_path, switches="query_duplicate: last")

    assert (await ask(kitchen, "$fields=i32&$fields=flag")).json == {"flag": True}


@pytest.mark.rule("transcoding.121")
@pytest.mark.parametrize(
    ("switches", "mask", "kept"),
    [
        ("names: proto", "moneyOf.b", {"money_of": {"b": B}}),
        ("names: proto", "search[decoded]", {}),
        ("emit_unpopulated: true", "child.u32", {"child": {"u32": 0}}),
        ("emit_unpopulated: true", "flag", {"flag": True}),
        ("int64: number", "prices.units", {"prices": [{"units": 1}, {"units": 3}]}),
    ],
)
async def test_a_mask_goes_with_every_way_of_writing(
    tmp_path: Path, switches: str, mask: str, kept: dict[str, Any]
) -> None:
    """Fields that are written though they are unset are cut as any other."""
    assert (await ask(gateway(tmp_path, switches=switches), f"$fields={mask}")).json == kept


@pytest.mark.rule("transcoding.121", "transcoding.112")
@pytest.mark.parametrize(
    ("path", "mask", "kept"),
    [
        ("/child/1", "i32", {"i32": 2}),
        ("/children/1", "i32", [{"i32": 4}, {"i32": 5}]),
        ("/children/1", "*.i32", [{"i32": 4}, {"i32": 5}]),
        ("/money/1", "b", {"b": B}),
        ("/money/1", "*.units", {"a": {"units": "1"}, "b": {"units": "3"}}),
    ],
)
async def test_a_mask_begins_where_the_body_begins(
    kitchen: KitchenGateway, path: str, mask: str, kept: Any
) -> None:
    assert (await ask(kitchen, f"$fields={mask}", path)).json == kept


@pytest.mark.rule("transcoding.121")
@pytest.mark.parametrize(
    ("path", "mask", "sent"),
    [
        ("/k/1", "moneyOf.b,i32", "money_of.b,i32"),
        ("/k/1", "prices.*.units,prices.units", "prices.units"),
        ("/child/1", "i32,tags", "child.i32,child.tags"),
        ("/k/1", "*", None),
        ("/k/1", "", None),
    ],
)
async def test_a_forwarded_mask_is_the_services_to_keep(
    tmp_path: Path, path: str, mask: str, sent: str | None
) -> None:
    """By the proto names of the whole reply; what comes back is not cut again."""
    kitchen = gateway(tmp_path, "{param: fields, mode: forward}")

    answer = await ask(kitchen, f"fields={mask}", path)

    assert answer.status == 200
    assert dict(kitchen.echo.metadata).get("x-goog-fieldmask") == sent
    assert len(answer.json) > 2


@pytest.mark.rule("transcoding.121")
async def test_a_forwarded_mask_is_judged_first(tmp_path: Path) -> None:
    answer = await ask(gateway(tmp_path, "{mode: forward}"), "$fields=nope")

    assert (answer.status, answer.bound) == (400, None)


@pytest.mark.rule("transcoding.121")
async def test_masks_are_off_where_none_is_written(tmp_path: Path) -> None:
    kitchen = KitchenGateway(tmp_path, routes='  - {rpc: Get, post: "/k/{text}", body: "*"}')

    assert len((await ask(kitchen, "$fields=i32")).json) == 14
    assert (await ask(kitchen, "fields=i32")).reason == "UNKNOWN_PARAMETER"


@pytest.mark.rule("transcoding.121")
def test_the_parameter_is_documented(kitchen: KitchenGateway) -> None:
    paths = json.loads(kitchen.compiled.openapi)["paths"]

    [shown] = [
        each for each in paths["/k/{text}"]["get"]["parameters"] if each["name"] == "$fields"
    ]
    assert (shown["in"], shown["schema"]) == ("query", {"type": "string"})


@pytest.mark.rule("transcoding.121")
async def test_many_masks_are_answered_and_few_are_kept(kitchen: KitchenGateway) -> None:
    for number in range(300):
        answer = await ask(kitchen, f"$fields=labels.k{number},i32")

        assert answer.json == {"i32": 1, "labels": {}}


@pytest.mark.rule("transcoding.121")
@pytest.mark.parametrize("param", ["text", "i32", "child.i32"])
def test_a_parameter_that_is_a_field_already_is_refused(tmp_path: Path, param: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gateway(tmp_path, f"{{param: {param}}}")

    problem = caught.value.problems[0]
    assert problem.path == "routes[0].read_mask.param"
    assert problem.message == f"`{param}` is a field of the request already"
