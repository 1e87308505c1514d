"""authlib's authorization server, fitted to Starlette, with the two grants we offer.

authlib ships this fitting for Flask and Django only. Tokens are RFC 9068 JWTs; the fields
`expires_in` (seconds, may be negative), `alg` and `audience` of a token request choose what a test
needs and belong to this demo, not to any standard.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from secrets import token_urlsafe
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Payload, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants import OpenIDCode
from joserfc import jwt
from starlette.datastructures import FormData, ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sample_services.identity_accounts import CLIENTS, SCOPES, Account, AuthorizationCode, Client
from sample_services.identity_keys import ALGORITHMS, KeyRing

__all__ = ["AUDIENCE", "FormRequest", "Provider"]

AUDIENCE = "https://api.example.com"  # whom tokens are for, unless the request says otherwise
_LIFETIME_S = 600
_MAX_LIFETIME_S = 86_400
_CODE_LIFETIME_S = 60
_MAX_CODES = 1000


class FormRequest(OAuth2Request):  # type: ignore[misc]  # authlib ships no types
    """A Starlette request with its form read already: authlib itself never awaits."""

    def __init__(self, request: Request, form: FormData) -> None:
        super().__init__(request.method, str(request.url), headers=request.headers)
        self.payload = _Payload(request.query_params, form)
        self._args = request.query_params
        self._form = form

    @property
    def args(self) -> Mapping[str, Any]:
        """The query."""
        return self._args

    @property
    def form(self) -> Mapping[str, Any]:
        """The form in the body."""
        return self._form


class _Payload(OAuth2Payload):  # type: ignore[misc]  # authlib ships no types
    def __init__(self, query: ImmutableMultiDict[str, str], form: FormData) -> None:
        self._lists: dict[str, list[Any]] = defaultdict(list)
        for name, value in [*query.multi_items(), *form.multi_items()]:
            self._lists[name].append(value)
        self._first = {name: values[0] for name, values in self._lists.items()}

    @property
    def data(self) -> dict[str, Any]:
        return self._first

    @property
    def datalist(self) -> dict[str, list[Any]]:
        return self._lists


class Provider(AuthorizationServer):  # type: ignore[misc]  # authlib ships no types
    """The authorization server: knows clients, keeps codes, signs tokens."""

    def __init__(self, *, issuer: str, keys: KeyRing) -> None:
        super().__init__(scopes_supported=SCOPES)
        self.issuer = issuer
        self.keys = keys
        self.codes: dict[str, AuthorizationCode] = {}
        self.register_grant(_ClientCredentials)
        self.register_grant(_Code, [_S256Only(required=True), _IdToken(self)])

    def query_client(self, client_id: str) -> Client | None:
        """The client of that id."""
        return CLIENTS.get(client_id)

    def save_token(self, token: object, request: object) -> None:
        """Nothing: the tokens carry all there is to know."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nothing: nobody listens."""

    def create_oauth2_request(self, request: FormRequest) -> FormRequest:
        """The request itself: the routes make it, since they may await its body."""
        return request

    def handle_response(
        self, status: int, body: str | dict[str, Any], headers: list[tuple[str, str]]
    ) -> Response:
        """The answer that authlib made, as one of Starlette."""
        fields = dict(headers)
        if isinstance(body, dict):
            return JSONResponse(body, status_code=status, headers=fields)
        return Response(body, status_code=status, headers=fields)

    def mint(
        self, request: FormRequest, *, account: Account | None, scope: str | None
    ) -> dict[str, Any]:
        """A token response (RFC 6749 5.1) for the authenticated client of the request."""
        client: Client = request.client
        granted = client.get_allowed_scope(scope)
        if account is not None:
            granted = " ".join(sorted(set(granted.split()) & account.scopes))
        lifetime_s = _lifetime_s(request.form)
        algorithm = _algorithm(request.form, client)
        key = self.keys.signing(algorithm)
        now_unix_s = _now_unix_s()
        whose = account or client
        claims = {
            "iss": self.issuer,
            "aud": request.form.get("audience", AUDIENCE),
            "sub": account.user_id if account else client.client_id,
            "client_id": client.client_id,
            # An expired token was made before it expired, or a strict reader refuses its iat.
            "iat": now_unix_s + min(2 * lifetime_s, 0),
            "exp": now_unix_s + lifetime_s,
            "jti": token_urlsafe(16),
            "scope": granted,
            "tenant_id": whose.tenant_id,
            "plan": whose.plan,
            "roles": list(whose.roles),
        }
        header = {"alg": algorithm, "typ": "at+jwt", "kid": key.kid}
        token = jwt.encode(header, claims, key, algorithms=[algorithm])
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": lifetime_s,
            "scope": granted,
        }


class _ClientCredentials(ClientCredentialsGrant):  # type: ignore[misc]  # authlib ships no types
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

    def generate_token(self, scope: str | None = None, **_unused: object) -> dict[str, Any]:
        made: dict[str, Any] = self.server.mint(self.request, account=None, scope=scope)
        return made


class _Code(AuthorizationCodeGrant):  # type: ignore[misc]  # authlib ships no types
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post", "none")

    def save_authorization_code(self, code: str, request: FormRequest) -> None:
        codes: dict[str, AuthorizationCode] = self.server.codes
        if len(codes) >= _MAX_CODES:
            del codes[next(iter(codes))]
        asked = request.payload.data
        codes[code] = AuthorizationCode(
            code=code,
            client_id=request.client.client_id,
            redirect_uri=asked["redirect_uri"],
            scope=request.scope,
            account=request.user,
            nonce=asked.get("nonce"),
            code_challenge=asked["code_challenge"],
            code_challenge_method=asked["code_challenge_method"],
            made_unix_s=_now_unix_s(),
        )

    def query_authorization_code(self, code: str, client: Client) -> AuthorizationCode | None:
        # Taken out at once, whatever comes of it: a code works for one try (RFC 6749 4.1.2).
        found: AuthorizationCode | None = self.server.codes.pop(code, None)
        if found is None or found.client_id != client.client_id:
            return None
        return found if _now_unix_s() < found.made_unix_s + _CODE_LIFETIME_S else None

    def delete_authorization_code(self, authorization_code: AuthorizationCode) -> None:
        """Done by the query."""

    def authenticate_user(self, authorization_code: AuthorizationCode) -> Account:
        return authorization_code.account

    def generate_token(
        self, user: Account | None = None, scope: str | None = None, **_unused: object
    ) -> dict[str, Any]:
        made: dict[str, Any] = self.server.mint(self.request, account=user, scope=scope)
        return made


class _S256Only(CodeChallenge):  # type: ignore[misc]  # authlib ships no types
    """RFC 7636 as RFC 9700 2.1.1 wants it: from every client, and never `plain`."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        asked = grant.request.payload.data
        if not asked.get("code_challenge") or not asked.get("code_challenge_method"):
            raise InvalidRequestError("code_challenge and code_challenge_method=S256 are required")
        super().validate_code_challenge(grant, redirect_uri)


class _IdToken(OpenIDCode):  # type: ignore[misc]  # authlib ships no types
    """Adds an ID token (OpenID Connect Core 3.1.3.3) where scope `openid` was granted."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(require_nonce=False)
        self._provider = provider

    def exists_nonce(self, nonce: str, _request: FormRequest) -> bool:
        return any(code.nonce == nonce for code in self._provider.codes.values())

    def get_client_claims(self, client: Client) -> dict[str, Any]:
        return {"iss": self._provider.issuer, "aud": [client.client_id]}

    def get_client_algorithm(self, client: Client) -> str:
        return client.algorithm

    def resolve_client_private_key(self, client: Client) -> object:
        return self._provider.keys.signing(client.algorithm)

    def get_encode_header(self, client: Client) -> dict[str, Any]:
        key = self._provider.keys.signing(client.algorithm)
        return {"alg": client.algorithm, "typ": "JWT", "kid": key.kid}

    def generate_user_info(self, user: Account, scope: str) -> dict[str, Any]:
        granted = scope.split()
        told: dict[str, Any] = {"sub": user.user_id}
        if "profile" in granted:
            told["name"] = user.name
        if "email" in granted:
            told |= {"email": user.email, "email_verified": True}
        return told


def _algorithm(form: Mapping[str, Any], client: Client) -> str:
    asked = str(form.get("alg", client.algorithm))
    if asked not in ALGORITHMS:
        raise InvalidRequestError(f"alg must be one of {', '.join(ALGORITHMS)}")
    return asked


def _lifetime_s(form: Mapping[str, Any]) -> int:
    try:
        asked_s = int(form.get("expires_in", _LIFETIME_S))
    except ValueError as error:
        raise InvalidRequestError("expires_in must be a number of seconds") from error
    if abs(asked_s) > _MAX_LIFETIME_S:
        raise InvalidRequestError(f"expires_in must be at most {_MAX_LIFETIME_S}")
    return asked_s


def _now_unix_s() -> int:
    return int(datetime.now(UTC).timestamp())
