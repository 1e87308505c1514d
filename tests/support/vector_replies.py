"""A reply as its octets, and what they say: REST in any form of errors, Connect, gRPC-Web."""

import base64
import json
import re
from typing import Any

import msgspec
from google.protobuf import json_format, message
from google.rpc import error_details_pb2, status_pb2

__all__ = ["Reply", "frames_of", "read_reply"]

_HEAD_BYTES = 5
_SEGMENT = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_WEB = "application/grpc-web"


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
        if (self.field("content-type") or "").startswith(_WEB):
            return {_last(each.type_url): _shown(each.type_url, each.value) for each in self._web()}
        try:
            tree = json.loads(self.body)
        except ValueError:
            return {}
        if not isinstance(tree, dict):
            return {}
        if "reason" in tree:
            violations = [{"field": each.get("pointer")} for each in tree.get("errors", ())]
            return {"ErrorInfo": tree, "BadRequest": {"fieldViolations": violations}}
        found = {}
        for each in tree.get("error", tree).get("details", ()):
            if "type" in each:
                # Connect: the full name, and base64 without padding.
                octets = base64.b64decode(each["value"] + "==")
                found[_last(each["type"])] = _shown(each["type"], octets)
            else:
                found[_last(each.get("@type", ""))] = each
        return found

    @property
    def said(self) -> str:
        """All that a client can read of the body: its text, and what its details say in binary."""
        return f"{_octets_of(self).decode(errors='replace')}\n{json.dumps(self.detail, ensure_ascii=False)}"

    def _web(self) -> list[Any]:
        """The details in the last frame of gRPC-Web."""
        _, last = frames_of(self)[-1]
        for line in last.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "grpc-status-details-bin":
                return list(status_pb2.Status.FromString(base64.b64decode(value + "==")).details)
        return []


def frames_of(reply: Reply) -> list[tuple[int, bytes]]:
    """Flags and payload of each frame of gRPC-Web."""
    body = _octets_of(reply)
    found = []
    while body:
        end = _HEAD_BYTES + int.from_bytes(body[1:_HEAD_BYTES], "big")
        found.append((body[0], body[_HEAD_BYTES:end]))
        body = body[end:]
    return found


def _octets_of(reply: Reply) -> bytes:
    """The body, out of base64 where gRPC-Web writes it so; each part of it is padded by itself."""
    if not (reply.field("content-type") or "").startswith(f"{_WEB}-text"):
        return reply.body
    return b"".join(map(base64.b64decode, _SEGMENT.findall(reply.body)))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _shown(name: str, octets: bytes) -> dict[str, Any]:
    """A detail as JSON; one of a type that google.rpc has not as base64 under `value`."""
    kind: type[message.Message] | None = getattr(error_details_pb2, _last(name), None)
    if kind is None or "google.rpc." not in name:
        return {"value": base64.b64encode(octets).decode()}
    tree: dict[str, Any] = json_format.MessageToDict(kind.FromString(octets))
    return tree


def read_reply(octets: bytes) -> Reply:
    """The reply that an HTTP/1.1 connection brought, chunks joined."""
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
