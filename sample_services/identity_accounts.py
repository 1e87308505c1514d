"""Who the identity provider knows. Everything here is public on purpose: it guards nothing.

Users sign in with name and password: `guest`/`guest-demo`, `premium`/`premium-demo`,
`admin`/`admin-demo`. Clients: `bff` (secret `bff-secret`; code and client credentials), `mobile`
(public; code), `reports` (secret `reports-secret`; client credentials, signed ES256).
"""

import hmac
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec

__all__ = ["ACCOUNTS", "CLIENTS", "SCOPES", "Account", "AuthorizationCode", "Client"]

SCOPES = ("openid", "profile", "email", "users.read", "users.write", "orders.read", "orders.write",
          "catalog.read", "admin")  # fmt: skip
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})

ClientAuth = Literal["client_secret_basic", "client_secret_post", "none"]


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A person. `user_id` is the `sub` of tokens and an id of the users service."""

    user_id: str
    name: str
    email: str
    password: str
    plan: str
    roles: tuple[str, ...]
    scopes: frozenset[str]
    tenant_id: str = "acme"

    def get_user_id(self) -> str:
        """The subject, by the name authlib asks for."""
        return self.user_id

    def has_password(self, given: str) -> bool:
        """True for the right password."""
        return hmac.compare_digest(self.password.encode(), given.encode())


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """An application. The methods are those of authlib's ClientMixin (RFC 7591 metadata)."""

    client_id: str
    secret: str | None
    grants: frozenset[str]
    scopes: frozenset[str]
    algorithm: str = "RS256"
    plan: str = "standard"
    roles: tuple[str, ...] = ()
    tenant_id: str = "acme"

    def get_client_id(self) -> str:
        """The id."""
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        """None: the request must name one (RFC 9700 2.1)."""

    def get_allowed_scope(self, scope: str | None) -> str:
        """Those of the scopes asked for that the client may have; all it may have if none were."""
        asked = set(scope.split()) if scope else self.scopes
        return " ".join(sorted(asked & self.scopes))

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """True for any path and port of this machine (RFC 8252 7.3); our clients run nowhere else."""
        parts = urlsplit(redirect_uri)
        return parts.scheme == "http" and parts.hostname in _LOOPBACK and not parts.fragment

    def check_client_secret(self, client_secret: str) -> bool:
        """True for the right secret."""
        return self.secret is not None and hmac.compare_digest(
            self.secret.encode(), client_secret.encode()
        )

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002 - authlib's signature
        """A client with a secret must show it, one without has none to show."""
        return (method == "none") == (self.secret is None)

    def check_response_type(self, response_type: str) -> bool:
        """Only codes are given out (RFC 9700 2.1.2)."""
        return response_type == "code" and "authorization_code" in self.grants

    def check_grant_type(self, grant_type: str) -> bool:
        """True for a grant the client is registered for."""
        return grant_type in self.grants


class AuthorizationCode(msgspec.Struct, frozen=True, kw_only=True):
    """A code given out: for whom, and what it was bound to (RFC 6749 4.1.2, RFC 7636 4.4)."""

    code: str
    client_id: str
    redirect_uri: str
    scope: str
    account: Account
    nonce: str | None
    code_challenge: str
    code_challenge_method: str
    made_unix_s: int

    def get_redirect_uri(self) -> str:
        """Where the code was sent."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """What was granted."""
        return self.scope

    def get_nonce(self) -> str | None:
        """What ties the ID token to the browser that asked (OpenID Connect Core 3.1.2.1)."""
        return self.nonce

    def get_auth_time(self) -> int:
        """When the user signed in."""
        return self.made_unix_s

    def get_acr(self) -> None:
        """No such class is told."""

    def get_amr(self) -> list[str]:
        """How: by password (RFC 8176)."""
        return ["pwd"]


_READER = frozenset({"openid", "profile", "email", "users.read", "orders.read", "catalog.read"})
_BUYER = _READER | {"users.write", "orders.write"}
_ALL = frozenset(SCOPES)

ACCOUNTS: Mapping[str, Account] = {
    "guest": Account(
        user_id="u-3", name="Guest", email="guest@example.com", password="guest-demo",  # noqa: S106 - a demo's
        plan="guest", roles=(), scopes=_READER,
    ),
    "premium": Account(
        user_id="u-1", name="Premium", email="premium@example.com", password="premium-demo",  # noqa: S106 - a demo's
        plan="premium", roles=("customer",), scopes=_BUYER,
    ),
    "admin": Account(
        user_id="u-2", name="Admin", email="admin@example.com", password="admin-demo",  # noqa: S106 - a demo's
        plan="standard", roles=("customer", "admin"), scopes=_ALL,
    ),
}  # fmt: skip

CLIENTS: Mapping[str, Client] = {
    "bff": Client(
        client_id="bff",
        secret="bff-secret",  # noqa: S106 - a demo's
        grants=frozenset({"authorization_code", "client_credentials"}),
        scopes=_ALL,
    ),
    "mobile": Client(
        client_id="mobile", secret=None, grants=frozenset({"authorization_code"}), scopes=_ALL
    ),
    "reports": Client(
        client_id="reports",
        secret="reports-secret",  # noqa: S106 - a demo's
        grants=frozenset({"client_credentials"}),
        scopes=_ALL,
        algorithm="ES256",
        roles=("service",),
    ),
}
