"""Which credential a request carries. At most one; tokens in query, body or cookies are never read.

Only found here, not judged: the authenticator does that.
"""

from hashlib import sha256
from typing import Literal

from msgspec import Struct

from bff.core.errors import ClientError
from bff.core.headers import Headers

__all__ = ["Credential", "find_credential"]


class Credential(Struct, frozen=True):
    """What the client showed: a bearer token, an API key, or something that is neither.

    `text` is the token or key as sent; empty for `bad` (another scheme, or spelled wrongly), which
    is refused and never taken for an anonymous request. `digest` is the SHA-256 of a token's text.
    """

    kind: Literal["bearer", "api_key", "bad", "none"]
    text: bytes = b""
    digest: bytes = b""


_BAD = Credential("bad")
_NONE = Credential("none")


def find_credential(headers: Headers) -> Credential | None:
    """The one credential among the request's fields, or None.

    `Authorization: Bearer <token>` (RFC 6750 2.1; scheme in any case, exactly one space) or
    `X-API-Key: <key>`. Raises ClientError MULTIPLE_CREDENTIALS for both, or for one of them twice.

    Kept with the headers: a connection that repeats its fields is searched, and its token digested, once.
    """
    known: Credential | None = headers.credential
    if known is None:
        known = headers.credential = _search(headers) or _NONE
    return None if known is _NONE else known


def _search(headers: Headers) -> Credential | None:
    found: Credential | None = None
    for name, value in headers.raw:
        if name == b"authorization":
            one = _bearer(value)
        elif name == b"x-api-key":
            one = Credential("api_key", value)
        else:
            continue
        if found is not None:
            raise ClientError("MULTIPLE_CREDENTIALS")
        found = one
    return found


def _bearer(value: bytes) -> Credential:
    token = value[7:]
    if value[:7].lower() != b"bearer " or not token or b" " in token or b"\t" in token:
        return _BAD
    return Credential("bearer", token, sha256(token).digest())
