"""Buckets of all workers of one node: a table in a mapped file, exact however connections spread.

`create_table` makes the file (in a folder that lives in memory, such as /dev/shm), each worker opens
it by path. The table is set-associative: a key belongs to one set of 16 slots, guarded by the byte-range
lock of its stripe, which the kernel frees when a worker dies. Times are CLOCK_MONOTONIC, one for all.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Sequence
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
# 16 keys of 16 bytes, then their 16 TATs.
KEY_BYTES = 16
TATS_AT = WAYS * KEY_BYTES
SET_BYTES = TATS_AT + WAYS * 8
STRIPES = 256
# A worker that is stopped by the system while it holds a lock must not stop all others.
LOCK_PATIENCE_S = 0.02


def create_table(path: Path, *, capacity: int = 131_072) -> None:
    """Make the file of a table with room for `capacity` buckets. Raises OSError, also if it exists.

    It has two slots per bucket, so that a set of 16 overflows before the table is full only for
    0.4 % of the sets. A key of its own keeps callers from choosing the set that they fall into.
    """
    sets = max(STRIPES, -(-2 * capacity // WAYS))
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, HEADER_BYTES + sets * SET_BYTES)
        os.pwrite(fd, HEADER.pack(MAGIC, sets, os.urandom(16)), 0)
    finally:
        os.close(fd)


class SharedStore:
    """A LocalStore over the table at `path`. Raises ValueError or OSError if that is none.

    About 9 us for one bucket and 12 for two: each lock costs two system calls. One instance per process
    and file, since these locks belong to the process.
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
        if magic != MAGIC or len(self._memory) < HEADER_BYTES + self._sets * SET_BYTES:
            self.close()
            raise ValueError(f"{path} is no table of buckets")

    @property
    def node(self) -> str:
        """A name for all who share this table, and for nobody else; it tells nothing of the hash key."""
        return blake2b(self._hash_key, digest_size=8, person=b"node").hexdigest()

    def close(self) -> None:
        """Unmap the table; its file belongs to whoever made it."""
        self._memory.close()
        os.close(self._fd)

    def take(self, checks: Sequence[Check]) -> Verdict:
        """Take from every bucket, or from none if one of them has too little."""
        placed = [self._place(check.key) for check in checks]
        # In one order for all workers, so that two requests never wait for each other.
        stripes = sorted({at % STRIPES for at, _ in placed})
        held = [stripe for stripe in stripes if self._lock(stripe)]
        try:
            return self._take_locked(checks, placed)
        finally:
            for stripe in held:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, stripe)

    def _take_locked(self, checks: Sequence[Check], placed: Sequence[tuple[int, bytes]]) -> Verdict:
        # Read under the locks: the next worker's time is never before ours.
        now_us = int(self._now_s() * 1_000_000)
        admitted = True
        found = []
        used_us = []
        next_us = []
        for check, (at, name) in zip(checks, placed, strict=True):
            bucket = check.bucket
            slot, tat_us = self._find(at, name)
            held_us = max(0, min(tat_us - now_us, bucket.full_us))
            spent_us = held_us + check.cost * bucket.token_us
            admitted = admitted and spent_us <= bucket.full_us
            found.append(slot)
            used_us.append(held_us)
            next_us.append(spent_us)
        if not admitted:
            return Verdict(False, used_us)
        for (at, name), slot, spent_us in zip(placed, found, next_us, strict=True):
            # Two new keys of one request may share a set, so a free slot is looked for only now.
            self._keep(at, self._free_slot(at) if slot is None else slot, name, now_us + spent_us)
        return Verdict(True, next_us)

    def _place(self, key: str) -> tuple[int, bytes]:
        """The set of a key, and its name there; all zeros would mean an empty slot."""
        text = key.encode("utf-8", "surrogatepass")
        name = blake2b(text, digest_size=KEY_BYTES, key=self._hash_key).digest()
        return int.from_bytes(name[:8], "little") % self._sets, name

    def _find(self, at: int, name: bytes) -> tuple[int | None, int]:
        start = HEADER_BYTES + at * SET_BYTES
        where = self._memory.find(name, start, start + TATS_AT)
        # Bytes of two neighbours may look like the name; names stand at whole slots only.
        while where >= 0 and (where - start) % KEY_BYTES:
            where = self._memory.find(name, where + 1, start + TATS_AT)
        if where < 0:
            return None, 0
        slot = (where - start) // KEY_BYTES
        (tat_us,) = struct.unpack_from("<Q", self._memory, start + TATS_AT + slot * 8)
        return slot, tat_us

    def _free_slot(self, at: int) -> int:
        """The slot of the bucket nearest to full: an empty or full one has the smallest TAT."""
        tats = struct.unpack_from("<16Q", self._memory, HEADER_BYTES + at * SET_BYTES + TATS_AT)
        return tats.index(min(tats))

    def _keep(self, at: int, slot: int, name: bytes, tat_us: int) -> None:
        start = HEADER_BYTES + at * SET_BYTES
        # The TAT first: a worker that dies in between leaves a key with a wrong TAT, which bounds
        # itself to one bucket, and never a name without its use.
        struct.pack_into("<Q", self._memory, start + TATS_AT + slot * 8, tat_us)
        where = start + slot * KEY_BYTES
        self._memory[where : where + KEY_BYTES] = name

    def _lock(self, stripe: int) -> bool:
        """Lock a stripe; False if its owner has not let go in 20 ms, and then we go on without.

        Owners hold it for microseconds, so that happens only to a worker that is stopped in there.
        """
        end_s = 0.0
        while True:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, stripe)
            except (BlockingIOError, PermissionError):
                now_s = self._now_s()
                end_s = end_s or now_s + LOCK_PATIENCE_S
                if now_s > end_s:
                    self._emit(Noted("limiter_lock_held", {"stripe": stripe}))
                    return False
                os.sched_yield()
            else:
                return True
