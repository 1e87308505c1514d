"""What an aggregate's route does: read inputs, run the plan's sources through the line, merge one reply."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from bff.aggregate.merge import answer_of
from bff.aggregate.outcome import Outcome, SourceResult, fail
from bff.aggregate.plan import Plan
from bff.aggregate.run import run_plan
from bff.core.errors import ClientError, GatewayError, Violation
from bff.core.events import PartlyAnswered, SourceEnded
from bff.core.exchange import Inputs, Json, Reply, Request, Ticket
from bff.core.json_text import read_json
from bff.core.problems import nearest
from bff.pipeline.inbound import path_of
from bff.pipeline.outbound import call_inner
from bff.pipeline.query import query_text
from bff.pipeline.route import InnerOperation, Match, Tools, scope_of
from bff.transcoding.binding import judge_content_type

__all__ = ["Screen"]

_JSON = (b"content-type", b"application/json")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_encode = msgspec.json.Encoder().encode


class Screen(Struct, kw_only=True, eq=False):
    """An aggregate. `operations` are those of its sources, `query_names` the parameters that it reads."""

    plan: Plan
    operations: Mapping[str, InnerOperation]
    query_names: frozenset[str]
    takes_body: bool
    body_cap_bytes: int
    max_parameters: int

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """Path, query and body as trees. Raises 400 UNKNOWN_PARAMETER and the like."""
        body: Json = None
        if self.takes_body:
            body = await self._read_body(request)
        query = self._read_query(request.query)
        path = path_of(match.route, match.captures)
        scope = scope_of(request, ticket.permit.principal, path, query)
        return Inputs(ticket=ticket, tree={**scope, "body": body})

    async def _read_body(self, request: Request) -> Json:
        text = await request.read_body(self.body_cap_bytes)
        if not text:
            return None
        judge_content_type(request.headers.get(b"content-type"))
        return read_json(text)

    def _read_query(self, query: bytes) -> dict[str, Json]:
        if not query:
            return {}
        pairs = [pair for pair in query.split(b"&") if pair]
        if len(pairs) > self.max_parameters:
            raise ClientError("TOO_MANY_PARAMETERS")
        tree: dict[str, Json] = {}
        faults: list[Violation] = []
        unknown = False
        for pair in pairs:
            key, _, value = pair.partition(b"=")
            name = query_text(key)
            if name not in self.query_names:
                unknown = True
                close = nearest(name, self.query_names)
                hint = f"; did you mean {close}?" if close else ""
                faults.append(Violation(name, f"is not a parameter here{hint}"))
            elif name in tree:
                faults.append(Violation(name, "is given more than once"))
            else:
                tree[name] = query_text(value)
        if faults:
            reason = "UNKNOWN_PARAMETER" if unknown else "INVALID_PARAMETER"
            raise ClientError(
                reason, metadata={"parameter": faults[0].field}, violations=tuple(faults)
            )
        return tree

    async def fetch(self, request: Request, inputs: Inputs, match: Match, tools: Tools) -> Json:
        """Run every source, each call with its own permit and tokens."""
        ticket = inputs.ticket
        operations = self.operations
        self._refuse_early(ticket)

        async def ask(source: str, tree: dict[str, Json], deadline_s: float) -> Json:
            return await call_inner(
                operations[source],
                tree,
                request=request,
                ticket=ticket,
                tools=tools,
                deadline_s=deadline_s,
                source=source,
            )

        outcome = await run_plan(
            self.plan, inputs.tree, ask, deadline_s=request.deadline_s, clock=tools.clock
        )
        route = match.route.template
        for result in outcome.results:
            tools.emit(SourceEnded(route, result.name, result.state, result.reason))
        if not outcome.complete:
            request.partial = True
            tools.emit(PartlyAnswered(route))
        return outcome, tools.domain

    def _refuse_early(self, ticket: Ticket) -> None:
        """401 or 403 before any call, by what the caller alone decides of each required source.

        Rules that look at the request are judged when the source's own request is known.
        """
        for source in self.plan.sources:
            access = self.operations[source.name].access
            if source.required:
                try:
                    access.check_caller(ticket.permit.principal)
                except GatewayError as error:
                    failed = SourceResult(
                        name=source.name, state="failed", reason=error.reason, error=error
                    )
                    raise fail(source, error, [failed]) from error

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """Merge; say in header and body what is missing."""
        outcome: Outcome
        outcome, domain = answers
        body, headers = answer_of(self.plan, outcome, domain=domain)
        return Reply(self.plan.status, [_JSON, _NOSNIFF, *headers], _encode(body))
