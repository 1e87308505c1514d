"""Runs one row of the vectors through a gateway process, and says how the outcome differs from it."""

import base64
import json
import socket
from pathlib import Path

import msgspec

from tests.support.gateway import GatewayProcess
from tests.support.vector_kitchen import VectorKitchen
from tests.support.vector_replies import Reply, read_reply
from tests.support.vectors import Config, Row, files_of, request_octets

__all__ = ["VectorWorld", "exchange", "judge"]

_GUARD_S = 20.0
_LOT = 1 << 16


class VectorWorld:
    """A gateway of one config in front of the kitchen."""

    def __init__(self, folder: Path, config: Config, kitchen: VectorKitchen, types: Path) -> None:
        self._kitchen = kitchen
        self.gateway = GatewayProcess(folder, None, files=files_of(config, kitchen.port, types))

    def run(self, row: Row) -> list[str]:
        """Send the row's request; what is not as the row says."""
        self._kitchen.begin(row.answer)
        return judge(row, exchange(self.gateway.port, request_octets(row)), self._kitchen)


def exchange(port: int, octets: bytes) -> Reply:
    """Send these octets to a port of this machine; the reply is what comes until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), _GUARD_S) as connection:
        connection.sendall(octets)
        got = b""
        while part := connection.recv(_LOT):
            got += part
    return read_reply(got)


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
    said = reply.said
    found += [f"the reply does not say {text!r}" for text in row.says if text not in said]
    return found + [f"the reply says {text!r}" for text in row.hides if text in said]


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
