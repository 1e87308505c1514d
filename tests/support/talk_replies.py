"""What came back of a stream, in whatever framing: how many messages, and how it ended.

octets = await read_reply(port, ANSWERS[framing], framing)
ending(octets, framing)        # "OK", the name of a gRPC status, or "cut" where there is no end
"""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from typing import Final

from bff.core.status import Code

__all__ = ["ending", "ending_of", "is_over", "read_reply"]

_GUARD_S = 30.0
_LAST_CHUNK: Final = b"0\r\n\r\n"


async def read_reply(port: int, request: bytes, framing: str) -> bytes:
    """Everything that the gateway answers, until the reply ends or the connection does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    octets = b""
    try:
        async with asyncio.timeout(_GUARD_S):
            while not is_over(octets, framing) and (part := await reader.read(1 << 16)):
                octets += part
    except ConnectionResetError:
        pass
    finally:
        writer.transport.abort()
    return octets


def is_over(octets: bytes, framing: str) -> bool:
    """Whether the reply has its end: the last chunk, or a close frame."""
    _, _, body = octets.partition(b"\r\n\r\n")
    if framing.startswith("socket"):
        return any(kind == 8 for kind, _ in _socket_frames(body))
    return body.endswith(_LAST_CHUNK)


def ending(octets: bytes, framing: str) -> str:
    """How the stream ended, as its client can tell."""
    if not is_over(octets, framing):
        return "cut"
    body = octets.partition(b"\r\n\r\n")[2]
    if framing.startswith("socket"):
        return _of_socket(body)
    return ending_of(_unchunked(body), framing)


def ending_of(content: bytes, framing: str) -> str:
    """The same of the content of a reply over plain HTTP that has its end."""
    return _ENDINGS[framing](content)


def _unchunked(body: bytes) -> bytes:
    content = b""
    while not body.startswith(_LAST_CHUNK):
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        content, body = content + body[:length], body[length + 2 :]
    return content


def _socket_frames(body: bytes) -> list[tuple[int, bytes]]:
    """Kind and payload of each whole frame of a server (RFC 6455 5.2)."""
    frames = []
    while len(body) >= 2:
        start, size = 2, body[1]
        if size == 126:
            start, size = 4, int.from_bytes(body[2:4])
        elif size == 127:
            start, size = 10, int.from_bytes(body[2:10])
        if len(body) < start + size:
            break
        frames.append((body[0] & 15, body[start : start + size]))
        body = body[start + size :]
    return frames


def _of_socket(body: bytes) -> str:
    """The close code has to say what the last text says."""
    *_, (_, said), (_, close) = _socket_frames(body)
    last, code = json.loads(said), int.from_bytes(close[:2])
    if "end" in last:
        return "OK" if code == 1000 else f"closed with {code}"
    status: str = last["error"]["status"]
    return status if code == 4000 + Code[status] else f"closed with {code}"


def _of_array(content: bytes) -> str:
    return _of_message(json.loads(content)[-1])


def _of_lines(content: bytes) -> str:
    return _of_message(json.loads(content.splitlines()[-1]))


def _of_message(last: Mapping[str, Mapping[str, str]]) -> str:
    return last["error"]["status"] if "error" in last else "OK"


def _of_events(content: bytes) -> str:
    name, _, data = content.decode().rstrip("\n").rpartition("\n\n")[2].partition("\n")
    if name == "event: end":
        return "OK"
    assert name == "event: error", name
    return _of_message(json.loads(data.removeprefix("data: ")))


def _of_web(content: bytes) -> str:
    while content[0] == 0:
        content = content[5 + int.from_bytes(content[1:5]) :]
    assert content[0] == 0x80
    return Code(int(content.partition(b"grpc-status: ")[2].partition(b"\r")[0])).name


def _of_web_text(content: bytes) -> str:
    """Each part has an encoding of its own, with its own padding."""
    octets, start = b"", 0
    while start < len(content):
        octets += base64.b64decode(content[start : start + 4])
        start += 4
    return _of_web(octets)


_ENDINGS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "array": _of_array,
    "ndjson": _of_lines,
    "sse": _of_events,
    "raw": lambda _content: "OK",
    "grpc-web": _of_web,
    "grpc-web-text": _of_web_text,
}
