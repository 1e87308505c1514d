"""What no preset imitates of the proxies that two of them stand for, under every preset."""

from pathlib import Path

import pytest

from bff.config.presets import PRESETS
from bff.core.errors import ConfigError, UpstreamError
from bff.core.status import Code
from tests.support.kitchen_gateway import KitchenGateway

_ROUTES = """
  - rpc: Get
    get: "/k/{text}"
    also:
      - {get: "/k/{text}/x"}
      - {get: "/t/{text=**}"}
      - {get: "/r/fixed"}
      - {get: "/r/{text}"}
      - {get: "/o/{text}"}
      - {get: "/o/fixed"}
      - {post: "/v/{text}:cancel", body: "*"}
      - {post: "/b", body: "*"}
  - {rpc: Get, id: small, post: "/small", body: "*", caps: {reply: 64B}}
"""


@pytest.fixture(scope="module", params=PRESETS)
def preset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kitchen(preset: str, tmp_path: Path) -> KitchenGateway:
    return KitchenGateway(tmp_path, f"transcoding: {{preset: {preset}}}", routes=_ROUTES)


pytestmark = pytest.mark.rule("transcoding.161")


async def test_a_path_is_split_before_it_is_decoded(kitchen: KitchenGateway) -> None:
    """An encoded slash never chooses the route, and so never the policy."""
    assert (await kitchen.ask("GET /k/a%2Fx")).bound == {"text": "a/x"}
    assert (await kitchen.ask("GET /k/a/x")).bound == {"text": "a"}


@pytest.mark.parametrize("path", ["/k/..%2Fx", "/t/a/%2E%2E%2Fx", "/t/a/%FF", "/k/%C0%AF"])
async def test_dot_segments_and_bad_octets_never_pass(kitchen: KitchenGateway, path: str) -> None:
    answer = await kitchen.ask(f"GET {path}")

    assert (answer.bound, answer.status) == (None, 400)


async def test_a_header_never_changes_the_method(kitchen: KitchenGateway) -> None:
    override = {"x-http-method-override": "GET"}

    assert (await kitchen.ask("POST /k/1", headers=override)).bound is None
    assert (await kitchen.ask("POST /b", '{"i32":1}', override)).bound == {"i32": 1}


async def test_the_more_literal_route_wins_in_either_order(kitchen: KitchenGateway) -> None:
    assert (await kitchen.ask("GET /r/fixed")).bound == {}
    assert (await kitchen.ask("GET /o/fixed")).bound == {}
    assert (await kitchen.ask("GET /r/other")).bound == {"text": "other"}


async def test_unknown_parameters_never_reach_the_service(
    kitchen: KitchenGateway, preset: str
) -> None:
    answer = await kitchen.ask("GET /k/1?nope=1")

    if preset != "grpc-gateway":
        assert (answer.bound, answer.reason) == (None, "UNKNOWN_PARAMETER")
    else:
        assert answer.bound == {"text": "1"}


def test_a_route_that_can_never_be_taken_is_a_problem(preset: str, tmp_path: Path) -> None:
    routes = """
  - {rpc: Get, get: "/a/{text}"}
  - {rpc: Get, id: dead, get: "/a/{child.text}"}
"""
    with pytest.raises(ConfigError) as caught:
        KitchenGateway(tmp_path, f"transcoding: {{preset: {preset}}}", routes=routes)

    (problem,) = caught.value.problems
    assert "is served by cook.Get already" in problem.message


async def test_a_verb_is_one_of_its_own_path_alone(kitchen: KitchenGateway) -> None:
    assert (await kitchen.ask("GET /k/7:cancel")).bound == {"text": "7:cancel"}
    assert (await kitchen.ask("POST /v/7:cancel", "{}")).bound == {"text": "7"}


@pytest.mark.parametrize("content_type", ["application/json", "application/grpc"])
async def test_what_does_not_map_is_not_passed_through(
    kitchen: KitchenGateway, content_type: str
) -> None:
    answer = await kitchen.ask("POST /kitchen.v1.Cook/Get", "{}", {"content-type": content_type})

    assert (answer.status, answer.reason, answer.bound) == (404, "NO_ROUTE", None)


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.UNKNOWN, Code.NOT_FOUND])
async def test_an_error_is_never_lost_or_text(kitchen: KitchenGateway, code: Code) -> None:
    kitchen.echo.failure = UpstreamError(code.name, code=code, message="")

    answer = await kitchen.ask("GET /k/1")

    assert answer.status >= 400
    assert answer.headers["content-type"] == "application/json"
    error = answer.json.get("error", answer.json)
    assert error["code"] in {int(code), answer.status}
    assert error["message"]


async def test_a_message_is_never_a_challenge(kitchen: KitchenGateway) -> None:
    kitchen.echo.failure = UpstreamError(
        "UNAUTHENTICATED", code=Code.UNAUTHENTICATED, message='Basic realm="db-7"'
    )

    answer = await kitchen.ask("GET /k/1")

    assert answer.status == 401
    assert "db-7" not in answer.headers.get("www-authenticate", "")


async def test_headers_cross_only_where_they_are_listed(kitchen: KitchenGateway) -> None:
    sent = {"x-user": "admin", "cookie": "a=b", "authorization": "Basic eDp5", "accept": "*/*"}

    await kitchen.ask("GET /k/1", headers=sent)

    names = {name for name, _ in kitchen.echo.metadata}
    assert not names & set(sent)


async def test_a_reply_is_never_cut_short(kitchen: KitchenGateway) -> None:
    answer = await kitchen.ask("POST /small", '{"text":"' + "a" * 100 + '"}')

    assert (answer.status, answer.reason) == (502, "REPLY_TOO_LARGE")
