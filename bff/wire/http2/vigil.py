"""Is the peer alive, and is the connection still wanted? What time alone decides. Pure."""

from typing import Literal

__all__ = ["Vigil", "Wish"]

Wish = Literal["", "ping", "dead", "settings", "idle", "drained"]

# A call waits and nothing came for so long: ask. No answer for so long: dead.
_QUIET_S = 1.0
_PONG_S = 1.0
# Between two HEADERS or DATA of the peer; gRPC servers close a connection that pings more often.
_PINGS_MAX = 2
_SETTINGS_ACK_S = 5.0
_DRAIN_S = 30.0
# A tick that comes so late says that our own loop stood still, not that the peer is silent.
_STALL_S = 0.25
_NEVER_S = float("inf")


class Vigil:
    """The clockwork of one connection. `keepalive_s` None: no pings of its own accord.

    `due_s` is when to look next; `received_s`, `busy_since_s` and `pings` are written by the connection.
    """

    __slots__ = (
        "_acked",
        "_asked_s",
        "_began_s",
        "_drained_s",
        "_idle_s",
        "_keepalive_s",
        "_number",
        "_pinged_s",
        "busy_since_s",
        "due_s",
        "pings",
        "received_s",
    )

    def __init__(self, *, idle_s: float, keepalive_s: float | None) -> None:
        self._idle_s = idle_s
        self._keepalive_s = keepalive_s
        self._began_s = 0.0
        self._acked = False
        self._asked_s: float | None = None
        self._pinged_s = 0.0
        self._drained_s = _NEVER_S
        self._number = 0
        self.pings = 0
        self.received_s = 0.0
        self.busy_since_s = 0.0
        self.due_s = 0.0

    @property
    def payload(self) -> bytes:
        """The octets of the last PING."""
        return self._number.to_bytes(8)

    def began(self, now_s: float) -> None:
        """The connection is there; our SETTINGS are on their way."""
        self._began_s = self.received_s = self.busy_since_s = self._pinged_s = now_s
        self.due_s = now_s + _SETTINGS_ACK_S

    def settings_acked(self) -> None:
        """The peer has taken our SETTINGS."""
        self._acked = True

    def pong(self, payload: bytes) -> None:
        """A PING ACK; one that nobody asked for is ignored."""
        if payload == self.payload:
            self._asked_s = None

    def drains(self, now_s: float) -> None:
        """No new calls: what runs has 30 s."""
        self._drained_s = now_s + _DRAIN_S
        self.due_s = min(self.due_s, self._drained_s)

    def look(self, now_s: float, *, is_busy: bool) -> Wish:
        """What is to be done now; sets `due_s`."""
        late_s = now_s - self.due_s
        if not self._acked and now_s >= self._began_s + _SETTINGS_ACK_S:
            return "settings"
        if now_s >= self._drained_s:
            return "drained"
        since_s = max(self.received_s, self.busy_since_s)
        if not is_busy and now_s >= since_s + self._idle_s:
            return "idle"
        if self._asked_s is not None:
            return self._await_pong(now_s, late_s)
        ping_at_s = self._ping_at_s(since_s, is_busy=is_busy)
        if now_s >= ping_at_s:
            self.pings += 1
            self._number += 1
            self._asked_s = self._pinged_s = now_s
            self._plan(now_s + _PONG_S)
            return "ping"
        self._plan(ping_at_s if is_busy else min(ping_at_s, since_s + self._idle_s))
        return ""

    def _await_pong(self, now_s: float, late_s: float) -> Wish:
        assert self._asked_s is not None
        # Any octet shows that the peer lives: its ACK may stand behind a long reply.
        dead_s = max(self._asked_s, self.received_s) + _PONG_S
        if now_s < dead_s:
            self._plan(dead_s)
            return ""
        if late_s > _STALL_S:
            self._plan(now_s + _STALL_S)
            return ""
        return "dead"

    def _ping_at_s(self, since_s: float, *, is_busy: bool) -> float:
        ping_at_s = _NEVER_S
        if is_busy and self.pings < _PINGS_MAX:
            ping_at_s = max(since_s, self._pinged_s) + _QUIET_S
        if self._keepalive_s is not None:
            ping_at_s = min(ping_at_s, max(since_s, self._pinged_s) + self._keepalive_s)
        return ping_at_s

    def _plan(self, due_s: float) -> None:
        if not self._acked:
            due_s = min(due_s, self._began_s + _SETTINGS_ACK_S)
        self.due_s = min(due_s, self._drained_s)
