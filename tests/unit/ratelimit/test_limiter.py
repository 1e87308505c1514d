"""Policies on a route: whose bucket, which fields, which refusal."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from bff.core.errors import LimitedError
from bff.core.events import Event, LimitDecided, LimitsPassed, Noted
from bff.core.exchange import ANONYMOUS, Principal
from bff.core.headers import Headers
from bff.ratelimit.bucket import Bucket, Check, Verdict
from bff.ratelimit.limiter import Limiter
from bff.ratelimit.limits_compiler import compile_limits
from bff.ratelimit.memory_store import MemoryStore
from bff.ratelimit.policies import (
    DEFAULT_TIERS,
    HeadersMode,
    Policy,
    RouteLimits,
    per_caller,
)
from tests.support.limits import HandClock

USER = Principal(kind="jwt", provider="main", sub="u1", tenant="acme", client_id="app")
NO_HEADERS = Headers()


def limits(*policies: Policy, headers_mode: HeadersMode = "always") -> RouteLimits:
    return compile_limits(
        policies,
        route_id="r1",
        upstream="orders",
        service="s.Orders",
        method="Get",
        headers_mode=headers_mode,
    )


def limiter(events: list[Event] | None = None) -> tuple[Limiter, HandClock]:
    clock = HandClock()
    heard = [] if events is None else events
    return Limiter(store=MemoryStore(clock=clock), emit=heard.append), clock


def take(
    subject: Limiter, route: RouteLimits, principal: Principal, address: str = "192.0.2.1"
) -> Mapping[bytes, bytes]:
    taken = subject.take_now(route, principal, address, NO_HEADERS)
    assert taken is not None
    return dict(taken.headers)


@pytest.mark.rule("edge.11")
def test_fields_name_every_policy_in_declared_order() -> None:
    route = limits(per_caller(), Policy(name="all", bucket=Bucket(10, 1.0, 40), by=()))
    subject, _ = limiter()

    fields = take(subject, route, ANONYMOUS)

    assert fields == {
        b"ratelimit-policy": b'"per-caller";q=60;w=60, "all";q=10;w=1',
        b"ratelimit": b'"per-caller";r=59;t=1, "all";r=39;t=1',
    }


@pytest.mark.rule("edge.11")
def test_refusal_says_when_to_come_back_and_names_what_was_violated() -> None:
    route = limits(
        Policy(name="wide", bucket=Bucket(9, 9.0)), Policy(name="slow", bucket=Bucket(1, 2.5))
    )
    subject, clock = limiter()
    take(subject, route, USER)
    clock.advance_s(0.1)

    with pytest.raises(LimitedError) as refused:
        take(subject, route, USER)

    error = refused.value
    assert (error.reason, error.status, error.retry_after_s) == ("RATE_LIMITED", 429, 3)
    assert error.metadata == {"violatedPolicies": "slow"}
    assert dict(error.headers) == {
        b"ratelimit-policy": b'"wide";q=9;w=9, "slow";q=1;w=2',
        b"ratelimit": b'"wide";r=8;t=1, "slow";r=0;t=3',
    }


@pytest.mark.rule("L7")
def test_a_client_that_waits_as_told_is_served() -> None:
    route = limits(Policy(name="p", bucket=Bucket(7, 3.0)))
    subject, clock = limiter()
    refusals = 0
    for _ in range(50):
        try:
            take(subject, route, USER)
        except LimitedError as error:
            refusals += 1
            clock.advance_s(error.retry_after_s or 0)
            take(subject, route, USER)

    assert refusals > 0


@pytest.mark.parametrize(
    ("mode", "on_success", "on_refusal"),
    [("always", True, True), ("refused", False, True), ("never", False, False)],
)
def test_header_mode_decides_which_replies_carry_fields(
    mode: HeadersMode, on_success: bool, on_refusal: bool
) -> None:
    route = limits(Policy(name="p", bucket=Bucket(1, 60.0)), headers_mode=mode)
    subject, _ = limiter()

    admitted = take(subject, route, USER)
    with pytest.raises(LimitedError) as refused:
        take(subject, route, USER)

    assert bool(admitted) is on_success
    assert bool(refused.value.headers) is on_refusal
    assert refused.value.retry_after_s == 60


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize(
    ("principal", "quota"),
    [
        pytest.param(ANONYMOUS, b"60", id="anonymous-is-guest"),
        pytest.param(USER, b"1000", id="no-tier-is-standard"),
        pytest.param(Principal(kind="jwt", sub="u", tier="premium"), b"5000", id="premium"),
        pytest.param(
            Principal(kind="jwt", sub="u", tier="gold"), b"1000", id="unknown-is-standard"
        ),
        pytest.param(Principal(tier="premium"), b"60", id="anonymous-has-no-tier"),
    ],
)
def test_tier_comes_from_the_principal(principal: Principal, quota: bytes) -> None:
    subject, _ = limiter()

    fields = take(subject, limits(per_caller()), principal)

    assert fields[b"ratelimit-policy"] == b'"per-caller";q=%s;w=60' % quota


def test_an_unknown_tier_is_reported_once() -> None:
    events: list[Event] = []
    subject, _ = limiter(events)
    gold = Principal(kind="jwt", sub="u", tier="gold")

    for _ in range(3):
        take(subject, limits(per_caller()), gold)

    assert [e for e in events if isinstance(e, Noted)] == [Noted("tier_unknown", {"tier": "gold"})]


CALLERS = {
    "user": USER,
    "same-sub-of-another-provider": Principal(kind="jwt", provider="other", sub="u1"),
    "provider-and-sub-cut-elsewhere": Principal(kind="jwt", provider="mai", sub="nu1"),
    "key": Principal(kind="api_key", key_id="u1"),
    "anonymous": ANONYMOUS,
}


@pytest.mark.rule("edge.11")
def test_callers_of_different_kinds_never_share_a_bucket() -> None:
    subject, _ = limiter()
    route = limits(Policy(name="p", bucket=Bucket(1, 60.0)))

    for principal in CALLERS.values():
        take(subject, route, principal, "u1")

    for principal in CALLERS.values():
        with pytest.raises(LimitedError):
            take(subject, route, principal, "u1")


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        pytest.param("192.0.2.1", "192.0.2.2", False, id="ipv4-whole"),
        pytest.param("2001:db8::1", "2001:db8::ffff:2", True, id="same-64"),
        pytest.param("2001:db8::1", "2001:db8:0:1::1", False, id="other-64"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", True, id="mapped-ipv4"),
        pytest.param("::ffff:192.0.2.1", "::ffff:192.0.2.2", False, id="two-mapped"),
        pytest.param("fe80::1%eth0", "fe80::2%eth1", True, id="zone-left-out"),
    ],
)
def test_an_anonymous_caller_is_its_address(first: str, second: str, shared: bool) -> None:
    route = limits(Policy(name="p", bucket=Bucket(1, 60.0)))
    keys = [route.checks(ANONYMOUS, address, NO_HEADERS)[0].key for address in (first, second)]

    assert (keys[0] == keys[1]) is shared


@pytest.mark.rule("edge.11")
def test_an_absent_dimension_is_a_value_and_no_free_pass() -> None:
    route = limits(Policy(name="p", bucket=Bucket(1, 60.0), by=("tenant", "claim:plan")))
    subject, _ = limiter()
    take(subject, route, ANONYMOUS)

    with pytest.raises(LimitedError):
        take(subject, route, ANONYMOUS)


def test_values_of_neighbouring_dimensions_cannot_be_shifted() -> None:
    route = limits(Policy(name="p", bucket=Bucket(1, 60.0), by=("tenant", "client")))
    one = Principal(kind="jwt", sub="s", tenant="a", client_id="bc")
    other = Principal(kind="jwt", sub="s", tenant="ab", client_id="c")

    keys = {route.checks(each, "", NO_HEADERS)[0].key for each in (one, other)}

    assert len(keys) == 2


@pytest.mark.rule("L6")
def test_a_hostile_value_cannot_make_a_key_long() -> None:
    route = limits(Policy(name="p", bucket=Bucket(1, 60.0), by=("caller", "header:x-device")))
    headers = [Headers([(b"x-device", b"a" * 8_000 + tail)]) for tail in (b"1", b"2")]

    keys = {route.checks(USER, "", each)[0].key for each in headers}

    assert len(keys) == 2
    assert all(len(key) < 200 for key in keys)


@pytest.mark.rule("L10")
def test_a_shadow_policy_counts_and_neither_refuses_nor_shows() -> None:
    events: list[Event] = []
    subject, _ = limiter(events)
    route = limits(
        Policy(name="p", bucket=Bucket(9, 9.0)),
        Policy(name="ghost", bucket=Bucket(1, 60.0), shadow=True),
    )

    fields = [take(subject, route, USER) for _ in range(2)]

    assert all(b"ghost" not in value for each in fields for value in each.values())
    assert [e for e in events if isinstance(e, LimitDecided) and e.policy == "ghost"] == [
        LimitDecided("ghost", "admit", "memory"),
        LimitDecided("ghost", "shadow", "memory"),
    ]


def test_a_route_with_shadow_policies_alone_shows_no_fields() -> None:
    events: list[Event] = []
    subject, _ = limiter(events)

    fields = take(subject, limits(Policy(name="p", bucket=Bucket(1, 60.0), shadow=True)), USER)

    assert fields == {}
    assert events == [LimitDecided("p", "admit", "memory")]


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize(
    ("policy", "says"),
    [
        pytest.param(
            Policy(name="p", bucket=Bucket(1, 1.0), by=("colour",)), "unknown", id="dimension"
        ),
        pytest.param(Policy(name="p", bucket=Bucket(1, 1.0), cost=2), "burst", id="cost"),
        pytest.param(Policy(name="p", bucket=Bucket(1, 1.0), cost=-1), "negative", id="credit"),
        pytest.param(Policy(name="p"), "tiers", id="no-tiers"),
        pytest.param(
            Policy(name="p", bucket=Bucket(1, 1.0), by=("header:x-a",)),
            "identity",
            id="header-alone",
        ),
        pytest.param(
            Policy(
                name="p",
                bucket=Bucket(1, 1.0),
                by=("caller", "ip", "user", "tenant", "client", "route", "method"),
            ),
            "at most 6",
            id="seven-dimensions",
        ),
        pytest.param(Policy(name='p";x', bucket=Bucket(1, 1.0)), "name", id="name"),
    ],
)
def test_a_policy_that_cannot_work_is_refused_at_load(policy: Policy, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        limits(policy)


def test_nine_policies_are_refused_at_load() -> None:
    with pytest.raises(ValueError, match="at most 8"):
        limits(*(Policy(name=f"p{n}", bucket=Bucket(1, 1.0)) for n in range(9)))


class LostStore:
    """A store that says what happens when it is lost."""

    def __init__(self, verdict: Verdict | None, later: Verdict | None = None) -> None:
        self.verdict = verdict
        self.later = later
        self.asked: list[Sequence[Check]] = []

    def take(self, checks: Sequence[Check]) -> Verdict | None:
        return self.verdict

    def submit(self, checks: Sequence[Check]) -> asyncio.Future[Verdict]:
        self.asked.append(checks)
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        assert self.later is not None
        answer.set_result(self.later)
        return answer


@pytest.mark.rule("edge.11")
def test_a_lost_store_is_503_where_the_policy_says_deny() -> None:
    store = LostStore(Verdict(False, (-1,), "local", unavailable=True))
    subject = Limiter(store=store, emit=lambda _event: None)

    with pytest.raises(LimitedError) as refused:
        subject.take_now(limits(per_caller()), USER, "", NO_HEADERS)

    assert (refused.value.reason, refused.value.status) == ("LIMITER_UNAVAILABLE", 503)


async def test_a_remote_store_is_waited_for_and_nothing_is_taken_before() -> None:
    events: list[Event] = []
    store = LostStore(None, Verdict(True, (1_000_000,), "store"))
    subject = Limiter(store=store, emit=events.append)
    route = limits(Policy(name="p", bucket=Bucket(2, 2.0)))

    now = subject.take_now(route, USER, "", NO_HEADERS)
    taken = await subject.take(route, USER, "", NO_HEADERS)

    assert now is None
    assert len(store.asked) == 1
    assert dict(taken.headers)[b"ratelimit"] == b'"p";r=1;t=1'
    assert events == [LimitsPassed(("p",), "store")]


@pytest.mark.rule("L4")
@pytest.mark.parametrize("tier", ["guest", "premium"])
def test_at_three_times_its_rate_a_caller_gets_its_rate_within_one_percent(tier: str) -> None:
    bucket = DEFAULT_TIERS[tier]
    subject, clock = limiter()
    route = limits(Policy(name="p", bucket=bucket))
    admitted = 0
    step_s = bucket.period_s / bucket.count / 3
    steps = round(600 / step_s)
    for _ in range(steps):
        try:
            take(subject, route, USER)
            admitted += 1
        except LimitedError:
            pass
        clock.advance_s(step_s)

    expected = bucket.burst + 600 * bucket.count / bucket.period_s
    assert expected * 0.99 <= admitted <= expected
