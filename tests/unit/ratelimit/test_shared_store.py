"""The table that all workers of a node share, seen from one of them."""

import struct
from pathlib import Path

import pytest

from bff.core.events import silent
from bff.ratelimit.bucket import Bucket, Check
from bff.ratelimit.shared_store import HEADER, SharedStore, create_table
from tests.support.limits import HandClock


def opened(path: Path, clock: HandClock) -> SharedStore:
    return SharedStore(path=path, clock=clock, emit=silent)


def check(key: str, bucket: Bucket, cost: int = 1) -> Check:
    return Check("p", key, bucket, cost)


@pytest.mark.rule("edge.11")
def test_a_worker_that_comes_later_sees_what_others_spent(tmp_path: Path) -> None:
    create_table(tmp_path / "t")
    clock = HandClock()
    bucket = Bucket(10, 10.0)
    first = opened(tmp_path / "t", clock)
    first.take([check("k", bucket, 10)])
    first.close()

    second = opened(tmp_path / "t", clock)

    assert not second.take([check("k", bucket)]).admitted
    second.close()


@pytest.mark.rule("L6")
def test_in_a_full_table_the_busiest_buckets_stay(tmp_path: Path) -> None:
    """Far more keys than slots: the empty bucket outlasts those that used one token each."""
    create_table(tmp_path / "t", capacity=1)
    store = opened(tmp_path / "t", HandClock())
    bucket = Bucket(10, 10.0)
    store.take([check("spent", bucket, 10)])

    for n in range(20_000):
        store.take([check(f"k{n}", bucket)])

    assert not store.take([check("spent", bucket)]).admitted
    store.close()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x" * 4_096, id="something-else"),
        pytest.param(HEADER.pack(b"BFFTATS1", 10**6, bytes(16)).ljust(4_096, b"\0"), id="cut"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "t"
    path.write_bytes(text)

    with pytest.raises(ValueError, match="no table"):
        opened(path, HandClock())


def test_a_torn_write_costs_one_bucket_at_most(tmp_path: Path) -> None:
    path = tmp_path / "t"
    create_table(path)
    clock = HandClock()
    bucket = Bucket(10, 10.0)
    store = opened(path, clock)
    store.take([check("k", bucket)])
    text = path.read_bytes()
    tat = struct.pack("<Q", clock.store_us() + bucket.token_us)
    assert text.count(tat) == 1
    path.write_bytes(text.replace(tat, b"\xff" * 8))

    torn = opened(path, clock)
    refused = torn.take([check("k", bucket)])

    assert not refused.admitted
    assert list(refused.used_us) == [bucket.full_us]
    torn.close()
    store.close()


def test_a_table_has_its_room_from_the_start(tmp_path: Path) -> None:
    """On a disk that is full later no page lacks its block: touching one would kill the worker."""
    create_table(tmp_path / "t")

    found = (tmp_path / "t").stat()
    assert found.st_blocks * 512 >= found.st_size
