"""The home screen of a shop as a plan, and services that answer in virtual time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bff.aggregate.build import build_plan
from bff.aggregate.outcome import Outcome
from bff.aggregate.plan import OnError, Plan
from bff.aggregate.run import run_plan
from bff.aggregate.specs import JoinSpec, PlanFault, SourceSpec
from bff.core.errors import UpstreamError
from bff.core.status import Code
from bff.transform.expr import binding_fault, compile_expr
from bff.transform.shapes import ANY
from tests.support.shop_types import Shop
from tests.support.virtual_loop import VirtualClock, run_virtual

__all__ = ["HOME_REPLY", "Services", "down", "home_specs", "plan_of", "run", "try_plan"]

INPUTS = {"path": ANY, "query": ANY, "body": ANY, "request": ANY, "auth": ANY}

HOME_REPLY: dict[str, Any] = {
    "name": "profile.display_name",
    "orders": "orders.orders[].{id: id, items: items[].{quantity: quantity, name: product.name}}",
    "products": "products.products",
}


def home_specs(shop: Shop, **on_errors: OnError) -> list[SourceSpec]:
    """Profile (required), orders and products; `on_errors` by source name replace the usual ones."""
    usual = {"profile": OnError(), "orders": OnError("null"), "products": OnError("omit")}
    on_error = {**usual, **on_errors}
    return [
        SourceSpec(
            name="profile",
            input=shop.get_user.input,
            output=shop.get_user.output,
            bind={"user_id": "auth.sub"},
            on_error=on_error["profile"],
        ),
        SourceSpec(
            name="orders",
            input=shop.list_orders.input,
            output=shop.list_orders.output,
            bind={"user_id": "auth.sub", "page_size": 5},
            on_error=on_error["orders"],
        ),
        SourceSpec(
            name="products",
            input=shop.batch_products.input,
            output=shop.batch_products.output,
            join=JoinSpec(
                keys="orders.orders[].items[].product_id",
                into="ids",
                entities="products",
                entity_key="product_id",
                attach="product",
                max_batch=2,
            ),
            on_error=on_error["products"],
            timeout_s=0.2,
        ),
    ]


def try_plan(
    specs: Sequence[SourceSpec], reply: Mapping[str, Any] | None, **more: Any
) -> tuple[Plan | None, list[PlanFault]]:
    """The plan or its faults, with the real expressions."""
    return build_plan(
        specs,
        reply,
        inputs=INPUTS,
        compile_expr=compile_expr,
        check_binding=binding_fault,
        **{"deadline_s": 0.8, **more},
    )


def plan_of(specs: Sequence[SourceSpec], reply: Mapping[str, Any] | None, **more: Any) -> Plan:
    """A plan that must be right."""
    plan, faults = try_plan(specs, reply, **more)
    assert plan is not None, faults
    return plan


def down(reason: str = "UNAVAILABLE", code: Code = Code.UNAVAILABLE) -> UpstreamError:
    """A service's own failure."""
    return UpstreamError(reason, code=code)


Answer = Any


class Services:
    """Answers by source name: a tree, an error, a function of the request, or a list for successive calls.

    `takes_s` is how long a source takes. `log` has (source, request, start, end) in virtual seconds;
    `cancelled` the sources whose call was cut off.
    """

    def __init__(
        self, answers: Mapping[str, Answer], takes_s: Mapping[str, float] | None = None
    ) -> None:
        self._answers = answers
        self._takes_s = takes_s or {}
        self.log: list[tuple[str, dict[str, Any], float, float]] = []
        self.cancelled: list[str] = []

    @property
    def asked(self) -> list[str]:
        return [entry[0] for entry in self.log]

    def requests(self, source: str) -> list[dict[str, Any]]:
        return [entry[1] for entry in self.log if entry[0] == source]

    async def fetch(self, source: str, request: dict[str, Any], deadline_s: float) -> Any:
        now_s = asyncio.get_running_loop().time()
        self.log.append((source, request, now_s, deadline_s))
        answer = self._answers[source]
        if isinstance(answer, Callable):  # type: ignore[arg-type] # the abstract class is fit for isinstance
            answer = answer(request)
        try:
            await asyncio.sleep(self._takes_s.get(source, 0))
        except asyncio.CancelledError:
            self.cancelled.append(source)
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(
    plan: Plan,
    services: Services,
    inputs: Mapping[str, Any] | None = None,
    *,
    left_s: float | None = None,
) -> Outcome:
    """One request in virtual time; `left_s` replaces the plan's deadline."""
    whole = {"auth": {"sub": "u-1"}, "query": {}, "path": {}, "body": {}, "request": {}}

    async def main() -> Outcome:
        clock = VirtualClock()
        return await run_plan(
            plan,
            {**whole, **(inputs or {})},
            services.fetch,
            deadline_s=clock.now_s() + (plan.deadline_s if left_s is None else left_s),
            clock=clock,
        )

    return run_virtual(main())
