"""docs/errors.md shows one error in every form: it is what the gateway says, to the octet but for white space."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bff.core.errors import UpstreamError
from bff.core.status import Code
from tests.support.kitchen_gateway import Answer, KitchenGateway
from tests.support.render_errors import PAGE

_ROUTES = """
  - {rpc: Get, get: "/dishes/{text}", transcoding: {protocols: [connect, grpc_web]}}
  - {rpc: Get, id: status, get: "/status/{text}", transcoding: {error_format: status}}
"""
_PATH = "POST /kitchen.v1.Cook/Get"
_FENCE = re.compile(r"^```(json|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Request, body and header fields of each example, in the page's order.
ASKED: list[tuple[str, bytes, dict[str, str]]] = [
    ("GET /dishes/soup", b"", {}),
    ("GET /status/soup", b"", {}),
    ("GET /dishes/soup", b"", {"accept": "application/problem+json"}),
    (_PATH, b"", {"content-type": "application/proto"}),
    (_PATH, b"\0\0\0\0\0", {"content-type": "application/grpc-web+proto"}),
]


def _examples() -> list[str]:
    section = PAGE.read_text(encoding="utf-8").partition("## One error in every form")[2]
    return [text for _, text in _FENCE.findall(section.partition("\n## ")[0])]


async def _ask(folder: Path, number: int) -> Answer:
    kitchen = KitchenGateway(folder, routes=_ROUTES)
    kitchen.echo.failure = UpstreamError(
        "NOT_FOUND", code=Code.NOT_FOUND, message="no dish of this name"
    )
    target, body, headers = ASKED[number]
    return await kitchen.ask(target, body, headers)


@pytest.mark.rule("transcoding.149", "transcoding.150", "transcoding.166")
@pytest.mark.parametrize("number", range(4))
async def test_an_example_is_what_the_client_reads(tmp_path: Path, number: int) -> None:
    answer = await _ask(tmp_path, number)

    shown: Any = json.loads(_examples()[number])
    assert (answer.status, answer.json) == (404, shown)
    assert list(answer.json) == list(shown)


@pytest.mark.rule("transcoding.167")
async def test_the_last_frame_of_grpc_web_is_as_shown(tmp_path: Path) -> None:
    answer = await _ask(tmp_path, 4)

    (*_, shown) = _examples()
    assert answer.status == 200
    lines = answer.body[5:].decode().split("\r\n")
    assert lines[:2] == shown.splitlines()
    assert lines[2].startswith("grpc-status-details-bin: ")
