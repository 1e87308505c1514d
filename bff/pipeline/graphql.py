"""What the GraphQL routes do: GraphQL over HTTP in, one operation through the line, GraphQL out.

Every call below a field goes through `call_inner`: its own permit, its own tokens, the upstream's
layers, exactly as REST. Statuses are those of GraphQL over HTTP: a document that is not executed is
400 for application/graphql-response+json and 200 for application/json, whose clients expect that.
"""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from bff.core.errors import ClientError, DeniedError
from bff.core.events import Noted, OperationEnded
from bff.core.exchange import Inputs, Json, Principal, Reply, Request, Ticket
from bff.core.headers import Headers
from bff.core.json_text import read_json
from bff.core.media import accept_of, accepts
from bff.gql.documents import DocumentCache
from bff.gql.execute import Result, execute
from bff.gql.limits import Caps
from bff.gql.schema import GqlSchema
from bff.pipeline.documents import Page
from bff.pipeline.outbound import call_inner
from bff.pipeline.query import query_text
from bff.pipeline.respond import public_message
from bff.pipeline.route import InnerOperation, Match, Tools, auth_of

__all__ = ["GraphqlFront", "GraphqlWork", "Introspection"]

Introspection = Literal["scope", "open", "off"]

_RESPONSE = "application/graphql-response+json"
_PLAIN = "application/json"
_NO_STORE = (b"cache-control", b"no-store")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_VARY = (b"vary", b"accept")
_ACCEPT_POST = ((b"accept-post", b"application/json"),)
_INTROSPECT_SCOPE = "graphql.introspect"
_CROSS_SITE = frozenset({b"cross-site", b"same-site"})
_encode = msgspec.json.Encoder().encode


class GraphqlFront(Struct, kw_only=True, eq=False):
    """The schema and what its two routes share."""

    schema: GqlSchema
    documents: DocumentCache
    caps: Caps
    body_cap_bytes: int
    operations: Mapping[str, InnerOperation]
    introspection: Introspection
    page: Page | None = None

    def may_introspect(self, principal: Principal) -> bool:
        """Whether this caller may read the schema."""
        if self.introspection == "scope":
            return _INTROSPECT_SCOPE in principal.scopes
        return self.introspection == "open"


class _Asked(Struct):
    """One request as GraphQL over HTTP reads it; without `query` the page is meant."""

    media_type: str
    query: str = ""
    operation_name: str | None = None
    variables: Mapping[str, Json] | None = None
    queries_only: bool = False
    wants_page: bool = False


class GraphqlWork(Struct, kw_only=True, eq=False):
    """POST (any operation) or GET (queries, and the page for browsers)."""

    front: GraphqlFront
    is_get: bool

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """Media types, forgery, parameters. Raises 400, 403, 406, 413, 415."""
        headers = request.headers
        if self.is_get and self.front.page is not None and _lists_html(headers):
            return Inputs(ticket=ticket, tree={"asked": _Asked(media_type="", wants_page=True)})
        _refuse_forgery(request)
        media_type = _negotiate(headers)
        parameters = self._from_query(request.query) if self.is_get else await self._body(request)
        query = _text_of(parameters, "query")
        if query is None:
            raise ClientError("INVALID_PARAMETER", "query is missing.")
        _object_of(parameters, "extensions")
        asked = _Asked(
            media_type=media_type,
            query=query,
            operation_name=_text_of(parameters, "operationName") or None,
            variables=_object_of(parameters, "variables"),
            queries_only=self.is_get,
        )
        return Inputs(ticket=ticket, tree={"asked": asked})

    async def _body(self, request: Request) -> dict[str, Json]:
        content_type = request.headers.get(b"content-type") or b""
        kind, _, parameters = content_type.lower().partition(b";")
        charset = parameters.replace(b" ", b"").replace(b'"', b"")
        if kind.strip() != b"application/json" or charset not in {b"", b"charset=utf-8"}:
            raise ClientError("UNSUPPORTED_MEDIA_TYPE", headers=_ACCEPT_POST)
        text = await request.read_body(self.front.body_cap_bytes)
        tree = read_json(text)
        if not isinstance(tree, dict):
            raise ClientError("INVALID_JSON", "The request body is not a JSON object.")
        return tree

    @staticmethod
    def _from_query(query: bytes) -> dict[str, Json]:
        parameters: dict[str, Json] = {}
        for pair in query.split(b"&"):
            key, _, value = pair.partition(b"=")
            name = query_text(key)
            if not name:
                continue
            if name in parameters:
                raise ClientError("INVALID_PARAMETER", f"{name} is given more than once.")
            parameters[name] = query_text(value)
        for name in ("variables", "extensions"):
            if name in parameters:
                parameters[name] = _json_parameter(name, parameters[name])
        return parameters

    async def fetch(self, request: Request, inputs: Inputs, match: Match, tools: Tools) -> Json:
        """Run the operation; each call below passes the line by itself."""
        asked: _Asked = inputs.tree["asked"]
        if asked.wants_page:
            return asked, None
        ticket = inputs.ticket
        front = self.front
        principal = ticket.permit.principal

        async def call(operation: str, tree: dict[str, Json], place: list[str | int]) -> Json:
            return await call_inner(
                front.operations[operation],
                tree,
                request=request,
                ticket=ticket,
                tools=tools,
                deadline_s=request.deadline_s,
                source=".".join(str(part) for part in place),
            )

        def on_bug(error: BaseException) -> None:
            fields = {"request_id": request.request_id, "error": repr(error)}
            tools.emit(Noted("bug", {**fields, "stage": "graphql"}))

        result = await execute(
            front.schema,
            asked.query,
            asked.operation_name,
            asked.variables,
            call=call,
            documents=front.documents,
            caps=front.caps,
            introspection=front.may_introspect(principal),
            queries_only=asked.queries_only,
            scope={"auth": auth_of(principal)},
            public_text=public_message,
            on_bug=on_bug,
        )
        # A name that no operation has is a stranger's text, not a name.
        if result.fault in _NAMED:
            request.graphql_operation = asked.operation_name or ""
        request.partial = bool(result.errors) and result.fault is None
        outcome = result.fault or ("partial" if result.errors else "ok")
        tools.emit(OperationEnded(outcome))
        if result.fault is not None:
            request.reason = _REASONS[result.fault]
        return asked, result, request.request_id

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """The GraphQL response, or the page."""
        asked: _Asked = answers[0]
        if asked.wants_page:
            page = self.front.page
            assert page is not None
            headers = [(b"content-type", page.content_type.encode()), _VARY, *page.headers]
            return Reply(200, headers, page.body)
        result: Result = answers[1]
        content_type = f"{asked.media_type}; charset=utf-8".encode()
        headers = [(b"content-type", content_type), _NO_STORE, _NOSNIFF, _VARY]
        status = _status(result, asked.media_type)
        if status == 405:
            headers.append((b"allow", b"POST"))
        body = result.body()
        if result.errors:
            body["extensions"] = {"request_id": answers[2]}
        return Reply(status, headers, _encode(body))


# Faults of JSON text in a parameter: the reason, and what to say of the parameter.
_JSON_FAULTS = {
    "INVALID_JSON": ("INVALID_PARAMETER", "is not valid JSON"),
    "DUPLICATE_FIELD": ("DUPLICATE_FIELD", "gives a key more than once"),
    "TOO_DEEP": ("TOO_DEEP", "is nested too deeply"),
}
# How far a document came whose operation was found by the name asked for.
_NAMED = frozenset({None, "method", "variables"})
_REASONS = {
    "limit": "LIMIT_EXCEEDED",
    "parse": "GRAPHQL_PARSE_FAILED",
    "validation": "GRAPHQL_VALIDATION_FAILED",
    "operation": "OPERATION_RESOLUTION_FAILURE",
    "variables": "BAD_USER_INPUT",
    "method": "METHOD_NOT_ALLOWED",
}


def _status(result: Result, media_type: str) -> int:
    """GraphQL over HTTP 6.4: by how far the document came, and by what the client understands."""
    if result.fault is None:
        return 200
    if result.fault == "method":
        return 405
    if result.fault == "limit" or media_type == _RESPONSE:
        return 400
    return 200


def _lists_html(headers: Headers) -> bool:
    accept = accept_of(headers)
    return accept is not None and b"text/html" in accept.lower()


def _negotiate(headers: Headers) -> str:
    """The reply's media type. Raises NOT_ACCEPTABLE naming both."""
    accept = accept_of(headers)
    if accept is None:
        return _PLAIN
    by_name = accepts(accept, _RESPONSE, by_name=True)
    plain = accepts(accept, _PLAIN)
    if by_name > 0 and by_name >= accepts(accept, _PLAIN, by_name=True):
        return _RESPONSE
    if plain > 0:
        return _PLAIN
    if by_name > 0:
        return _RESPONSE
    raise ClientError("NOT_ACCEPTABLE", f"The reply is {_RESPONSE} or {_PLAIN}.")


def _refuse_forgery(request: Request) -> None:
    """Fetch Metadata says whether another site's page sends this. Raises 403 CSRF."""
    headers = request.headers
    site = headers.get(b"sec-fetch-site")
    origin = headers.text(b"origin")
    foreign = origin is not None and _host_of(origin) != request.host
    if site is not None:
        if site in _CROSS_SITE and (foreign or origin is None):
            raise DeniedError("CSRF")
        return
    if foreign:
        raise DeniedError("CSRF")
    cookie = headers.get(b"cookie")
    if cookie is not None and origin is None and headers.get(b"x-requested-with") is None:
        raise DeniedError("CSRF")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        # No browser sends this; what cannot be read is nobody's own page.
        return ""


def _text_of(parameters: Mapping[str, Json], name: str) -> str | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong_type(name, "a string")
    return value


def _object_of(parameters: Mapping[str, Json], name: str) -> dict[str, Json] | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, dict):
        raise _wrong_type(name, "an object")
    return value


def _wrong_type(name: str, kind: str) -> ClientError:
    return ClientError("INVALID_PARAMETER", f"{name} must be {kind}.", metadata={"parameter": name})


def _json_parameter(name: str, text: str) -> Json:
    try:
        return read_json(text.encode())
    except ClientError as error:
        reason, what = _JSON_FAULTS[error.reason]
        raise ClientError(
            reason,
            f"{name} {what}.",
            metadata={**error.metadata, "parameter": name},
            violations=error.violations,
            detail=error.detail,
        ) from error
