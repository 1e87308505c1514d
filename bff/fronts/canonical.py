"""The one path of a request, worked out once from the raw octets. Pure.

Match, policies, logs and cache keys use this value alone, so no spelling of a path can reach a
route under a weaker policy. RFC 3986 6.2.2: escapes of unreserved characters are decoded, all
others keep their escape in upper case (`%2F` stays data, `%3A` never becomes a verb's colon).
"""

import re

from bff.core.errors import ClientError

__all__ = ["canonical_path", "check_query"]

# A path that is its own canonical form: pchar without `%` and `;`, no segment that begins with a dot.
_PLAIN = re.compile(rb"(?:/(?!\.)[A-Za-z0-9\-._~!$&'()*+,=:@]*)+").fullmatch
_PCHARS = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*").fullmatch
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
# Escapes inside escapes of the characters that matter to a path; any other %25 is data.
_DOUBLE = re.compile(rb"%25(?:2[fFeE]|5[cC]|00)").search
_QUERY = re.compile(rb"(?:[\x21-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*").fullmatch
_PLAIN_QUERY = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]*").fullmatch
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\\]").search
# Where a dot segment may hide: between encoded slashes, or before a path parameter.
_PARTS = re.compile(r"[/;]")


def canonical_path(raw: bytes) -> str:
    """The canonical text of a raw path. Raises ClientError BAD_PATH."""
    if _PLAIN(raw):
        return raw.decode("ascii")
    if not raw.startswith(b"/") or not _PCHARS(raw):
        raise _bad()
    for segment in raw.split(b"/"):
        _judge(segment)
    text = _ESCAPE.sub(_normal_escape, raw)
    # Judged last, since `%25%32%66` becomes `%252f` only now.
    if _DOUBLE(text):
        raise _bad()
    return text.decode("ascii")


def check_query(raw: bytes) -> None:
    """Raises ClientError BAD_PATH for a broken escape, a control or text that is not strict UTF-8."""
    if _PLAIN_QUERY(raw):
        return
    if not _QUERY(raw):
        raise _bad("The query has a character or escape that is not valid.")
    try:
        _decoded(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad("The query is not valid UTF-8.") from error


def _judge(segment: bytes) -> None:
    try:
        text = _decoded(segment).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad() from error
    if _CONTROLS(text):
        raise _bad()
    for part in _PARTS.split(text):
        if part in {".", ".."}:
            raise _bad()


def _decoded(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), text)


def _normal_escape(found: re.Match[bytes]) -> bytes:
    octet = int(found[1], 16)
    return bytes((octet,)) if octet in _UNRESERVED else b"%%%02X" % octet


def _bad(public: str | None = None) -> ClientError:
    return ClientError("BAD_PATH", public, headers=((b"connection", b"close"),))
