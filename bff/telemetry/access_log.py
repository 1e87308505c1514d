"""The access log: one JSON line per request, after its last byte, refused requests included.

The field list is a contract: fields are added, never renamed. Never bodies, headers, queries or tokens.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Literal

import msgspec
from msgspec import Struct

from bff.core.exchange import Request, UpstreamCall
from bff.core.ports import Clock, Random

__all__ = ["AccessLine", "AccessLog", "UserIdMode"]

UserIdMode = Literal["plain", "hash", "off"]

# A hostile path or host must not make a line that no log store takes.
MAX_TEXT = 1_024
MAX_NAME = 256
MAX_SOURCE = 128
MAX_CALLS = 64
# C1 controls, and the characters that break a line or turn the order of its text: shown raw, they
# forge what a reader of the log sees. (JSON escapes the C0 controls.)
_FORGING = dict.fromkeys([*range(0x80, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A)])


class AccessLine(Struct, frozen=True):
    """One line. None and "" mean: there was none. Times in milliseconds, sizes in bytes of bodies."""

    ts: str
    request_id: str
    trace_id: str
    span_id: str
    worker: int
    version: str
    client_ip: str
    client_app: str
    method: str
    host: str
    protocol: str
    path: str
    route_id: str | None
    path_template: str | None
    status_code: int
    stage: str | None
    reason: str | None
    detail: str | None
    user_id: str | None
    tenant_id: str | None
    auth_method: str
    upstream_service: str | None
    calls: list[UpstreamCall]
    latency_ms: float
    upstream_latency_ms: float | None
    bytes_in: int
    bytes_out: int
    aborted: bool
    partial: bool
    graphql_operation: str | None


class AccessLog:
    """Makes lines and gives them to `write` (a LineWriter's), about 4 us each on the event loop.

    `user_id` says how users appear: as they are, as a hash keyed with `hash_key` (the same in all
    workers, so that one user's lines can be found), or not at all.
    """

    def __init__(
        self,
        *,
        write: Callable[[bytes], None],
        clock: Clock,
        random: Random,
        worker: int = 0,
        user_id: UserIdMode = "plain",
        hash_key: bytes = b"",
    ) -> None:
        if user_id == "hash" and not 16 <= len(hash_key) <= 64:
            raise ValueError("hashing user ids needs a key of 16 to 64 bytes")
        self._write = write
        self._now_s = clock.now_s
        self._unix_s = clock.unix_s
        self._random = random.random
        self._worker = worker
        self._user_id = user_id
        self._hash_key = hash_key
        self._encode = msgspec.json.Encoder().encode
        # The text of the running second; most lines share it with the one before.
        self._second = -1
        self._second_text = ""

    def log(
        self,
        request: Request,
        *,
        status: int,
        route_id: str | None = None,
        path_template: str | None = None,
        upstream: str | None = None,
        version: str = "",
        stage: str | None = None,
        reason: str | None = None,
        bytes_in: int = 0,
        bytes_out: int = 0,
        aborted: bool = False,
        partial: bool = False,
        graphql_operation: str | None = None,
        client_app: str = "",
        share: float = 1.0,
    ) -> None:
        """Write the line of a request that has ended.

        `share` is the part of good requests to log (1.0 = all, 0.0 = errors only); a request that
        failed, broke off or was answered in part is always logged.
        """
        is_good = status < 400 and not aborted and not partial
        if share < 1.0 and is_good and self._random() >= share:
            return
        principal = request.principal
        calls = request.calls
        line = AccessLine(
            ts=self._timestamp(),
            request_id=request.request_id,
            trace_id=request.trace_id,
            span_id=request.span_id,
            worker=self._worker,
            version=version,
            client_ip=request.address,
            client_app=_shown(client_app, MAX_NAME),
            method=request.method[:32],
            host=_shown(request.host, MAX_TEXT),
            protocol=request.protocol,
            # A path names things; where a template stands for it, the template is enough.
            path=_shown(request.path, MAX_TEXT) if path_template is None else "",
            route_id=route_id,
            path_template=path_template,
            status_code=status,
            stage=stage,
            reason=reason,
            detail=_shown(request.detail, MAX_TEXT) or None,
            user_id=self._shown_user(principal.sub) if principal.sub else None,
            tenant_id=_shown(principal.tenant, MAX_NAME) or None,
            auth_method=principal.kind,
            upstream_service=upstream,
            calls=_shown_calls(calls) if calls else calls,
            latency_ms=int((self._now_s() - request.started_s) * 1_000_000) / 1000,
            upstream_latency_ms=_longest_ms(calls) if calls else None,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            aborted=aborted,
            partial=partial,
            graphql_operation=_shown(graphql_operation, MAX_NAME) if graphql_operation else None,
        )
        try:
            text = self._encode(line)
        except UnicodeEncodeError:
            # A claim may hold half a surrogate pair, which JSON text in UTF-8 cannot.
            text = self._encode(_encodable(line))
        self._write(text + b"\n")

    def _shown_user(self, user_id: str) -> str | None:
        if self._user_id == "plain":
            return _shown(user_id, MAX_NAME)
        if self._user_id == "off":
            return None
        return blake2b(
            user_id.encode("utf-8", "surrogatepass"), digest_size=16, key=self._hash_key
        ).hexdigest()

    def _timestamp(self) -> str:
        unix_s = self._unix_s()
        second = int(unix_s)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{self._second_text}{int((unix_s - second) * 1000):03d}Z"


def _shown(text: str, most: int) -> str:
    """A stranger's text as a line may have it: cut, and nothing that forges what is read."""
    text = text[:most]
    return text if text.isascii() else text.translate(_FORGING)


def _shown_calls(calls: list[UpstreamCall]) -> list[UpstreamCall]:
    # Most requests make few calls and none under a name of the client's.
    if len(calls) > MAX_CALLS:
        calls = calls[:MAX_CALLS]
    return [
        call
        if not (source := call.source) or (len(source) <= MAX_SOURCE and source.isascii())
        else msgspec.structs.replace(call, source=_shown(source, MAX_SOURCE))
        for call in calls
    ]


def _longest_ms(calls: list[UpstreamCall]) -> float:
    # Calls of one request run side by side, so their sum would exceed the request's own time.
    return calls[0].ms if len(calls) == 1 else max([call.ms for call in calls])


def _encodable(line: AccessLine) -> AccessLine:
    texts = {
        name: value.encode("utf-8", "replace").decode()
        for name in line.__struct_fields__
        if isinstance(value := getattr(line, name), str)
    }
    return msgspec.structs.replace(line, **texts, calls=[])
