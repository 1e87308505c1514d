"""Bodies made to cost more than their size get their answer after work that grows with the size alone.

No clock is asked: what Python calls is counted at a size and at its double, and what single calls do
within them is held by the kernel's limit of CPU time, which the square of the size exceeds many times.
"""

import json
import subprocess
import sys
from types import FrameType
from typing import Any

import pytest

from tests.support.hostile_json import FAMILIES, SWITCHES, answer, readers

pytestmark = pytest.mark.rule("transcoding.99")

_READERS = readers()


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_body_twice_as_large_takes_twice_the_calls(name: str, switches: str) -> None:
    """Calls of functions, those of the libraries among them."""
    family, read = FAMILIES[name], _READERS[switches]
    wanted = getattr(family, switches)
    small, large = family.body(10_000), family.body(20_000)
    # What a reader keeps from its first body is not this body's cost.
    assert answer(read, large) == wanted

    counts = []
    for body in (small, large):
        calls = 0

        def count(frame: FrameType, event: str, arg: Any) -> None:
            nonlocal calls
            calls += event in {"call", "c_call"}

        sys.setprofile(count)
        try:
            told = answer(read, body)
        finally:
            sys.setprofile(None)
        assert told == wanted
        counts.append(calls)

    assert counts[1] <= 2.1 * counts[0] + 50


def test_a_quarter_of_a_mebibyte_of_each_is_read_within_a_minute_of_cpu() -> None:
    """All of it takes a few seconds; one body that cost its square would take several minutes."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.hostile_json", str(256 * 1024), "60"],
        stdout=subprocess.PIPE,
        check=False,
    )

    told = {row.pop("family"): row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, f"killed after {list(told)[-1:]}"
    assert told == {
        name: {each: getattr(family, each) for each in SWITCHES}
        for name, family in FAMILIES.items()
    }
