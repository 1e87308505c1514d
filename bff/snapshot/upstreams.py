"""Upstreams of the configuration as running stacks, and methods as operations."""

import hashlib
from pathlib import Path

from bff.config.blocks import effective
from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.config.upstreams import Breaker, Retry, Upstream, UpstreamTls
from bff.core.errors import ConfigError
from bff.core.files import read_regular
from bff.core.problems import nearest
from bff.core.schema import Method
from bff.core.status import Code
from bff.snapshot.findings import Findings
from bff.snapshot.parts import Lease, Parts
from bff.upstream.call import UpstreamStack
from bff.upstream.upstream import (
    BreakerSettings,
    Endpoint,
    Operation,
    Repeat,
    RetrySettings,
    UpstreamSettings,
)
from bff.wire.grpcio import TlsSettings
from bff.wire.http2.lane import LaneSettings

__all__ = ["UpstreamCompiler", "read_tls", "tls_files"]

# Without `concurrency` written; the cap that an adaptive limit would have.
_DEFAULT_LIMIT = 200
# Certificates and keys; a bundle of all public authorities is a fifth of it.
_PEM_BYTES = 1 << 20


class UpstreamCompiler:
    """Stacks by upstream name, operations by (upstream, method path).

    `tls_digest` stands for what the files of `tls` hold: "" where no upstream has any.
    """

    def __init__(
        self, gateway: Placed[GatewayFile], parts: Parts, lease: Lease, find: Findings
    ) -> None:
        self._gateway = gateway
        self._find = find
        self._operations: dict[tuple[str, str], Operation] = {}
        self._retries: dict[RetrySettings | None, RetrySettings | None] = {}
        self.stacks: dict[str, UpstreamStack] = {}
        held = hashlib.sha256()
        for name, upstream in gateway.value.upstreams.items():
            settings = self._settings(name, upstream)
            if settings is not None:
                self.stacks[name] = parts.stack(settings, lease)
                if settings.tls is not None:
                    held.update(_held_by(name, settings.tls))
        is_any = any(isinstance(one.tls, UpstreamTls) for one in gateway.value.upstreams.values())
        self.tls_digest = held.hexdigest() if is_any else ""

    def _settings(self, name: str, upstream: Upstream) -> UpstreamSettings | None:
        retry = upstream.retry
        known = len(self._find.problems)
        tls = read_tls(self._gateway, name, upstream, self._find)
        if len(self._find.problems) > known:
            return None
        return UpstreamSettings(
            name=name,
            endpoints=tuple(Endpoint(e.target, float(e.weight)) for e in upstream.endpoints),
            balance=upstream.balance,
            limit=upstream.concurrency or _DEFAULT_LIMIT,
            bulkhead_wait_s=upstream.bulkhead.wait,
            budget=retry.budget if isinstance(retry, Retry) else 0.0,
            tls=tls,
            authority=tls.name if tls else None,
            transport=upstream.transport,
            lane=LaneSettings(
                connect_s=upstream.connect,
                keepalive_s=None if upstream.keepalive == "off" else upstream.keepalive,
                max_age_s=upstream.max_age,
                gzip=upstream.compression == "gzip",
                header_memo=upstream.header_memo,
                warm=upstream.warm,
            ),
        )

    def operation(self, upstream: str, method: Method, *, bound_to: str) -> Operation:
        """The operation of a method at an upstream; `bound_to` is an HTTP method, or "" for none.

        One value per upstream and method, so that breakers and figures are shared by all who call it.
        A method bound to GET anywhere is safe everywhere.
        """
        key = (upstream, method.path)
        known = self._operations.get(key)
        repeat = self._repeat(upstream, method, bound_to)
        if known is not None and (known.repeat == repeat or not bound_to):
            return known
        rules = self._gateway.value.upstreams[upstream]
        own = rules.operations.get(method.name)
        retry = _retry(rules.retry, own.retry if own is not None else None)
        operation = Operation(
            name=f"{upstream}.{method.name}",
            path=method.path,
            upstream=upstream,
            repeat=repeat,
            timeout_s=own.timeout if own is not None and own.timeout is not None else rules.timeout,
            retry=self._retries.setdefault(retry, retry),
            breaker=_breaker(rules.breaker, own.breaker if own is not None else None),
        )
        self._operations[key] = operation
        return operation

    def _repeat(self, upstream: str, method: Method, bound_to: str) -> Repeat:
        own = self._gateway.value.upstreams[upstream].operations.get(method.name)
        if own is not None and own.idempotent is not None:
            return "idempotent" if own.idempotent else "never"
        if method.idempotency == "no_side_effects" or bound_to in {"GET", "HEAD"}:
            return "always"
        if method.idempotency == "idempotent" or bound_to in {"PUT", "DELETE"}:
            return "idempotent"
        return "never"

    def check_operation_names(self, methods: dict[str, set[str]]) -> None:
        """Each name under `operations` is a method of a service that runs at that upstream."""
        for name, upstream in self._gateway.value.upstreams.items():
            known = methods.get(name)
            for written in upstream.operations if known is not None else ():
                if written in known:  # type: ignore[operator]  # the loop is empty where it is None
                    continue
                close = nearest(written, known or ())
                self._find.add(
                    self._gateway,
                    f"no service at {name} has a method {written}",
                    "upstreams",
                    name,
                    "operations",
                    written,
                    hint=f"did you mean {close}?" if close else "",
                )


def _retry(upstream: Retry | str, own: Retry | str | None) -> RetrySettings | None:
    if isinstance(own, str) or (own is None and isinstance(upstream, str)):
        return None
    levels = [level for level in (upstream, own) if isinstance(level, Retry)]
    merged = effective(Retry, *levels)
    return RetrySettings(
        attempts=merged.attempts,
        codes=frozenset(Code[name] for name in merged.codes),
        per_try_s=merged.per_try,
    )


def _breaker(upstream: Breaker | str, own: Breaker | str | None) -> BreakerSettings | None:
    if isinstance(own, str) or (own is None and isinstance(upstream, str)):
        return None
    levels = [level for level in (upstream, own) if isinstance(level, Breaker)]
    merged = effective(Breaker, *levels)
    return BreakerSettings(min_calls=merged.min_calls, failures=merged.failures, slow=merged.slow)


def _held_by(name: str, tls: TlsSettings) -> bytes:
    """Fixed length for each part, so that no two contents are one."""
    parts = (name.encode(), tls.ca or b"", tls.cert or b"", tls.key or b"")
    return b"".join(hashlib.sha256(part).digest() for part in parts)


def tls_files(gateway: Placed[GatewayFile]) -> list[Path]:
    """The files on disk that the `tls` of upstreams name; some may not exist."""
    found = []
    for name, upstream in gateway.value.upstreams.items():
        written = upstream.tls
        if isinstance(written, str):
            continue
        for key in ("ca", "cert"):
            text = getattr(written, key)
            if text:
                found.append(gateway.resolve(text, "upstreams", name, "tls", key))
        if written.key is not None and written.key.text.startswith("file:"):
            found.append(Path(written.key.text.removeprefix("file:")))
    return found


def read_tls(
    gateway: Placed[GatewayFile], name: str, upstream: Upstream, find: Findings
) -> TlsSettings | None:
    """The TLS settings of an upstream with its files and its key; None: clear text, or problems noted."""
    written = upstream.tls
    if isinstance(written, str):
        return None
    files: dict[str, bytes | None] = {}
    for key in ("ca", "cert"):
        text = getattr(written, key)
        files[key] = _read(gateway, name, key, text, find) if text else None
    try:
        private = written.key.resolve().encode() if written.key else None
    except ConfigError as error:
        for problem in error.problems:
            find.add(gateway, problem.message, "upstreams", name, "tls", hint=problem.hint)
        return None
    return TlsSettings(ca=files["ca"], name=written.name, cert=files["cert"], key=private)


def _read(
    gateway: Placed[GatewayFile], name: str, key: str, text: str, find: Findings
) -> bytes | None:
    path: Path = gateway.resolve(text, "upstreams", name, "tls", key)
    try:
        content = read_regular(path, _PEM_BYTES)
    except OSError as error:
        message = f"the file {text} cannot be read: {error.strerror}"
        find.add(gateway, message, "upstreams", name, "tls", key)
        return None
    if len(content) > _PEM_BYTES:
        message = f"the file {text} is larger than {_PEM_BYTES >> 20} MiB"
        find.add(gateway, message, "upstreams", name, "tls", key)
        return None
    return content
