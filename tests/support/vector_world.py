"""Runs one row of the vectors through a gateway process, and says how the outcome differs from it."""

import base64
import json
import socket
from pathlib import Path
from typing import Any

import msgspec

from tests.support.gateway import GatewayProcess
from tests.support.vector_kitchen import VectorKitchen
from tests.support.vectors import Config, Row, files_of, request_octets

__all__ = ["Reply", "VectorWorld", "judge"]

_GUARD_S = 20.0
_LOT = 1 << 16


class Reply(msgspec.Struct, frozen=True):
    """A reply as it came: `octets`, and what they say."""

    octets: bytes
    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def field(self, name: str) -> str | None:
        """A header field, several of one name joined; None if it is absent."""
        found = [value for key, value in self.fields if key == name.lower()]
        return ", ".join(found) if found else None

    @property
    def detail(self) -> dict[str, dict[str, Any]]:
        """Details of an error by their last name, whichever form the error has."""
        try:
            tree = json.loads(self.body)
        except ValueError:
            return {}
        if not isinstance(tree, dict):
            return {}
        if "reason" in tree:
            violations = [{"field": each.get("pointer")} for each in tree.get("errors", ())]
            return {"ErrorInfo": tree, "BadRequest": {"fieldViolations": violations}}
        details = tree.get("error", tree).get("details", ())
        return {str(each.get("@type", "")).rpartition(".")[2]: each for each in details}


class VectorWorld:
    """A gateway of one config in front of the kitchen."""

    def __init__(self, folder: Path, config: Config, kitchen: VectorKitchen, types: Path) -> None:
        self._kitchen = kitchen
        self.gateway = GatewayProcess(folder, None, files=files_of(config, kitchen.port, types))

    def run(self, row: Row) -> list[str]:
        """Send the row's request; what is not as the row says."""
        self._kitchen.begin(row.answer)
        reply = self._exchange(request_octets(row))
        return judge(row, reply, self._kitchen)

    def _exchange(self, octets: bytes) -> Reply:
        with socket.create_connection(("127.0.0.1", self.gateway.port), _GUARD_S) as connection:
            connection.sendall(octets)
            got = b""
            while part := connection.recv(_LOT):
                got += part
        return _read_reply(got)


def _read_reply(octets: bytes) -> Reply:
    head, _, body = octets.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = [
        (name.strip().lower(), value.strip())
        for name, _, value in (line.partition(":") for line in lines[1:])
    ]
    if ("transfer-encoding", "chunked") in fields:
        body = _joined_chunks(body)
    status = int(lines[0].split(" ")[1]) if lines[0] else 0
    return Reply(octets, status, fields, body)


def _joined_chunks(body: bytes) -> bytes:
    joined = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        joined, body = joined + body[:length], body[length + 2 :]
        if not length:
            break
    return joined


def judge(row: Row, reply: Reply, kitchen: VectorKitchen) -> list[str]:
    """Every way in which the outcome differs from the row; what was sent and came at the end."""
    wanted_status = row.status or (400 if row.reason else 200)
    found = _differs("status", wanted_status, reply.status)
    found += _judge_error(row, reply)
    if row.allow is not None:
        found += _differs("allow", row.allow, reply.field("allow"))
    for name, value in row.fields.items():
        found += _differs(name, value, reply.field(name))
    found += _judge_body(row, reply)
    found += _judge_call(row, kitchen)
    if found:
        found += ["---- sent", _shown(request_octets(row)), "---- came", _shown(reply.octets)]
        found += ["---- the service was asked", *map(str, kitchen.asked)]
    return found


def _judge_error(row: Row, reply: Reply) -> list[str]:
    found = []
    if row.reason is not None:
        found += _differs("reason", row.reason, reply.detail.get("ErrorInfo", {}).get("reason"))
    if row.names is not None:
        violations = reply.detail.get("BadRequest", {}).get("fieldViolations", ())
        found += _differs("names", row.names, [each.get("field") for each in violations])
    return found


def _judge_body(row: Row, reply: Reply) -> list[str]:
    found = []
    if row.reply is not msgspec.UNSET:
        try:
            found += _differs("reply", row.reply, json.loads(reply.body))
        except ValueError:
            found.append("reply: no JSON came")
    if row.text is not None:
        found += _differs("text", row.text, reply.body.decode(errors="replace"))
    if row.octets64 is not None:
        found += _differs("octets64", row.octets64, base64.b64encode(reply.body).decode())
    body = reply.body.decode(errors="replace")
    return found + [f"the reply does not say {text!r}" for text in row.says if text not in body]


def _judge_call(row: Row, kitchen: VectorKitchen) -> list[str]:
    asked = kitchen.asked
    if len(asked) > 1:
        return [f"the service was called {len(asked)} times"]
    is_called = row.saw is not msgspec.UNSET or row.rpc is not None or bool(row.metadata)
    if not asked:
        return ["the service was not called"] if is_called else []
    if row.reason is not None and not is_called and not row.answer.code:
        return ["the service was called"]
    found = []
    if row.rpc is not None:
        found += _differs("rpc", row.rpc, asked[0].rpc)
    if row.saw is not msgspec.UNSET:
        saw = asked[0].messages
        found += _differs("saw", row.saw, saw if isinstance(row.saw, list) else saw[0])
    for name, value in row.metadata.items():
        values = asked[0].metadata.get(name)
        wanted = [value] if isinstance(value, str) else value
        found += _differs(f"metadata {name}", wanted, values)
    return found


def _differs(what: str, wanted: object, got: object) -> list[str]:
    # Equal in JSON: True is not 1 there, and order of keys says nothing.
    same = json.dumps(wanted, sort_keys=True) == json.dumps(got, sort_keys=True)
    return [] if same else [f"{what}: wanted {wanted!r}", f"{' ' * len(what)}  got    {got!r}"]


def _shown(octets: bytes) -> str:
    text = octets.decode("latin-1").replace("\r\n", "\n")
    return text if len(text) < 3000 else f"{text[:3000]}... ({len(text)} octets)"
