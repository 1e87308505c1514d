"""One exact model holds the arithmetic, the script in a real store and the local tables to the microsecond."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bff.ratelimit.bucket import Bucket, Check, take
from bff.ratelimit.memory_store import MemoryStore
from bff.ratelimit.redis_link import SCRIPT
from bff.ratelimit.shared_store import SharedStore, create_table
from tests.support.limits import HandClock, Model, ModelStore
from tests.support.redis import redis_server

SMALL = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

buckets = st.builds(
    Bucket,
    st.integers(1, 100),
    st.sampled_from([0.01, 0.7, 1.0, 60.0, 3_600.0, 2_592_000.0]),
    st.integers(0, 50),
)
pauses_us = st.one_of(
    st.just(0), st.integers(1, 20), st.integers(1, 2_000_000), st.integers(1, 10**11)
)


@st.composite
def requests(draw: st.DrawFn) -> list[Check]:
    """One to three checks of different keys, each with a bucket and a cost that can fit."""
    keys = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
    checks = []
    for key in keys:
        bucket = draw(buckets)
        checks.append(Check("p", key, bucket, draw(st.integers(0, bucket.burst))))
    return checks


# A history: at each step time goes on, then some requests come at once.
histories = st.lists(
    st.tuples(pauses_us, st.lists(requests(), min_size=1, max_size=4)), min_size=1, max_size=12
)
History = list[tuple[int, list[list[Check]]]]
Take = Callable[[Sequence[Check]], tuple[bool, list[int]]]


def follows_model(history: History, clock: HandClock, take_checks: Take) -> None:
    model = ModelStore()
    for pause_us, at_once in history:
        clock.now_us += pause_us
        for checks in at_once:
            expected = model.take(checks, clock.store_us())
            assert take_checks(checks) == expected


@pytest.mark.rule("L3")
@SMALL
@given(bucket=buckets, steps=st.lists(st.tuples(pauses_us, st.integers(0, 50)), max_size=30))
def test_the_arithmetic_equals_the_model(bucket: Bucket, steps: list[tuple[int, int]]) -> None:
    model = Model()
    tat_us = 0
    now_us = 1_763_775_047_000_000
    for pause_us, wish in steps:
        now_us += pause_us
        cost = min(wish, bucket.burst)
        owed_us = model.owed(bucket, now_us)
        short_us = owed_us + cost * bucket.token_us - bucket.full_us
        if short_us <= 0:
            model.spend(bucket, cost, now_us)
            owed_us = model.owed_us

        taking = take(bucket, tat_us, cost, now_us)
        tat_us = taking.tat_us

        assert taking.admitted == (short_us <= 0)
        assert taking.wait_us == max(0, short_us)
        assert taking.remaining == (bucket.full_us - owed_us) // bucket.token_us
        if not taking.admitted:
            assert take(bucket, tat_us, cost, now_us + taking.wait_us).admitted
            assert not take(bucket, tat_us, cost, now_us + taking.wait_us - 1).admitted
        if taking.reset_us:
            one_more = taking.remaining + 1
            assert take(bucket, tat_us, one_more, now_us + taking.reset_us).admitted
            assert not take(bucket, tat_us, one_more, now_us + taking.reset_us - 1).admitted


@pytest.mark.rule("L3")
@SMALL
@given(history=histories)
def test_the_memory_store_equals_the_model(history: History) -> None:
    clock = HandClock()
    store = MemoryStore(clock=clock)

    def take_checks(checks: Sequence[Check]) -> tuple[bool, list[int]]:
        verdict = store.take(checks)
        return verdict.admitted, list(verdict.used_us)

    follows_model(history, clock, take_checks)


@pytest.mark.rule("L3")
@SMALL
@given(history=histories)
def test_the_shared_store_equals_the_model(history: History) -> None:
    clock = HandClock()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table"
        create_table(path, capacity=64)
        store = SharedStore(path=path, clock=clock, emit=lambda _event: None)

        def take_checks(checks: Sequence[Check]) -> tuple[bool, list[int]]:
            verdict = store.take(checks)
            return verdict.admitted, list(verdict.used_us)

        follows_model(history, clock, take_checks)
        store.close()


class Scripted:
    """take.lua in a real server, on a clock of ours: the one line that reads TIME is given a value."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        text = SCRIPT.decode()
        assert text.count("redis.call('TIME')") == 1
        self.text = text

    def run(self, keys: list[str], figures: list[int], now_us: int) -> list[int]:
        seconds, micros = divmod(now_us, 1_000_000)
        script = self.text.replace("redis.call('TIME')", f"{{'{seconds}', '{micros}'}}")
        answer = self.client.eval(script, len(keys), *keys, *figures)
        assert isinstance(answer, list)
        return answer

    def take(self, at_once: Sequence[Sequence[Check]], now_us: int) -> list[tuple[bool, list[int]]]:
        keys = [check.key for checks in at_once for check in checks]
        figures: list[int] = []
        for checks in at_once:
            figures.append(len(checks))
            for check in checks:
                figures += (check.bucket.token_us, check.bucket.full_us, check.cost)
        answer = self.run(keys, figures, now_us)
        decided = []
        for checks in at_once:
            decided.append((answer[0] == 1, answer[1 : 1 + len(checks)]))
            answer = answer[1 + len(checks) :]
        return decided

    def exchange(self, key: str, bucket: Bucket, tokens: int, now_us: int) -> tuple[int, int]:
        granted, used_us = self.run([key], [-1, bucket.token_us, bucket.full_us, tokens], now_us)
        return granted, used_us


@pytest.fixture(scope="module")
def scripted() -> Iterator[Scripted]:
    with redis_server() as server:
        made = Scripted(server.url)
        yield made
        made.client.close()


@pytest.mark.rule("L3")
@SMALL
@given(history=histories)
def test_the_script_equals_the_model(scripted: Scripted, history: History) -> None:
    """Also for several requests in one call: they are decided in order, each all or nothing."""
    scripted.client.flushall()
    model = ModelStore()
    now_us = 1_763_775_047_000_000
    for pause_us, at_once in history:
        now_us += pause_us
        expected = [model.take(checks, now_us) for checks in at_once]

        assert scripted.take(at_once, now_us) == expected


@pytest.mark.rule("edge.11")
@SMALL
@given(
    bucket=buckets,
    steps=st.lists(st.tuples(pauses_us, st.integers(-60, 60), st.integers(0, 50)), max_size=20),
)
def test_leases_of_the_script_equal_the_model(
    scripted: Scripted, bucket: Bucket, steps: list[tuple[int, int, int]]
) -> None:
    """Granted in part, given back beyond full, and requests in between: to the microsecond."""
    scripted.client.flushall()
    model = Model()
    now_us = 1_763_775_047_000_000
    for pause_us, tokens, wish in steps:
        now_us += pause_us
        granted = model.exchange(bucket, tokens, now_us)

        assert scripted.exchange("k", bucket, tokens, now_us) == (granted, model.owed_us)
        cost = min(wish, bucket.burst)
        fits = model.owed(bucket, now_us) + cost * bucket.token_us <= bucket.full_us
        if fits:
            model.spend(bucket, cost, now_us)
        assert scripted.take([[Check("p", "k", bucket, cost)]], now_us) == [
            (fits, [model.owed(bucket, now_us)])
        ]


@pytest.mark.rule("L6")
def test_a_bucket_that_is_full_again_leaves_no_key(scripted: Scripted) -> None:
    scripted.client.flushall()
    now_us = 1_763_775_047_000_000
    bucket = Bucket(10, 10.0)
    scripted.exchange("k", bucket, 4, now_us)

    scripted.exchange("k", bucket, -4, now_us)

    assert scripted.client.dbsize() == 0
