"""Why a credential was refused, for the log alone. The client reads one sentence, whatever the cause.

These never leave `auth`: the authenticator turns them into a DeniedError with its fixed reply.
"""

__all__ = ["CredentialFault", "KeyFault", "TokenFault", "UnknownKeyFault"]


class CredentialFault(Exception):
    """A credential that is refused. `cause` is a fixed text of ours: never a claim, key or token."""

    def __init__(self, cause: str, *, lasting: bool = True) -> None:
        super().__init__(cause)
        self.cause = cause
        # False: the same credential may pass a moment later, so the refusal is not remembered.
        self.lasting = lasting


class TokenFault(CredentialFault):
    """An access token that is refused (401 TOKEN_INVALID)."""


class UnknownKeyFault(TokenFault):
    """The token names a key that its issuer's set does not hold: the one fault that may fetch."""

    def __init__(self, kid: str) -> None:
        super().__init__("key id is not in the issuer's set", lasting=False)
        self.kid = kid


class KeyFault(CredentialFault):
    """An API key that is refused (401 KEY_INVALID)."""
