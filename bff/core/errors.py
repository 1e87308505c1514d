"""Every error that travels inside the gateway. Each knows whose fault it is and what a stranger may read.

Foreign exceptions are translated into these where they enter. `pipeline.respond` alone turns them
into replies.
"""

from typing import Literal

from msgspec import Struct

from bff.core.problems import Problem
from bff.core.status import REASONS, RETRYABLE_CODES, Code, Row

__all__ = [
    "ClientError",
    "ConfigError",
    "DeniedError",
    "GatewayBug",
    "GatewayError",
    "LimitedError",
    "Origin",
    "Sent",
    "UpstreamError",
    "Violation",
]

# Where a failed attempt ended: the service answered so, the way there failed, or we never tried.
Origin = Literal["service", "wire", "local"]
# A request that is too large stays so.
_NEVER_SMALLER = frozenset({413, 431})
# What the service may have seen of the request; decides if a repeat is safe.
Sent = Literal["never", "refused", "maybe"]


class Violation(Struct, frozen=True):
    """One fault in a request: the field as the client spelled it (a JSON path), and what is wrong."""

    field: str
    description: str


class GatewayError(Exception):
    """A request that ends without its answer.

    `reason` is a key of `core.status.REASONS`, which gives status, code and sentence; `public`
    replaces the sentence; `detail` is for the log only. `metadata` goes into ErrorInfo,
    `headers` onto the reply.
    """

    def __init__(
        self,
        reason: str,
        public: str | None = None,
        *,
        detail: str = "",
        metadata: dict[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
        retry_after_s: float | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        row = REASONS[reason]
        super().__init__(f"{reason}: {detail or public or row.text}")
        self.reason = reason
        self.public = row.text if public is None else public
        self.detail = detail
        self.metadata = metadata or {}
        self.violations = violations
        self.retry_after_s = row.retry_after_s if retry_after_s is None else retry_after_s
        self.headers = headers

    @property
    def told_reason(self) -> str:
        """The reason that bodies show: the service's own word where it gave one."""
        return self.reason

    @property
    def told_code(self) -> Code:
        """The gRPC code that bodies show."""
        return self.code

    @property
    def is_retryable(self) -> bool:
        """Whether the same request, sent again later, may succeed."""
        return self.told_code in RETRYABLE_CODES and self.status not in _NEVER_SMALLER

    @property
    def row(self) -> Row:
        """Status and code of this reason."""
        return REASONS[self.reason]

    @property
    def status(self) -> int:
        """The HTTP status of the reply."""
        return self.row.status

    @property
    def code(self) -> Code:
        """The gRPC code of the reply."""
        return self.row.code


class ClientError(GatewayError):
    """The request itself is at fault (4xx); sending it again changes nothing."""


class DeniedError(GatewayError):
    """Who asks is not known, or may not (401, 403)."""


class LimitedError(GatewayError):
    """The caller has spent its tokens (429), or the limiter cannot answer (503)."""


class UpstreamError(GatewayError):
    """A call to a service ended without a reply message.

    `code` is the gRPC status of the attempt, `message` the service's own words (private unless the
    code's text may be shown), `details_bin` the undecoded `grpc-status-details-bin`, `upstream` the
    mapping's name of the service.
    """

    def __init__(
        self,
        reason: str,
        *,
        code: Code,
        message: str = "",
        origin: Origin = "service",
        sent: Sent = "maybe",
        details_bin: bytes = b"",
        upstream: str = "",
        detail: str = "",
        retry_after_s: float | None = None,
        pushback_ms: int | None = None,
    ) -> None:
        super().__init__(reason, detail=detail or message, retry_after_s=retry_after_s)
        self._code = code
        self.message = message
        self.origin: Origin = origin
        self.sent: Sent = sent
        self.details_bin = details_bin
        self.upstream = upstream
        self.pushback_ms = pushback_ms
        # The reason of the service's own ErrorInfo, once somebody has decoded it.
        self.service_reason = ""

    @property
    def told_reason(self) -> str:
        """The service's ErrorInfo reason, else ours."""
        return self.service_reason or self.reason

    @property
    def told_code(self) -> Code:
        """The service's status; for a fault on the way, which is ours to name, the reason's own code."""
        return self._code if self.origin == "service" else self.row.code

    @property
    def code(self) -> Code:
        """The status of the attempt, which may be finer than the reason's own code."""
        return self._code


class ConfigError(Exception):
    """A configuration that cannot run, with every problem found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} problem(s); first: {problems[0] if problems else ''}")
        self.problems = problems


class GatewayBug(GatewayError):
    """Something that cannot happen, happened; the log has the trace, the client a fixed sentence."""

    def __init__(self, detail: str) -> None:
        super().__init__("INTERNAL", detail=detail)
