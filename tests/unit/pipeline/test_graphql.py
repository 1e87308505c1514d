"""GraphQL over HTTP: forgery, parameters of a GET, and the name that is logged."""

import json
from typing import Any, cast
from urllib.parse import quote

import pytest

from bff.core.errors import ClientError, DeniedError
from bff.core.exchange import ANONYMOUS, Inputs, Permit, Request, Ticket
from bff.gql.documents import DocumentCache
from bff.gql.limits import Caps
from bff.pipeline.graphql import GraphqlFront, GraphqlWork
from tests.support.plain_request import plain_request
from tests.support.shop_graphql import schema_of

TICKET = Ticket(Permit(ANONYMOUS))
NOTHING = cast("Any", None)


class Listener:
    """The one tool that an operation without calls needs."""

    def emit(self, _event: object) -> None:
        """Hear it."""


def work(*, is_get: bool) -> GraphqlWork:
    schema, caps = schema_of(), Caps()
    front = GraphqlFront(
        schema=schema,
        documents=DocumentCache(schema=schema.schema, caps=caps),
        caps=caps,
        body_cap_bytes=1_000,
        operations={},
        introspection="off",
    )
    return GraphqlWork(front=front, is_get=is_get)


def a_request(query: bytes = b"", body: bytes = b"", **headers: str) -> Request:
    return plain_request(
        "GET" if query else "POST",
        "/graphql",
        query=query,
        headers={"content-type": "application/json", **headers},
        body=body,
        host="shop.example:8080",
    )


BODY = b'{"query":"{__typename}"}'


@pytest.mark.rule("graphql.7.6")
@pytest.mark.parametrize(
    "origin", ["http://[", "http://[::1", "http://]", "null", "[", "https://evil.example", "//["]
)
async def test_an_origin_that_is_foreign_or_junk_is_forgery(origin: str) -> None:
    with pytest.raises(DeniedError) as refused:
        await work(is_get=False).validate(a_request(body=BODY, origin=origin), TICKET, NOTHING)

    assert refused.value.reason == "CSRF"


async def test_the_own_origin_may_ask() -> None:
    request = a_request(body=BODY, origin="http://shop.example:8080")

    inputs = await work(is_get=False).validate(request, TICKET, NOTHING)

    assert inputs.tree["asked"].query == "{__typename}"


# JSON, reason.
JSON_FAULTS = {
    "deep list": ("[" * 3_000 + "]" * 3_000, "TOO_DEEP"),
    "deep object": ('{"a":' * 3_000 + "1" + "}" * 3_000, "TOO_DEEP"),
    "doubled key": ('{"a":1,"a":2}', "DUPLICATE_FIELD"),
    "doubled key below": ('{"a":{"b":1,"\\u0062":2}}', "DUPLICATE_FIELD"),
    "no JSON": ("{", "INVALID_PARAMETER"),
    "no object": ("[]", "INVALID_PARAMETER"),
}


@pytest.mark.rule("graphql.7.5")
@pytest.mark.parametrize("name", ["variables", "extensions"])
@pytest.mark.parametrize(("text", "reason"), JSON_FAULTS.values(), ids=JSON_FAULTS)
async def test_json_in_a_parameter_is_judged_as_a_body_is(
    name: str, text: str, reason: str
) -> None:
    query = f"query={{__typename}}&{name}={quote(text)}".encode()

    with pytest.raises(ClientError) as refused:
        await work(is_get=True).validate(a_request(query), TICKET, NOTHING)

    error = refused.value
    assert (error.status, error.reason) == (400, reason)
    assert error.metadata["parameter"] == name
    assert error.public.startswith(name)


async def test_variables_of_a_get_arrive() -> None:
    query = b"query=%7B__typename%7D&variables=%7B%22a%22:+%5B1%5D%7D"

    inputs = await work(is_get=True).validate(a_request(query), TICKET, NOTHING)

    assert inputs.tree["asked"].variables == {"a": [1]}


TWO = "query A { __typename } query B { __typename }"


@pytest.mark.rule("control.OB8")
@pytest.mark.parametrize(
    ("document", "name", "logged"),
    [
        pytest.param(TWO, "B", "B", id="there"),
        pytest.param(TWO, "secret text of a stranger", "", id="not there"),
        pytest.param("query B {", "B", "", id="not parsed"),
        pytest.param("query B { none }", "B", "", id="not valid"),
        pytest.param("{ __typename }", None, "", id="no name"),
        pytest.param("query B($a: Int!) { __typename }", "B", "", id="not valid either"),
    ],
)
async def test_only_a_name_that_the_document_has_is_logged(
    document: str, name: str | None, logged: str
) -> None:
    body = json.dumps({"query": document, "operationName": name}).encode()
    request = a_request(body=body)
    front = work(is_get=False)
    inputs: Inputs = await front.validate(request, TICKET, NOTHING)

    await front.fetch(request, inputs, NOTHING, cast("Any", Listener()))

    assert request.graphql_operation == logged
