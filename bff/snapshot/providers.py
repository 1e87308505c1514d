"""Who can say who calls: issuers of tokens and the file of API keys, as one authenticator."""

import hashlib

from bff.auth.api_keys import ApiKeys
from bff.auth.authenticator import Authenticator, Issuer
from bff.auth.jwt import IssuerRules, JwtVerifier
from bff.auth.key_file import FILE_BYTES, parse_key_file
from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.core.errors import ConfigError
from bff.core.files import read_regular
from bff.ratelimit.address_buckets import AddressBuckets
from bff.snapshot.findings import Findings
from bff.snapshot.parts import Lease, Parts

__all__ = ["ProviderCompiler"]


class ProviderCompiler:
    """Compiles the providers of one version. `find` notes what is wrong, `failures` counts refusals by address."""

    def __init__(
        self,
        gateway: Placed[GatewayFile],
        parts: Parts,
        lease: Lease,
        find: Findings,
        failures: AddressBuckets,
    ) -> None:
        self._gateway = gateway
        self._parts = parts
        self._lease = lease
        self._find = find
        self._failures = failures
        self._auth = gateway.value.auth
        # Empty until `compile` has read the file.
        self.key_file_digest = ""

    def compile(self) -> Authenticator | None:
        """None where no provider is configured."""
        if not self._auth.has_provider:
            return None
        issuers = []
        for name in self._auth.issuers:
            issuer = self._issuer(name)
            if issuer is not None:
                issuers.append(issuer)
        keys = self._api_keys()
        failures = self._failures

        def note_failure(address: str) -> None:
            failures.allow(address)

        try:
            return Authenticator(
                realm=self._gateway.value.gateway.name,
                issuers=issuers,
                api_keys=keys,
                clock=self._parts.clock,
                emit=self._parts.emit,
                tokens=self._parts.tokens,
                allow_attempt=failures.has_token,
                note_failure=note_failure,
            )
        except ValueError as error:
            self._find.add(self._gateway, str(error), "auth", "issuers")
            return None

    def _issuer(self, name: str) -> Issuer | None:
        written = self._auth.issuers[name]
        claims = written.claims
        try:
            rules = IssuerRules(
                name=name,
                issuer=written.issuer,
                audience=tuple(written.audience),
                algorithms=tuple(written.algorithms),
                typ=tuple(one.lower().removeprefix("application/") for one in written.typ),
                require=tuple(written.require),
                exp_skew_s=written.exp_skew,
                tenant_claim=claims.tenant or "",
                tier_claim=claims.tier or "",
                roles_claim=claims.roles,
                client_id_claim=claims.client_id,
                tier_map=written.tier_map,
            )
            verifier = JwtVerifier(rules=rules, clock=self._parts.clock)
            source = self._parts.key_source(
                name=name,
                issuer=written.issuer,
                url=written.jwks or "",
                stale_limit_s=written.stale_limit,
                lease=self._lease,
            )
        except ValueError as error:
            self._find.add(self._gateway, str(error), "auth", "issuers", name)
            return None
        return Issuer(verifier, source)

    def _api_keys(self) -> ApiKeys | None:
        written = self._auth.api_keys
        if written is None:
            return None
        path = self._gateway.resolve(written.file, "auth", "api_keys", "file")
        try:
            pepper = written.pepper.resolve().encode() if written.pepper is not None else b""
            content = read_regular(path, FILE_BYTES)
            self.key_file_digest = hashlib.sha256(content).hexdigest()
            records = parse_key_file(content.decode("utf-8-sig"), file=str(path))
            return ApiKeys(records=records, pepper=pepper, clock=self._parts.clock)
        except OSError as error:
            reason = error.strerror
            self._find.add(
                self._gateway,
                f"the key file {written.file} cannot be read: {reason}",
                "auth",
                "api_keys",
                "file",
                hint="`bff keys create` makes one",
            )
        except ConfigError as error:
            for problem in error.problems:
                if problem.where.file:
                    self._find.note(problem)
                else:
                    # The pepper's: a secret has no place of its own.
                    self._find.add(
                        self._gateway, problem.message, "auth", "api_keys", hint=problem.hint
                    )
        except ValueError as error:
            self._find.add(self._gateway, f"{written.file}: {error}", "auth", "api_keys", "file")
        return None
