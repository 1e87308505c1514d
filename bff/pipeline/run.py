"""The straight line: one request through every stage, in the order of the lines below.

`handle` is what fronts call; it holds the broad `except` and always comes back with a reply.
"""

import asyncio
from collections.abc import Callable

from bff.core.errors import GatewayError
from bff.core.exchange import Reply, Request
from bff.pipeline.bugs import report_bug
from bff.pipeline.inbound import (
    authenticate,
    authenticate_now,
    authorize,
    find_route,
    take_tokens,
    take_tokens_now,
    validate,
)
from bff.pipeline.outbound import fetch_all, shape_reply
from bff.pipeline.respond import bug_reply, error_reply
from bff.pipeline.route import Match, Tools

__all__ = ["Find", "handle", "run"]

# Gives the route of a request, or its reply where no route is asked. Raises GatewayError.
Find = Callable[[Request, Tools], Match | Reply]


async def run(request: Request, match: Match, tools: Tools) -> Reply:
    """Carry one request through every stage. What to call was planned when the route was compiled.

    Where a stage can answer at once it is not awaited: most requests wait for their service alone.
    """
    principal = authenticate_now(request, match)  # Principal  or 401
    if principal is None:
        principal = await authenticate(request, match)
    permit = authorize(request, principal, match)  # Permit     or 403
    ticket = take_tokens_now(request, permit, match, tools)  # Ticket     or 429
    if ticket is None:
        ticket = await take_tokens(request, permit, match, tools)
    inputs = await validate(request, ticket, match)  # Inputs     or 400, 413, 415
    answers = await fetch_all(request, inputs, match, tools)  # call, aggregate
    return shape_reply(answers, ticket, match)


async def handle(request: Request, tools: Tools, find: Find = find_route) -> Reply:
    """Match, run, and turn whatever happens into a reply. Raises nothing but CancelledError."""
    try:
        match = find(request, tools)
        if isinstance(match, Reply):
            return match
        return await run(request, match, tools)
    except GatewayError as error:
        return error_reply(error, request, tools)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        # A bug costs its own request; what is left of a stream after this has its own (`frames`).
        report_bug(error, request, tools)
        return bug_reply(request, tools)
