"""The WWW-Authenticate field of refusals (RFC 6750 3): one fixed text per kind of refusal.

Expired, forged and unknown key read alike outside; only the log knows more.
"""

from collections.abc import Iterable

__all__ = ["Challenges"]

Fields = tuple[tuple[bytes, bytes], ...]


class Challenges:
    """The challenges of one realm, ready to be put on replies. `realm` is the gateway's name."""

    __slots__ = ("_opening", "invalid_request", "invalid_token", "missing")

    def __init__(self, realm: str) -> None:
        if not realm.isascii() or not realm.isprintable() or '"' in realm or "\\" in realm:
            raise ValueError("a realm is printable ASCII without quotes or backslashes")
        self._opening = f'Bearer realm="{realm}"'
        # RFC 6750 3.1: without any credential there is no error attribute.
        self.missing = self._fields("")
        self.invalid_request = self._fields(
            ', error="invalid_request", error_description="More than one credential was sent."'
        )
        self.invalid_token = self._fields(
            ', error="invalid_token", error_description="The credential is not valid."'
        )

    def insufficient_scope(self, scopes: Iterable[str]) -> Fields:
        """For 403: which scopes would do. Scopes come from configuration, never from the client."""
        wanted = " ".join(scopes)
        return self._fields(f', error="insufficient_scope", scope="{wanted}"')

    def _fields(self, attributes: str) -> Fields:
        return ((b"www-authenticate", (self._opening + attributes).encode("ascii")),)
