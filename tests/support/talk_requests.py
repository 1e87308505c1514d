"""The octets by which a client asks the talking service for a stream, in every framing that there is."""

from collections.abc import Mapping
from typing import Final

__all__ = ["ANSWERS", "EVERY", "FORM", "chunk", "form_part", "post", "text_frame", "web_call"]

FORM: Final = "multipart/form-data; boundary=b"
_FRAME = b'{"message":{"text":"a"}}'
_LINE = b'{"text":"a"}\n'
_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nhost: g\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_POST = (
    "POST {path} HTTP/1.1\r\nhost: g\r\ncontent-type: {media}\r\ntransfer-encoding: chunked\r\n\r\n"
)


def get(path: str, accept: str = "*/*") -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: g\r\naccept: {accept}\r\n\r\n".encode()


def chunk(octets: bytes) -> bytes:
    """One chunk of a body (RFC 9112 7.1)."""
    return b"%x\r\n%b\r\n" % (len(octets), octets)


def post(path: str, media: str = "application/x-ndjson") -> bytes:
    """The head of a request whose body comes in chunks."""
    return _POST.format(path=path, media=media).encode()


def form_part(name: str, content: bytes, *, file: str | None = None, media: str = "") -> bytes:
    """One part of a form whose boundary is `b` (RFC 7578 4.2)."""
    named = "" if file is None else f'; filename="{file}"'
    typed = f"content-type: {media}\r\n" if media else ""
    head = f'--b\r\ncontent-disposition: form-data; name="{name}"{named}\r\n{typed}\r\n'
    return head.encode() + content + b"\r\n"


def text_frame(text: bytes) -> bytes:
    """A short text frame of a client (RFC 6455 5.2), under a mask of zeros."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


def web_call(
    method: str, media: str = "application/grpc-web+proto", body: bytes = bytes(5)
) -> bytes:
    """A call of gRPC-Web; by default with one empty message."""
    head = f"POST /talk.v1.Talk/{method} HTTP/1.1\r\nhost: g\r\ncontent-type: {media}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def handshake(path: str) -> bytes:
    return _HANDSHAKE.format(path=path).encode()


# A service's stream.
ANSWERS: Final[Mapping[str, bytes]] = {
    "array": get("/down"),
    "ndjson": get("/down", "application/x-ndjson"),
    "sse": get("/down", "text/event-stream"),
    "raw": get("/file"),
    "grpc-web": web_call("Down"),
    "grpc-web-text": web_call("Down", "application/grpc-web-text", b"AAAAAAA="),
    "socket down": handshake("/down") + text_frame(_FRAME),
}
# And those that a client sends.
EVERY: Final[Mapping[str, bytes]] = {
    **ANSWERS,
    "client stream": post("/up") + chunk(_LINE * 2),
    "half duplex": post("/deaf") + chunk(_LINE * 2) + chunk(b""),
    "file upload": post("/load/t", "a/b") + chunk(b"x" * 9) + chunk(b"y" * 9),
    "form upload": post("/load/t", FORM)
    + chunk(form_part("note", b"n") + form_part("file", b"x" * 9, file="f")[:-2])
    + chunk(b"y" * 9),
    "socket up": handshake("/up") + text_frame(_FRAME) * 2,
    "socket both": handshake("/both") + text_frame(_FRAME) * 2,
    "socket deaf": handshake("/deaf") + text_frame(_FRAME) * 9,
}
