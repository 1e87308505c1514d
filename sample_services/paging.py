"""Pages: how many, and the opaque token that asks for the next one.

A token holds the last key of its page and a digest of what was asked, so that it cannot be used to
continue a different question.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

from sample_services.refusal import invalid

__all__ = ["page_size_of", "read_token", "write_token"]

_DEFAULT_SIZE = 20
_MAX_SIZE = 100
_MAX_TOKEN_CHARS = 200


def page_size_of(asked: int) -> int:
    """The number of entries for `page_size`: 0 means 20, above 100 means 100 (AIP-158).

    Raises Refused (INVALID_ARGUMENT) below 0.
    """
    if asked < 0:
        raise invalid("page_size", "must be 0 to 100")
    return min(asked, _MAX_SIZE) or _DEFAULT_SIZE


def write_token(after: int, question: Sequence[object]) -> str:
    """The token of the page behind the entry with key `after`."""
    text = json.dumps([after, _digest(question)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: str, question: Sequence[object]) -> int | None:
    """The key to go on after; None for the empty token, which asks for the first page.

    Raises Refused (INVALID_ARGUMENT) for a token that is not ours or belongs to another question.
    """
    if not token:
        return None
    if len(token) > _MAX_TOKEN_CHARS:
        raise invalid("page_token", "is not a token of ours")
    try:
        padded = token + "=" * (-len(token) % 4)
        after, digest = json.loads(base64.urlsafe_b64decode(padded.encode()))
    except (binascii.Error, ValueError, TypeError) as error:
        raise invalid("page_token", "is not a token of ours") from error
    if not isinstance(after, int) or not 0 <= after < 2**63 or digest != _digest(question):
        raise invalid("page_token", "belongs to another question")
    return after


def _digest(question: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(list(question)).encode()).hexdigest()[:16]
