"""Buckets of all workers of one node: a table in a mapped file, exact however connections spread.

`create_table` makes the file (in a folder that lives in memory, such as /dev/shm), each worker opens
it by path. The table is set-associative: a key belongs to one set of 16 slots, guarded by the byte-range
lock of its stripe, which the kernel frees when a worker dies. Times are CLOCK_MONOTONIC, one for all.
"""

import mmap
import os
import struct
from collections.abc import Sequence
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, lockf
from hashlib import blake2b
from pathlib import Path

from bff.core.events import Emit, Noted
from bff.core.ports import Clock
from bff.ratelimit.bucket import Check, Verdict

__all__ = ["SharedStore", "create_table"]

MAGIC = b"BFFTATS1"
HEADER = struct.Struct("8sQ16s")
HEADER_BYTES = 64
WAYS = 16
# 16 names of keys, 16 bytes each, then their 16 TATs.
NAME = struct.Struct("=QQ")
NAME_BYTES = 16
TATS_AT = WAYS * NAME_BYTES
SET_BYTES = TATS_AT + WAYS * 8
STRIPES = 256
# A worker that is stopped by the system while it holds a lock must not stop all others.
LOCK_PATIENCE_S = 0.02
LOCK_NOW = LOCK_EX | LOCK_NB
# Keys whose place is remembered, since to work it out costs 2 us.
MOST_PLACES = 16_384


def create_table(path: Path, *, capacity: int = 131_072) -> None:
    """Make the file of a table with room for `capacity` buckets. Raises OSError, also if it exists.

    It has two slots per bucket, so that a set of 16 overflows before the table is full only for
    0.4 % of the sets. A key of its own keeps callers from choosing the set that they fall into.
    """
    sets = max(STRIPES, -(-2 * capacity // WAYS))
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # All blocks at once: on a full disk, who touches a page that has none dies of SIGBUS.
        os.posix_fallocate(fd, 0, HEADER_BYTES + sets * SET_BYTES)
        os.pwrite(fd, HEADER.pack(MAGIC, sets, os.urandom(16)), 0)
    finally:
        os.close(fd)


class _Place:
    """Where a key belongs: its stripe, its set and name, and the slot where we saw it last.

    All positions count words of 8 bytes. The slot is a guess that the name there confirms: another
    worker may have given it to another key.
    """

    __slots__ = ("high", "low", "name", "name_at", "set_at", "stripe", "tat_at")

    def __init__(self, name: bytes, sets: int) -> None:
        self.name = name
        self.low, self.high = NAME.unpack(name)
        number = self.low % sets
        self.stripe = number % STRIPES
        self.set_at = (HEADER_BYTES + number * SET_BYTES) // 8
        self.move(0)

    def move(self, slot: int) -> None:
        """The key is in this slot of its set now."""
        self.name_at = self.set_at + 2 * slot
        self.tat_at = self.set_at + TATS_AT // 8 + slot


class SharedStore:
    """A LocalStore over the table at `path`. Raises ValueError or OSError if that is none.

    About 2 us for one bucket and 4 for two; half of that are the two system calls of each lock. One
    instance per process and file, since these locks belong to the process.
    """

    def __init__(self, *, path: Path, clock: Clock, emit: Emit) -> None:
        self._now_s = clock.now_s
        self._emit = emit
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._memory = mmap.mmap(self._fd, 0)
            magic, self._sets, self._hash_key = HEADER.unpack_from(self._memory)
        except (ValueError, struct.error) as error:
            os.close(self._fd)
            raise ValueError(f"{path} is no table of buckets") from error
        size_bytes = HEADER_BYTES + self._sets * SET_BYTES
        if magic != MAGIC or len(self._memory) < size_bytes:
            self._memory.close()
            os.close(self._fd)
            raise ValueError(f"{path} is no table of buckets")
        self._words = memoryview(self._memory)[:size_bytes].cast("Q")
        self._places: dict[str, _Place] = {}

    @property
    def node(self) -> str:
        """A name for all who share this table, and for nobody else; it tells nothing of the hash key."""
        return blake2b(self._hash_key, digest_size=8, person=b"node").hexdigest()

    def close(self) -> None:
        """Unmap the table; its file belongs to whoever made it."""
        self._words.release()
        self._memory.close()
        os.close(self._fd)

    def take(self, checks: Sequence[Check]) -> Verdict:
        """Take from every bucket, or from none if one of them has too little."""
        known = self._places
        places = []
        for check in checks:
            place = known.get(check.key)
            places.append(self._place(check.key) if place is None else place)
        if len(places) == 1:
            stripes = [places[0].stripe]
        else:
            # In one order for all workers, so that two requests never wait for each other.
            stripes = sorted({place.stripe for place in places})
        held = []
        try:
            for stripe in stripes:
                try:
                    lockf(self._fd, LOCK_NOW, 1, stripe)
                except (BlockingIOError, PermissionError):
                    if not self._wait_for_lock(stripe):
                        continue
                held.append(stripe)
            return self._take_locked(checks, places)
        finally:
            for stripe in held:
                lockf(self._fd, LOCK_UN, 1, stripe)

    def _take_locked(self, checks: Sequence[Check], places: Sequence[_Place]) -> Verdict:
        # Read under the locks: the next worker's time is never before ours.
        now_us = int(self._now_s() * 1_000_000)
        words = self._words
        admitted = True
        used_us = []
        next_us = []
        for at, check in enumerate(checks):
            place = places[at]
            bucket = check.bucket
            full_us = bucket.full_us
            name_at = place.name_at
            held_us = 0
            if (words[name_at] == place.low and words[name_at + 1] == place.high) or self._find(
                place
            ):
                held_us = words[place.tat_at] - now_us
                if held_us < 0:
                    held_us = 0
                elif held_us > full_us:
                    held_us = full_us
            spent_us = held_us + check.cost * bucket.token_us
            if spent_us > full_us:
                admitted = False
            used_us.append(held_us)
            next_us.append(spent_us)
        if not admitted:
            return Verdict(False, used_us)
        for at, place in enumerate(places):
            name_at = place.name_at
            tat_us = now_us + next_us[at]
            if words[name_at] == place.low and words[name_at + 1] == place.high:
                words[place.tat_at] = tat_us
            else:
                # Two new keys may share a set, so a free slot is looked for only now.
                self._settle(place, tat_us)
        return Verdict(True, next_us)

    def _find(self, place: _Place) -> bool:
        """True if the key is in its set, and then `place` says where."""
        start = place.set_at * 8
        where = self._memory.find(place.name, start, start + TATS_AT)
        # Bytes of two neighbours may look like the name; names stand at whole slots only.
        while where >= 0 and (where - start) % NAME_BYTES:
            where = self._memory.find(place.name, where + 1, start + TATS_AT)
        if where < 0:
            return False
        place.move((where - start) // NAME_BYTES)
        return True

    def _settle(self, place: _Place, tat_us: int) -> None:
        """Put a new key in the slot of the bucket nearest to full: an empty or full one has the least TAT."""
        words = self._words
        tats_at = place.set_at + TATS_AT // 8
        tats = words[tats_at : tats_at + WAYS].tolist()
        place.move(tats.index(min(tats)))
        # The TAT first: a worker that dies in between leaves a key with a wrong TAT, which bounds
        # itself to one bucket, and never a name without its use.
        words[place.tat_at] = tat_us
        words[place.name_at] = place.low
        words[place.name_at + 1] = place.high

    def _place(self, key: str) -> _Place:
        text = key.encode("utf-8", "surrogatepass")
        name = blake2b(text, digest_size=NAME_BYTES, key=self._hash_key).digest()
        if len(self._places) >= MOST_PLACES:
            self._places.clear()
        place = self._places[key] = _Place(name, self._sets)
        return place

    def _wait_for_lock(self, stripe: int) -> bool:
        """Lock a stripe; False if its owner has not let go in 20 ms, and then we go on without.

        Owners hold it for microseconds, so that happens only to a worker that is stopped in there.
        """
        end_s = self._now_s() + LOCK_PATIENCE_S
        while self._now_s() <= end_s:
            os.sched_yield()
            try:
                lockf(self._fd, LOCK_NOW, 1, stripe)
            except (BlockingIOError, PermissionError):
                continue
            return True
        self._emit(Noted("limiter_lock_held", {"stripe": stripe}))
        return False
