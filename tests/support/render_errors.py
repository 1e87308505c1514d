"""`python -m tests.support.render_errors`: writes docs/errors.md from the table of reasons.

tests/test_docs.py holds the page to the table, so neither moves alone.
"""

from pathlib import Path

from bff.core.status import MASKED_CODES, REASONS, Code, Row

__all__ = ["PAGE", "TO_COME", "render_errors"]

# Reasons of what is not built; tests/test_docs.py looks whether the code has them by now.
TO_COME = frozenset(
    {
        "ADDRESS_DENIED", "ADMISSION", "BLOCKED", "BROWNOUT", "CERT_UNKNOWN", "COST_TOO_HIGH",
        "DENIED_BY_OPERATOR", "IDEMPOTENCY_KEY", "IN_PROGRESS", "KEY_REUSED", "OUTCOME_UNKNOWN",
        "PARTLY_DONE", "POLICY_UNAVAILABLE", "QUOTA_EXCEEDED", "SESSION_EXPIRED",
        "STORE_UNAVAILABLE", "SWITCHED_OFF", "UNKNOWN_VERSION", "VERSION_GONE",
    }
)  # fmt: skip

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"

_HEAD = """# Errors

Every way a request can end, from the table in [bff/core/status.py](../bff/core/status.py).
This page is generated: `python -m tests.support.render_errors` writes it.

A refusal's body is the error object of [AIP-193](https://google.aip.dev/193), on every front but GraphQL:

```json
{"error": {
  "code": 400,
  "message": "The query has a parameter that is not known.",
  "status": "INVALID_ARGUMENT",
  "details": [
    {"@type": "type.googleapis.com/google.rpc.ErrorInfo",
     "reason": "UNKNOWN_PARAMETER", "domain": "api.example.com", "metadata": {"parameter": "warehuse"}},
    {"@type": "type.googleapis.com/google.rpc.BadRequest",
     "fieldViolations": [{"field": "warehuse", "description": "is not known; did you mean warehouse?"}]},
    {"@type": "type.googleapis.com/google.rpc.RequestInfo",
     "requestId": "01a20103f08b776fb7fcaee226d04cb5"}]}}
```

`reason` is the word to program against; texts may change. The same word stands in the access log, in metrics,
in an aggregate's `problems` and in GraphQL's `extensions.reason`. Reasons are added, never renamed.

When a service refuses, its status decides: the HTTP status comes from its gRPC code
([codes of services](#codes-of-services)), and its own `ErrorInfo` goes through. So does its message, except for
the codes whose text could tell of a service's insides.
`RetryInfo` and `Retry-After` are there where waiting helps.
"""

_FORMS = """
## One error in every form

A service says NOT_FOUND, `no dish of this name`. By default the client reads, under 404:

```json
{"error": {"code": 404, "message": "no dish of this name", "status": "NOT_FOUND", "details": [
  {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "NOT_FOUND", "domain": "kitchen.example"},
  {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "request-1"}]}}
```

With `transcoding: {error_format: status}`, google.rpc.Status with the number of gRPC:

```json
{"code": 5, "message": "no dish of this name", "details": [
  {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "NOT_FOUND", "domain": "kitchen.example"},
  {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "request-1"}]}
```

With `error_format: problem`, or where `Accept` names `application/problem+json` (RFC 9457):

```json
{"type": "https://kitchen.example/problems/not-found", "title": "The service refused the request.",
 "status": 404, "detail": "no dish of this name", "instance": "/dishes/soup",
 "code": "NOT_FOUND", "reason": "NOT_FOUND", "request_id": "request-1"}
```

A client of Connect, details being messages in base64:

```json
{"code": "not_found", "message": "no dish of this name", "details": [
  {"type": "google.rpc.ErrorInfo", "value": "CglOT1RfRk9VTkQSD2tpdGNoZW4uZXhhbXBsZQ"},
  {"type": "google.rpc.RequestInfo", "value": "CglyZXF1ZXN0LTE"}]}
```

A client of gRPC-Web, in the last frame under HTTP 200, with `grpc-status-details-bin` behind it:

```text
grpc-status: 5
grpc-message: no dish of this name
```

The last frame of a stream has the error under `error`, in the route's form.

## What passes of a service's error

| part | passes |
|---|---|
| message | up to 1 KiB without control characters, for codes meant for clients ([which](#codes-of-services)) |
| message of other codes | where `show_errors: [UNAVAILABLE]` names the code; the log has it always |
| `ErrorInfo` | always; without one there is ours, its reason being the name of the code |
| `RetryInfo` | always; of a 429 or 503 it is `Retry-After` too, rounded up to seconds |
| `RequestInfo` | ours in its place, with the id that `x-request-id` has |
| `DebugInfo` | never |
| other details | with the message; one of an unknown type is `{"@type": "..", "value": "<base64>"}` |
| `www-authenticate` | never: a 401 has the challenge of the route |
| details that do not decode, or whose code is another than `grpc-status` | never; status and message stand |
| HTML of a proxy before the service | never: 503 `UPSTREAM_UNAVAILABLE` for its 429, 502, 503, 504, else 502 |

A service helps most by BadRequest: it passes as it is, and stands under `errors` in the form of RFC 9457.
"""

_REASONS_HEAD = """
## Reasons of the gateway

| HTTP | gRPC | reason | what the client reads |
|---|---|---|---|
"""

_TO_COME_HEAD = """
## Reasons to come

Words of features that this version does not have. Nothing ends with one of them yet.

| HTTP | gRPC | reason | what the client reads |
|---|---|---|---|
"""

_CODES_HEAD = """
## Codes of services

A service's status without an `ErrorInfo` goes by the name of its code.

| gRPC | HTTP | what the client reads |
|---|---|---|
"""


def render_errors() -> str:
    """The page as Markdown: reasons by HTTP status, what services' codes become, reasons to come."""
    codes = {code.name for code in Code}
    own = {reason: row for reason, row in REASONS.items() if reason not in codes - {"INTERNAL"}}
    by_status = sorted(own.items(), key=lambda item: item[1].status)
    reasons = "".join(_reason_line(*item) for item in by_status if item[0] not in TO_COME)
    to_come = "".join(_reason_line(*item) for item in by_status if item[0] in TO_COME)
    services = "".join(_code_line(code) for code in Code if code is not Code.OK)
    tables = _REASONS_HEAD + reasons + _CODES_HEAD + services + _TO_COME_HEAD + to_come
    return _HEAD + _FORMS + tables


def _reason_line(reason: str, row: Row) -> str:
    return f"| {row.status} | {row.code.name} | `{reason}` | {row.text} |\n"


def _code_line(code: Code) -> str:
    row = REASONS[code.name]
    shown = MASKED_CODES.get(code, "the service's own message")
    return f"| `{code.name}` | {row.status} | {shown} |\n"


if __name__ == "__main__":
    PAGE.write_text(render_errors(), encoding="utf-8")
