"""One GraphQL request, from text to data and errors. Knows no HTTP: the front chooses the status.

Calls go out through `call`, which passes each through the gateway's stages. A failed call nulls its
own field and no other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeGuard

from graphql import GraphQLError, OperationType
from graphql.execution import ExecutionResult, Executor, execute_root_selection_set
from graphql.pyutils import AwaitableOrValue
from msgspec import UNSET, Struct, UnsetType

from bff.core.exchange import Json
from bff.gql.documents import Document, DocumentCache
from bff.gql.faults import (
    FaultKind,
    PublicText,
    RequestFault,
    coded,
    formatted,
    in_response_order,
    public_text_of,
)
from bff.gql.joins import Call, Run
from bff.gql.limits import Caps, check_variables
from bff.gql.schema import GqlSchema

__all__ = ["Result", "execute"]


class Result(Struct, kw_only=True):
    """What came of a request.

    `fault` is None where the operation was executed, and then `data` is set, if only to None;
    otherwise it says where the document stopped, and there is no `data` key. `calls` counts calls
    to services.
    """

    data: Json | UnsetType = UNSET
    errors: list[dict[str, Json]] = []
    fault: FaultKind | None = None
    calls: int = 0

    def body(self) -> dict[str, Json]:
        """The response map of the GraphQL specification (October 2021, 7.1)."""
        made: dict[str, Json] = {} if self.data is UNSET else {"data": self.data}
        if self.errors:
            made["errors"] = self.errors
        return made


def _ignore(_error: BaseException) -> None:
    """For those who do not listen to bugs."""


async def execute(
    schema: GqlSchema,
    text: str,
    operation_name: str | None = None,
    variables: Mapping[str, Json] | None = None,
    *,
    call: Call,
    documents: DocumentCache,
    caps: Caps,
    introspection: bool = False,
    queries_only: bool = False,
    scope: Mapping[str, Json] | None = None,
    public_text: PublicText = public_text_of,
    on_bug: Callable[[BaseException], None] = _ignore,
) -> Result:
    """Run one operation of a document.

    `documents` belongs to this schema. `introspection` says if this caller may read the schema,
    `queries_only` refuses mutations (GET). `scope` is what `fill` expressions read. Exceptions that
    are no GatewayError go to `on_bug` and show a fixed sentence.
    """
    document = documents.take(text, introspection=introspection)
    if isinstance(document, RequestFault):
        return _faulted(document)
    values = dict(variables or {})
    fault = _choose(document, operation_name, queries_only=queries_only) or check_variables(
        values, caps
    )
    if fault is not None:
        return _faulted(fault)
    async with asyncio.TaskGroup() as group:
        run = Run(
            call=call,
            public_text=public_text,
            max_calls=caps.calls,
            group=group,
            scope=scope or {},
        )
        executor = _executor(
            schema, document, operation_name, values, run, introspection=introspection
        )
        if isinstance(executor, list):
            errors = formatted(executor, "BAD_USER_INPUT", on_bug=on_bug)
            return Result(errors=errors, fault="variables")
        result = await _finished(execute_root_selection_set(executor))
    errors = formatted(result.errors or (), "BAD_USER_INPUT", on_bug=on_bug)
    return Result(
        data=result.data,
        errors=in_response_order(errors, result.data, caps.errors),
        calls=run.calls,
    )


def _faulted(fault: RequestFault) -> Result:
    return Result(errors=list(fault.errors), fault=fault.kind)


def _choose(
    document: Document, operation_name: str | None, *, queries_only: bool
) -> RequestFault | None:
    operations = document.operations
    if operation_name:
        kind = operations.get(operation_name)
        problem = "" if kind else "There is no operation of this name in the document."
    else:
        kind = next(iter(operations.values()), None) if len(operations) == 1 else None
        problem = (
            "" if kind else "The document has several operations; operationName must name one."
        )
        if not operations:
            problem = "The document has no operation."
    if problem:
        return RequestFault("operation", (coded(problem, "OPERATION_RESOLUTION_FAILURE"),))
    if queries_only and kind is not OperationType.QUERY:
        return RequestFault(
            "method", (coded("This operation needs POST.", "OPERATION_RESOLUTION_FAILURE"),)
        )
    return None


def _executor(
    schema: GqlSchema,
    document: Document,
    operation_name: str | None,
    variables: dict[str, Json],
    run: Run,
    *,
    introspection: bool,
) -> Executor[Any] | list[GraphQLError]:
    try:
        return Executor.build(
            schema.schema,
            document.node,
            # Resolvers of a root have nothing to read but their arguments.
            root_value=None,
            context_value=run,
            raw_variable_values=variables,
            operation_name=operation_name or None,
            hide_suggestions=not introspection,
            is_awaitable=_is_awaitable,
        )
    except GraphQLError as error:
        # An input object's own rules (one member of a oneof) are judged while variables are coerced.
        return [error]


def _is_awaitable(value: Any) -> TypeGuard[Awaitable[Any]]:
    # Trees, coroutines and futures are all that resolvers give; the library's own test is dearer.
    return hasattr(value, "__await__")


async def _finished(result: AwaitableOrValue[ExecutionResult]) -> ExecutionResult:
    if isinstance(result, ExecutionResult):
        return result
    return await result
