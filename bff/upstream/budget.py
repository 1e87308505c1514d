"""The retry budget of one upstream: retries are paid from what first attempts earn. Pure.

However many layers wish to retry, a service gets at most (1 + share) attempts per call, plus a floor
of one retry per second, so that a quiet upstream can recover at all.
"""

__all__ = ["Budget"]

_START = 10.0
_CAP = 100.0
_FLOOR_EVERY_S = 1.0


class Budget:
    """`share` retries are earned per first attempt (0.2: one in five), up to 100; it starts with 10."""

    __slots__ = ("_floor_at_s", "_share", "level")

    def __init__(self, share: float) -> None:
        self._share = share
        self.level = _START
        self._floor_at_s = float("-inf")

    def earn(self) -> None:
        """A first attempt was made."""
        if self.level < _CAP:
            self.level = min(_CAP, self.level + self._share)

    def spend(self, now_s: float) -> bool:
        """True if one retry may be made at `now_s` (monotonic); it is paid with that."""
        if self.level >= 1.0:
            self.level -= 1.0
            return True
        if now_s - self._floor_at_s >= _FLOOR_EVERY_S:
            self._floor_at_s = now_s
            return True
        return False
