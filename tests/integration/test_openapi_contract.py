"""The OpenAPI document against the running gateway: its examples bind, and its replies are as it says.

The second half lets schemathesis make requests of the document. What comes back must be told of
there: status, media type, schema; and no 5xx, since nothing is broken.
"""

import asyncio
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.gateway import GatewayProcess, bearer
from tests.support.openapi_examples import example_requests
from tests.support.samples import SampleServices

_SETTINGS = settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
_CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_KNOWN = {
    "order_id": ["o-1", "o-2", "o-81"],
    "user_id": ["u-1", "u-2"],
    "product_id": ["p-1", "p-2"],
}
# As fast as one machine asks: what is told of is the contract, not the limits.
_UNLIMITED = {
    "tiers": dict.fromkeys(("guest", "standard", "premium"), "10000/s"),
    "limits": {
        "orders-per-user": {"rate": "10000/s"},
        "tenant-per-route": {"rate": "10000/s"},
    },
    "limiter": {"per_address": {"rate": "10000/s", "burst": 10_000}},
}
# All orders of a conversation are told of before it ends; a stream that only waits teaches nothing.
_QUICK = {"stream": {"first_wait": "100ms", "idle": "300ms", "max_duration": "1s"}}


@pytest.fixture(scope="module")
def store() -> Iterator[SampleServices]:
    """Services of our own: what is made and changed here is nobody else's."""
    with SampleServices() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    store: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, store, changes={**_UNLIMITED, **_QUICK}) as running:
        yield running


@pytest.fixture(scope="module")
def document(gateway: GatewayProcess) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{gateway.url}/openapi.json", verify=False).json()
    return found


@pytest.fixture(scope="module")
def caller(store: SampleServices) -> dict[str, str]:
    """Somebody who may do everything."""
    return bearer(asyncio.run(store.user_token("admin")))


@pytest.mark.rule("transcoding.163")
def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


async def test_the_document_has_a_strong_validator(gateway: GatewayProcess) -> None:
    async with gateway.client() as http:
        first = await http.get("/openapi.json")
        etag = first.headers["etag"]
        known = await http.get("/openapi.json", headers={"if-none-match": etag})
        other = await http.get("/openapi.json", headers={"if-none-match": '"other"'})

    assert etag.startswith('"')
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.rule("transcoding.165")
async def test_every_example_request_is_bound(
    gateway: GatewayProcess, document: dict[str, Any], caller: dict[str, str]
) -> None:
    """A service may refuse an example, which knows no order of its own; the gateway does not."""
    requests = list(example_requests(document))
    assert len(requests) > 15

    async with gateway.client() as http:
        for sent in requests:
            reply = await http.request(
                sent.method, sent.target, content=sent.body, headers={**caller, **sent.headers}
            )
            if reply.status_code == 426:
                # Both ways at once needs HTTP/2, whatever is asked.
                continue
            line = await gateway.access_line(reply)
            assert line["stage"] not in {"door", "match", "validate"}, (sent, reply.text)


def test_replies_are_as_the_document_says(
    gateway: GatewayProcess, document: dict[str, Any], caller: dict[str, str]
) -> None:
    schema = schemathesis.openapi.from_dict(_with_known_names(document))
    asked: dict[str, list[int]] = {}

    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        statuses = asked.setdefault(operation.label, [])

        def ask(case: Case[Any]) -> None:
            reply = case.call(base_url=gateway.url, headers=caller, timeout=20)
            statuses.append(reply.status_code)  # noqa: B023 - called before the name moves on
            case.validate_response(reply, checks=_CHECKS)

        _SETTINGS(given(operation.as_strategy())(ask))()

    # Every operation was asked, and nearly all gave answers as well as refusals.
    assert all(len(statuses) > 1 for statuses in asked.values())
    answered = [label for label, statuses in asked.items() if min(statuses) < 300]
    assert len(answered) >= 14, asked


def _with_known_names(document: dict[str, Any]) -> dict[str, Any]:
    """The document, with path variables that name something most of the time."""
    made = deepcopy(document)
    for item in made["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                known = _KNOWN.get(parameter["name"])
                if parameter["in"] == "path" and known is not None:
                    parameter["schema"] = {"enum": [*known, "none", "a/b", "\u00e9"]}
    return made
