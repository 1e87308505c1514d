"""`python -m tests.support.render_errors`: writes docs/errors.md from the table of reasons.

tests/test_docs.py holds the page to the table, so neither moves alone.
"""

from pathlib import Path

from bff.core.status import MASKED_CODES, REASONS, Code, Row

__all__ = ["PAGE", "render_errors"]

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
in an aggregate's `problems` and in GraphQL's `extensions.reason`. Reasons are added, never renamed; some belong to
features that this version does not have, and cannot occur yet.

When a service refuses, its status decides: the HTTP status comes from its gRPC code (second table), and its own
`ErrorInfo` goes through. So does its message, except for the codes whose text could tell of a service's insides.
`RetryInfo` and `Retry-After` are there where waiting helps.
"""

_REASONS_HEAD = """
## Reasons of the gateway

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
    """The page as Markdown: reasons by HTTP status, then what services' codes become."""
    codes = {code.name for code in Code}
    own = {reason: row for reason, row in REASONS.items() if reason not in codes - {"INTERNAL"}}
    by_status = sorted(own.items(), key=lambda item: item[1].status)
    reasons = "".join(_reason_line(reason, row) for reason, row in by_status)
    services = "".join(_code_line(code) for code in Code if code is not Code.OK)
    return _HEAD + _REASONS_HEAD + reasons + _CODES_HEAD + services


def _reason_line(reason: str, row: Row) -> str:
    return f"| {row.status} | {row.code.name} | `{reason}` | {row.text} |\n"


def _code_line(code: Code) -> str:
    row = REASONS[code.name]
    shown = MASKED_CODES.get(code, "the service's own message")
    return f"| `{code.name}` | {row.status} | {shown} |\n"


if __name__ == "__main__":
    PAGE.write_text(render_errors(), encoding="utf-8")
