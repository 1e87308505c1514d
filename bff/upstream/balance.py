"""Which endpoint gets the next attempt. Pure: the endpoints' own figures, a random number, no I/O."""

from collections.abc import Callable, Sequence
from math import exp
from statistics import median

from bff.core.ports import Random
from bff.upstream.upstream import Balance, Endpoint
from bff.wire.channel import Channel

__all__ = ["Pick", "Spot", "picker", "slowest_s"]

# How long a latency is remembered: after this time a sample weighs 63 %.
_MEMORY_S = 10.0
# After a refused connection: 100 ms x 1.6 up to 10 s, +-20 %, as the channel itself reconnects.
_BACKOFF_S = 0.1
_BACKOFF_GROWTH = 1.6
_BACKOFF_MAX_S = 10.0


class Spot:
    """One endpoint at work: its channel, and the figures that the next pick is made from.

    `latency_s` is a peak EWMA (a rise counts at once, a fall slowly), 0 without a sample.
    """

    __slots__ = (
        "avoid_until_s", "channel", "connect_failures", "endpoint", "in_flight", "latency_s",
        "rotation", "sampled_at_s", "weight",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, channel: Channel, *, rotation: float = 0.0) -> None:
        self.endpoint = endpoint
        self.channel = channel
        self.weight = endpoint.weight
        self.in_flight = 0
        self.latency_s = 0.0
        self.sampled_at_s = 0.0
        self.connect_failures = 0
        self.avoid_until_s = 0.0
        self.rotation = rotation

    def sample(self, seconds: float, now_s: float) -> None:
        """An attempt took `seconds` and ended at `now_s`."""
        if seconds >= self.latency_s:
            self.latency_s = seconds
        else:
            kept = exp((self.sampled_at_s - now_s) / _MEMORY_S)
            self.latency_s = self.latency_s * kept + seconds * (1.0 - kept)
        self.sampled_at_s = now_s

    def connected(self) -> None:
        """The endpoint answered, so it is there."""
        self.connect_failures = 0
        self.avoid_until_s = 0.0

    def not_connected(self, now_s: float, random: Random) -> None:
        """It could not be connected: others are picked for a while."""
        wait_s = min(_BACKOFF_MAX_S, _BACKOFF_S * _BACKOFF_GROWTH ** min(self.connect_failures, 20))
        self.connect_failures += 1
        self.avoid_until_s = now_s + wait_s * random.uniform(0.8, 1.2)


# Chooses one of at least one.
Pick = Callable[[Sequence[Spot]], Spot]


def picker(balance: Balance, *, weights: Sequence[float], random: Random) -> Pick:
    """The rule of this name. `weights` are those of all endpoints: equal ones need no weighing."""
    draw = _draw_equal if len(set(weights)) <= 1 else _draw_weighted

    def one_at_random(spots: Sequence[Spot]) -> Spot:
        return draw(spots, random)

    def better_of_two(spots: Sequence[Spot]) -> Spot:
        return _better_of_two(spots, draw, random)

    def least(spots: Sequence[Spot]) -> Spot:
        return _least_in_flight(spots, random)

    rules: dict[Balance, Pick] = {
        "p2c": better_of_two,
        "round_robin": _next_in_rotation,
        "random": one_at_random,
        "least_in_flight": least,
    }
    return rules[balance]


def slowest_s(spots: Sequence[Spot]) -> float:
    """The highest latency of the pool; what a quick failure is counted as, so that it attracts nobody."""
    return max(spot.latency_s for spot in spots)


def _better_of_two(
    spots: Sequence[Spot], draw: Callable[[Sequence[Spot], Random], Spot], random: Random
) -> Spot:
    if len(spots) == 1:
        return spots[0]
    first = draw(spots, random)
    if len(spots) == 2:
        second = spots[1] if first is spots[0] else spots[0]
    else:
        second = draw([spot for spot in spots if spot is not first], random)
    first_s, second_s = first.latency_s, second.latency_s
    if not first_s or not second_s:
        known = [spot.latency_s for spot in spots if spot.latency_s]
        usual_s = median(known) if known else 1.0
        first_s, second_s = first_s or usual_s, second_s or usual_s
    # The first is drawn by weight, so it wins a tie.
    return second if (second.in_flight + 1) * second_s < (first.in_flight + 1) * first_s else first


def _draw_equal(spots: Sequence[Spot], random: Random) -> Spot:
    return spots[int(random.random() * len(spots))]


def _draw_weighted(spots: Sequence[Spot], random: Random) -> Spot:
    left = random.random() * sum(spot.weight for spot in spots)
    for spot in spots:
        left -= spot.weight
        if left < 0:
            return spot
    return spots[-1]


def _next_in_rotation(spots: Sequence[Spot]) -> Spot:
    """Smooth weighted rotation: of weights 2 and 1 it gives a b a, never a a b."""
    total, best = 0.0, spots[0]
    for spot in spots:
        spot.rotation += spot.weight
        total += spot.weight
        if spot.rotation > best.rotation:
            best = spot
    best.rotation -= total
    return best


def _least_in_flight(spots: Sequence[Spot], random: Random) -> Spot:
    load = min(spot.in_flight / spot.weight for spot in spots)
    return _draw_equal([spot for spot in spots if spot.in_flight / spot.weight == load], random)
