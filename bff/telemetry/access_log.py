"""The access log: one JSON line per request, after its last byte, refused requests included.

The field list is a contract: fields are added, never renamed. Never bodies, headers, queries or tokens.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Literal

import msgspec
from msgspec import Struct

from bff.core.exchange import Principal, Request, UpstreamCall
from bff.core.ports import Clock, Random

__all__ = ["AccessLine", "AccessLog", "UserIdMode"]

UserIdMode = Literal["plain", "hash", "off"]

# A hostile path or host must not make a line that no log store takes.
MAX_TEXT = 1_024
MAX_NAME = 256
MAX_SOURCE = 128
MAX_CALLS = 64
# Prepared lines, and strangers' texts as JSON, that are kept.
MAX_FORMS = 4_096
MAX_TEXTS = 4_096
_NOBODY = '"user_id":null,"tenant_id":null,"auth_method":"anonymous"'
_FormKey = tuple[str, str, str | None, str, str, str]
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
    """Makes lines and gives them to `write` (a LineWriter's).

    A good request's line is a prepared text with some 20 places to fill; any other is
    encoded field by field. Both are the same line: tests hold the one to the other.

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
        self._forms: dict[_FormKey, str] = {}
        self._texts: dict[str, str] = {}
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
        calls = request.calls
        if (
            is_good
            and reason is None
            and stage is None
            and len(calls) == 1
            and not calls[0].source
            and graphql_operation is None
            and not client_app
            and not request.detail
            and route_id is not None
            and path_template is not None
        ):
            key = (
                route_id,
                path_template,
                upstream,
                version,
                calls[0].operation,
                calls[0].upstream,
            )
            form = self._forms.get(key) or self._new_form(key)
            self._write(self._fill(form, request, status, bytes_in, bytes_out))
            return
        principal = request.principal
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

    def _new_form(self, key: "_FormKey") -> str:
        """The line of good requests of one route, with places for what differs."""
        route_id, path_template, upstream, version, operation, called = key
        shown = self._text
        form = (
            '{"ts":"%s","request_id":"%s","trace_id":"%s","span_id":"%s",'
            f'"worker":{self._worker},"version":{shown(version)},'
            '"client_ip":%s,"client_app":"","method":"%s","host":%s,"protocol":"%s","path":"",'
            f'"route_id":{shown(route_id)},"path_template":{shown(path_template)},'
            '"status_code":%d,"stage":null,"reason":null,"detail":null,%s,'
            f'"upstream_service":{shown(upstream)},'
            f'"calls":[{{"operation":{shown(operation)},"upstream":{shown(called)},'
            '"code":"%s","ms":%s,"attempts":%d,"source":""}],'
            '"latency_ms":%s,"upstream_latency_ms":%s,"bytes_in":%d,"bytes_out":%d,'
            '"aborted":false,"partial":false,"graphql_operation":null}\n'
        )
        if len(self._forms) >= MAX_FORMS:
            del self._forms[next(iter(self._forms))]
        self._forms[key] = form
        return form

    def _text(self, value: str | None) -> str:
        """A value as JSON that may stand inside a form."""
        return self._encode(value).decode().replace("%", "%%")

    def _fill(
        self, form: str, request: Request, status: int, bytes_in: int, bytes_out: int
    ) -> bytes:
        principal = request.principal
        call = request.calls[0]
        ms = repr(call.ms)
        who = _NOBODY
        if principal.kind != "anonymous":
            who = principal.memo.get(self) or self._who(principal)
        line = form % (
            self._timestamp(),
            request.request_id,
            request.trace_id,
            request.span_id,
            self._quoted(request.address),
            request.method[:32],
            self._quoted(request.host),
            request.protocol,
            status,
            who,
            call.code,
            ms,
            call.attempts,
            repr(int((self._now_s() - request.started_s) * 1_000_000) / 1000),
            ms,
            bytes_in,
            bytes_out,
        )
        return line.encode()

    def _quoted(self, text: str) -> str:
        """A stranger's text as JSON; few differ, so they are kept."""
        kept = self._texts.get(text)
        if kept is None:
            kept = self._encode(_shown(text, MAX_TEXT)).decode()
            if len(self._texts) >= MAX_TEXTS:
                del self._texts[next(iter(self._texts))]
            self._texts[text] = kept
        return kept

    def _who(self, principal: Principal) -> str:
        """The caller's fields, kept with the caller."""
        user = self._shown_user(principal.sub) if principal.sub else None
        tenant = _shown(principal.tenant, MAX_NAME) or None
        who = '"user_id":%s,"tenant_id":%s,"auth_method":"%s"' % (  # noqa: UP031 - as the form's
            self._json_or_replaced(user),
            self._json_or_replaced(tenant),
            principal.kind,
        )
        principal.memo[self] = who
        return who

    def _json_or_replaced(self, text: str | None) -> str:
        try:
            return self._encode(text).decode()
        except UnicodeEncodeError:
            assert text is not None
            return self._encode(text.encode("utf-8", "replace").decode()).decode()

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
    calls = [
        msgspec.structs.replace(call, source=call.source.encode("utf-8", "replace").decode())
        for call in line.calls
    ]
    texts = {
        name: value.encode("utf-8", "replace").decode()
        for name in line.__struct_fields__
        if isinstance(value := getattr(line, name), str)
    }
    return msgspec.structs.replace(line, **texts, calls=calls)
