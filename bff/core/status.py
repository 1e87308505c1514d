"""One table for every way a request can end: reason, gRPC code, HTTP status, and what the client reads.

REST, aggregates, GraphQL and the admin API all take their statuses from here; no status is written
elsewhere. A reason's own HTTP status wins over its code's (an upstream's NOT_FOUND has only the code).
"""

from enum import IntEnum

from msgspec import Struct

__all__ = [
    "HTTP_OF_CODE",
    "MASKED_CODES",
    "REASONS",
    "RETRYABLE_CODES",
    "Code",
    "Row",
    "http_of_code",
]


class Code(IntEnum):
    """gRPC status codes (github.com/grpc/grpc/blob/master/doc/statuscodes.md)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# google/rpc/code.proto, with FAILED_PRECONDITION as 400 (it is no HTTP precondition) and
# CANCELLED as 499, the status that proxies use for a client that left.
HTTP_OF_CODE: dict[Code, int] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}

# A service's own text for these may tell of its insides; the client reads our fixed sentence instead.
MASKED_CODES: dict[Code, str] = {
    Code.UNKNOWN: "The service failed.",
    Code.DEADLINE_EXCEEDED: "The service did not answer in time.",
    Code.UNIMPLEMENTED: "The service does not offer this operation.",
    Code.INTERNAL: "The service failed.",
    Code.UNAVAILABLE: "The service is not available now.",
    Code.DATA_LOSS: "The service failed.",
}

# Sending the same request again may help (google.aip.dev/194, and what limits and deadlines cut off).
RETRYABLE_CODES = frozenset(
    {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED, Code.ABORTED}
)


class Row(Struct, frozen=True):
    """How one reason ends a request: HTTP status, gRPC code, the sentence shown, Retry-After in seconds."""

    status: int
    code: Code
    text: str
    retry_after_s: int | None = None


def _rows(status: int, code: Code, /, **texts: str) -> dict[str, Row]:
    retry_after_s = 1 if status == 503 else None
    return {reason: Row(status, code, text, retry_after_s) for reason, text in texts.items()}


REASONS: dict[str, Row] = {
    **_rows(
        400,
        Code.INVALID_ARGUMENT,
        BAD_PATH="The request path is not valid.",
        INVALID_HEADER="A request header is not valid.",
        BAD_FORWARDED="The forwarding header is not valid.",
        MULTIPLE_CREDENTIALS="The request carries more than one credential.",
        VALIDATION_FAILED="The request is not valid.",
        UNKNOWN_VERSION="This API version is not known.",
        COST_TOO_HIGH="The request costs more than its limit can ever allow.",
        IDEMPOTENCY_KEY="The Idempotency-Key header is missing or not valid.",
        UNKNOWN_PARAMETER="The query has a parameter that is not known.",
        INVALID_PARAMETER="A query parameter is not valid.",
        TOO_MANY_PARAMETERS="The query has too many parameters.",
        INVALID_JSON="The request body is not valid JSON.",
        INVALID_CODING="The request body does not decode from its content coding.",
        INVALID_MESSAGE="The request body is no message of this protocol.",
        UNKNOWN_FIELD="The request body has a field that is not known.",
        INVALID_FIELD="A field has a value that does not fit.",
        DUPLICATE_FIELD="A field is given more than once.",
        FIELD_CONFLICT="A field is given two different values.",
        BODY_NOT_ALLOWED="This operation takes no request body.",
        TOO_DEEP="The request body is nested too deeply.",
        # GraphQL's own request errors (they have no HTTP life outside its front).
        GRAPHQL_PARSE_FAILED="The document does not parse.",
        GRAPHQL_VALIDATION_FAILED="The document does not fit the schema.",
        BAD_USER_INPUT="A variable or argument is not valid.",
        OPERATION_RESOLUTION_FAILURE="The operation to run is not clear.",
        LIMIT_EXCEEDED="The document is larger than its limits allow.",
        INTROSPECTION_DISABLED="Introspection is not open to this caller.",
    ),
    **_rows(
        401,
        Code.UNAUTHENTICATED,
        CREDENTIAL_MISSING="The request has no credential.",
        TOKEN_INVALID="The access token is not valid.",  # noqa: S106 - a sentence, no password
        KEY_INVALID="The API key is not valid.",
        CERT_UNKNOWN="The client certificate is not known.",
        SESSION_EXPIRED="The session is over.",
    ),
    **_rows(
        403,
        Code.PERMISSION_DENIED,
        FORBIDDEN="This caller may not do this.",
        INSUFFICIENT_SCOPE="The credential lacks a scope that this needs.",
        ADDRESS_DENIED="This address is not allowed.",
        DENIED_BY_OPERATOR="This caller is blocked.",
        CORS_DENIED="This origin is not allowed.",
        CSRF="The request could have been forged by another site.",
        BLOCKED="The request is blocked.",
    ),
    **_rows(404, Code.NOT_FOUND, NO_ROUTE="There is nothing at this path."),
    **_rows(410, Code.NOT_FOUND, VERSION_GONE="This version is gone."),
    **_rows(405, Code.UNIMPLEMENTED, METHOD_NOT_ALLOWED="This path does not take this method."),
    **_rows(501, Code.UNIMPLEMENTED, TRANSFER_CODING="This transfer coding is not supported."),
    **_rows(406, Code.INVALID_ARGUMENT, NOT_ACCEPTABLE="None of the accepted types can be sent."),
    **_rows(414, Code.INVALID_ARGUMENT, TARGET_TOO_LONG="The path or query is too long."),
    **_rows(
        415, Code.INVALID_ARGUMENT, UNSUPPORTED_MEDIA_TYPE="This content type is not supported."
    ),
    **_rows(417, Code.INVALID_ARGUMENT, EXPECTATION="This expectation is not supported."),
    **_rows(426, Code.INVALID_ARGUMENT, UPGRADE_REQUIRED="This operation needs an upgrade."),
    **_rows(408, Code.DEADLINE_EXCEEDED, BODY_TIMEOUT="The request body came too slowly."),
    **_rows(
        504,
        Code.DEADLINE_EXCEEDED,
        TIMEOUT="The service did not answer in time.",
        NO_TIME="Too little time was left to ask the service.",
    ),
    **_rows(
        409,
        Code.ABORTED,
        IN_PROGRESS="A request with this key is still running.",
        OUTCOME_UNKNOWN="The outcome of the first request with this key is unknown.",
    ),
    **_rows(422, Code.INVALID_ARGUMENT, KEY_REUSED="This key was used for another request."),
    **_rows(413, Code.RESOURCE_EXHAUSTED, BODY_TOO_LARGE="The request body is too large."),
    **_rows(
        431,
        Code.RESOURCE_EXHAUSTED,
        HEADERS_TOO_LARGE="The request headers are too large.",
        METADATA_TOO_LARGE="The request headers are too large for the service.",
    ),
    **_rows(
        429,
        Code.RESOURCE_EXHAUSTED,
        RATE_LIMITED="Too many requests; try again later.",
        QUOTA_EXCEEDED="The quota is used up.",
        TOO_MANY_FAILURES="Too many failed sign-ins; try again later.",
    ),
    **_rows(
        500,
        Code.INTERNAL,
        UNREPRESENTABLE="The answer cannot be written as JSON.",
        INTERNAL="The gateway failed.",
    ),
    **_rows(
        502,
        Code.INTERNAL,
        UPSTREAM_PROTOCOL="The service gave an answer that is not valid.",
        UPSTREAM_MESSAGE="The service gave an answer that cannot be read.",
        REPLY_TOO_LARGE="The answer of the service is too large.",
    ),
    **_rows(
        503,
        Code.UNAVAILABLE,
        OVERLOADED="The gateway is too busy.",
        SWITCHED_OFF="This operation is switched off.",
        AUTH_UNAVAILABLE="The identity provider is not available now.",
        POLICY_UNAVAILABLE="A policy cannot be checked now.",
        LIMITER_UNAVAILABLE="The limiter is not available now.",
        STORE_UNAVAILABLE="A store is not available now.",
        NO_ENDPOINT="The service has no endpoint now.",
        UPSTREAM_UNAVAILABLE="The service is not available now.",
        UPSTREAM_TLS="The service is not available now.",
        POOL_EXHAUSTED="The service is too busy.",
        BREAKER_OPEN="The service is failing; calls to it are paused.",
        BULKHEAD_FULL="The service is too busy.",
        ADMISSION="The service is too busy.",
    ),
    # Seen in the log only: nobody is there to read a reply.
    "CLIENT_GONE": Row(499, Code.CANCELLED, "The client left."),
    # Parts of an answer; they have no status of their own.
    "BROWNOUT": Row(503, Code.UNAVAILABLE, "This part is left out under load."),
    "DEPENDENCY": Row(503, Code.UNAVAILABLE, "A part that this one needs is missing."),
    "NO_INPUT": Row(200, Code.OK, "There was nothing to ask for."),
    "WHEN": Row(200, Code.OK, "The condition for this part does not hold."),
    "TOO_MANY_KEYS": Row(200, Code.OK, "More keys than one request may ask for."),
    "DUPLICATE_ENTITY": Row(502, Code.INTERNAL, "The service gave one entity twice."),
    "UNKNOWN_ENUM_VALUE": Row(502, Code.INTERNAL, "The service gave an enum value not known here."),
    "PARTLY_DONE": Row(503, Code.UNAVAILABLE, "Not every step was carried out."),
    # A service's status without an ErrorInfo of its own goes by the name of its code.
    **{
        code.name: Row(
            HTTP_OF_CODE[code], code, MASKED_CODES.get(code, "The service refused the request.")
        )
        for code in Code
        if code is not Code.OK and code is not Code.INTERNAL
    },
}


def http_of_code(code: int) -> int:
    """HTTP status for a gRPC code; codes that gRPC does not define count as UNKNOWN (500)."""
    try:
        return HTTP_OF_CODE[Code(code)]
    except ValueError:
        return 500
