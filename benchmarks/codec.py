"""CPU of the JSON codec alone, beside the library below it: `python -m benchmarks.codec`.

Each message is written and read by the codec as a route does it, and by protobuf-py without our
rules; what stands between the two is ours. Best of several rounds, in one process, one core.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks.messages import canned_replies, compile_protos
from bff.transcoding.json_codec import Codec

__all__ = ["Cost", "measure"]

Work = Callable[[], bytes]

_KIND = "bench.v1.Order"
_ROUNDS = 15
_ROUND_S = 0.05


class Cost(Struct, frozen=True, kw_only=True):
    """One direction of one message in microseconds: all of it, and the library's share."""

    work: str
    json_bytes: int
    codec_us: float
    library_us: float

    @property
    def ours_us(self) -> float:
        """What our rules add; per request, not per KB."""
        return self.codec_us - self.library_us


def measure() -> list[Cost]:
    """Reply and body of each canned size."""
    with tempfile.TemporaryDirectory() as folder:
        file_set = compile_protos(Path(folder)).read_bytes()
    codec = Codec(file_set)
    order = codec.message_class(_KIND)
    write, read = codec.writer(_KIND), codec.reader(_KIND)
    costs = []
    for canned in canned_replies(file_set):
        wire, text = canned.message, write(canned.message)
        works: tuple[tuple[str, Work, Work], ...] = (
            ("reply", partial(write, wire), partial(_written, order, wire)),
            ("body", partial(read, text), partial(_read, order, text)),
        )
        for name, ours, library in works:
            codec_us, library_us = _both(ours, library)
            costs.append(
                Cost(
                    work=f"{canned.size} {name}",
                    json_bytes=len(text),
                    codec_us=codec_us,
                    library_us=library_us,
                )
            )
    return costs


def _written(kind: Any, wire: bytes) -> bytes:
    text: str = kind.from_binary(wire).to_json()
    return text.encode()


def _read(kind: Any, text: bytes) -> bytes:
    wire: bytes = kind.from_json(text).to_binary()
    return wire


def _both(ours: Work, library: Work) -> tuple[float, float]:
    """The best rounds of each, in turns, so that a disturbance hits both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for found, work in zip(times, (ours, library), strict=True):
            found.append(_round_us(work))
    return min(times[0]), min(times[1])


def _round_us(work: Work) -> float:
    calls, start_s = 0, time.process_time()
    while (spent_s := time.process_time() - start_s) < _ROUND_S:
        for _ in range(20):
            work()
        calls += 20
    return spent_s / calls * 1e6


def _main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(f"{'work':14}{'JSON bytes':>12}{'codec us':>10}{'library us':>12}{'ours us':>9}")
    for cost in measure():
        print(
            f"{cost.work:14}{cost.json_bytes:12}{cost.codec_us:10.1f}"
            f"{cost.library_us:12.1f}{cost.ours_us:9.1f}"
        )


if __name__ == "__main__":
    _main()
