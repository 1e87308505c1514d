"""Messages with the prefix of gRPC, gRPC-Web and streams of Connect: a flag and four octets of length."""

__all__ = ["frame", "frames"]


def frame(payload: bytes, flags: int = 0) -> bytes:
    """A message with its prefix."""
    return bytes((flags,)) + len(payload).to_bytes(4, "big") + payload


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """Flags and payload of each message."""
    found = []
    while body:
        size = int.from_bytes(body[1:5], "big")
        found.append((body[0], body[5 : 5 + size]))
        body = body[5 + size :]
    return found
