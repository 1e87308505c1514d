"""Who calls: from a request's headers to a Principal, or 401.

Two ways in. `authenticate_now` answers what needs no waiting (no credential, a token verified
before, an API key); only where it returns None does `authenticate` run the full verification.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from bff.auth.api_keys import ApiKeys
from bff.auth.challenges import Challenges
from bff.auth.credentials import Credential, find_credential
from bff.auth.faults import CredentialFault, KeyFault, TokenFault, UnknownKeyFault
from bff.auth.jwks import KeySource
from bff.auth.jwt import JwtVerifier, Token, parse_token
from bff.auth.token_cache import IssuerState, TokenCache
from bff.core.errors import ClientError, DeniedError, LimitedError
from bff.core.events import AuthFailed, Emit
from bff.core.exchange import ANONYMOUS, Principal
from bff.core.headers import Headers
from bff.core.ports import Clock

__all__ = ["Authenticator", "Issuer"]

# For logs and metrics, where no provider can be named.
_UNKNOWN_PROVIDER: Final = ""


class Issuer(Struct, frozen=True):
    """One trusted issuer: its checks and where its keys come from."""

    verifier: JwtVerifier
    keys: KeySource


def _always(_address: str) -> bool:
    return True


def _ignore(_address: str) -> None:
    return None


class Authenticator:
    """The authenticate stage of one configuration.

    `realm` is the gateway's name. `tokens` may be handed from one configuration to the next: its
    entries die with the rules they rest on. `allow_attempt(address)` is asked before a credential
    is checked, `note_failure(address)` told of each refusal (the failed-credential bucket).
    Raises ValueError if two issuers share a name or an `iss`.
    """

    def __init__(
        self,
        *,
        realm: str = "bff",
        issuers: Sequence[Issuer] = (),
        api_keys: ApiKeys | None = None,
        clock: Clock,
        emit: Emit,
        tokens: TokenCache | None = None,
        allow_attempt: Callable[[str], bool] = _always,
        note_failure: Callable[[str], None] = _ignore,
    ) -> None:
        self._challenges = Challenges(realm)
        self._issuers = {one.verifier.rules.issuer: one for one in issuers}
        states = {
            one.verifier.rules.name: IssuerState(one.verifier.policy, one.keys.live)
            for one in issuers
        }
        if len(self._issuers) != len(issuers) or len(states) != len(issuers):
            raise ValueError("two issuers share a name or an `iss`")
        self._api_keys = api_keys
        self._emit = emit
        self._tokens = TokenCache(clock=clock) if tokens is None else tokens
        self._tokens.bind(states)
        self._cached = self._tokens.get
        self._allow_attempt = allow_attempt
        self._note_failure = note_failure

    def authenticate_now(self, headers: Headers, address: str) -> Principal | None:
        """The caller if no waiting is needed; None means: await `authenticate`.

        Raises DeniedError (401), ClientError (400, two credentials), LimitedError (429).
        """
        credential = self._find(headers)
        if credential is None:
            return ANONYMOUS
        if credential.kind == "bearer":
            return self._cached(credential.digest)
        return self._judge_key(credential, address)

    async def authenticate(self, headers: Headers, address: str) -> Principal:
        """The caller, fully verified.

        Raises DeniedError (401), ClientError (400), LimitedError (429), and GatewayError
        AUTH_UNAVAILABLE (503) when the issuer's keys cannot be had.
        """
        principal = self.authenticate_now(headers, address)
        if principal is not None:
            return principal
        credential = self._find(headers)
        # authenticate_now returns None for bearer tokens alone.
        assert credential is not None
        self._check_attempts(address)
        cause = self._tokens.refusal(credential.digest)
        if cause is not None:
            raise self._denied("TOKEN_INVALID", _UNKNOWN_PROVIDER, cause, address)
        return await self._judge_token(credential, address)

    def _find(self, headers: Headers) -> Credential | None:
        try:
            return find_credential(headers)
        except ClientError as error:
            error.headers = self._challenges.invalid_request
            raise

    async def _judge_token(self, credential: Credential, address: str) -> Principal:
        provider = _UNKNOWN_PROVIDER
        try:
            token = parse_token(credential.text)
            issuer = self._issuer_of(token)
            provider = issuer.verifier.rules.name
            return await self._verify(credential.digest, token, issuer)
        except TokenFault as fault:
            if fault.lasting:
                self._tokens.put_refusal(credential.digest, fault.cause, issuer=provider)
            raise self._denied("TOKEN_INVALID", provider, fault.cause, address) from fault

    def _issuer_of(self, token: Token) -> Issuer:
        # Not yet believed: it only chooses whose keys and rules must confirm it.
        iss = token.claims.get("iss")
        issuer = self._issuers.get(iss) if isinstance(iss, str) else None
        if issuer is None:
            raise TokenFault("issuer is not known")
        return issuer

    async def _verify(self, digest: bytes, token: Token, issuer: Issuer) -> Principal:
        verifier = issuer.verifier
        verifier.check_header(token)
        keys = issuer.keys.keys()
        try:
            key = verifier.check_signature(token, keys)
        except UnknownKeyFault as fault:
            # A token that its claims refuse anyway must not make us fetch.
            verifier.check_claims(token)
            fresh = await issuer.keys.keys_with(fault.kid)
            if fresh is None:
                raise
            keys = fresh
            key = verifier.check_signature(token, keys)
        principal = verifier.check_claims(token)
        self._tokens.put(
            digest, principal, issuer=verifier.rules.name, thumbprint=key.thumbprint, keys=keys
        )
        return principal

    def _judge_key(self, credential: Credential, address: str) -> Principal:
        if credential.kind == "bad":
            self._check_attempts(address)
            raise self._denied(
                "TOKEN_INVALID", _UNKNOWN_PROVIDER, "not a bearer credential", address
            )
        try:
            if self._api_keys is None:
                raise KeyFault("no API keys are configured")
            principal = self._api_keys.remembered(credential.text, address)
            if principal is None:
                self._check_attempts(address)
                principal = self._api_keys.verify(credential.text, address)
        except CredentialFault as fault:
            raise self._denied("KEY_INVALID", "api_keys", fault.cause, address) from fault
        return principal

    def _check_attempts(self, address: str) -> None:
        if not self._allow_attempt(address):
            raise LimitedError("TOO_MANY_FAILURES", retry_after_s=60)

    def _denied(self, reason: str, provider: str, cause: str, address: str) -> DeniedError:
        self._note_failure(address)
        self._emit(AuthFailed(provider, reason, cause))
        return DeniedError(reason, detail=cause, headers=self._challenges.invalid_token)
