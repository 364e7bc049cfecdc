"""Devices: how fast, how reachable and how reliable simulated parties are, in virtual time.

Nothing here is stored: what a party's device is like, and what becomes of one assignment, derives from the seed and
the party's name when it is asked for, so that a million devices cost no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf
from statistics import NormalDist

from comity.core.errors import ConfigError
from comity.core.seeds import Seed

DAY = 86_400.0
"""Seconds."""

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Daily:
    """Availability by the time of day: reachable for `hours` from `start`, the time where the party lives.

    `start` is hours after virtual time 0; each party's own window begins up to `spread` hours before or after it.
    Phones take part while idle, charging and on an unmetered network, which is at night (Bonawitz et al. 2019, arXiv
    1902.01046, where four times as many are reachable at the peak as at the trough).
    """

    start: float = 0.0
    hours: float = 8.0
    spread: float = 0.0

    def __post_init__(self) -> None:
        _between(self, "start", 0, 24)
        _between(self, "hours", 0, 24, open_below=True)
        _between(self, "spread", 0, 12)


@dataclass(frozen=True)
class Device:
    """One party's device.

    `speed` is in examples per second, `down` and `up` in bytes per second; None is infinitely fast. `window` is the
    daily time at which it is reachable, as (start, length) in seconds, or None: always.
    """

    speed: float | None = None
    down: float | None = None
    up: float | None = None
    window: tuple[float, float] | None = None

    def duration(self, examples: float, bytes_down: int = 0, bytes_up: int = 0) -> float:
        """Seconds to download, to train on `examples` (an example counts once an epoch) and to upload."""
        total = 0.0
        for amount, rate in ((bytes_down, self.down), (examples, self.speed), (bytes_up, self.up)):
            total += amount / rate if rate is not None else 0.0
        return total

    def reachable_for(self, now: float) -> float:
        """Seconds for which it stays reachable from `now` on: 0 where it is not, infinity where it always is."""
        if self.window is None or self.window[1] >= DAY:
            return inf
        start, length = self.window
        return max(0.0, length - (now - start) % DAY)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one assignment.

    `available`: the device can be reached at all. `fails`: it never delivers. `delay`: seconds until it delivers or
    is found lost. `budget`: the share in (0, 1] of the planned work that it does.
    """

    available: bool = True
    fails: bool = False
    budget: float = 1.0
    delay: float = 0.0


@dataclass(frozen=True)
class Devices:
    """A population of devices.

    `speed` (examples per second), `down` and `up` (bytes per second) are medians; None is infinitely fast. A party's
    own are log-normal around them, `exp(spread · z)` times the median: `speed_spread` for its speed and
    `bandwidth_spread` for both directions of its connection. `availability` is the probability that a device can be
    reached when it is asked, or a `Daily` window: one that leaves its window before it has delivered is lost at that
    moment. `failure` is the probability that an assignment is lost halfway, at a uniform point of its duration.
    `stragglers` is the probability that a party does only part of its work in a round: a share uniform in (0, 1], as
    in the experiments of FedProx (Li et al. 2020, arXiv 1812.06127; they draw whole epochs).
    """

    speed: float | None = None
    speed_spread: float = 0.0
    down: float | None = None
    up: float | None = None
    bandwidth_spread: float = 0.0
    availability: float | Daily = 1.0
    failure: float = 0.0
    stragglers: float = 0.0

    def __post_init__(self) -> None:
        for name in ("speed", "down", "up"):
            if getattr(self, name) is not None:
                _between(self, name, 0, inf, open_below=True)
        for name in ("speed_spread", "bandwidth_spread"):
            _between(self, name, 0, inf)
        for name in ("failure", "stragglers"):
            _between(self, name, 0, 1)
        if not isinstance(self.availability, Daily):
            _between(self, "availability", 0, 1)

    @classmethod
    def ideal(cls) -> Devices:
        """Everything takes no time and nothing fails."""
        return cls()

    @classmethod
    def phones(cls) -> Devices:
        """Phones that are reachable at night.

        Sourced: 6 to 10 % of the selected phones drop out (Bonawitz et al. 2019, arXiv 1902.01046). Illustrative:
        everything else (100 examples a second, 20 Mbit/s down, 5 Mbit/s up, e-fold spreads, 8 hours a day over time
        zones ±8 hours apart).
        """
        return cls(
            speed=100.0,
            speed_spread=1.0,
            down=2.5e6,
            up=0.625e6,
            bandwidth_spread=1.0,
            availability=Daily(start=0.0, hours=8.0, spread=8.0),
            failure=0.08,
        )

    @classmethod
    def silos(cls) -> Devices:
        """Servers of institutions. All numbers are illustrative: 1,000 examples a second, 100 Mbit/s, 1 % outages."""
        return cls(
            speed=1000.0,
            speed_spread=0.5,
            down=12.5e6,
            up=12.5e6,
            bandwidth_spread=0.5,
            availability=0.99,
            failure=0.01,
        )

    def draw(self, seed: Seed, party: str) -> Device:
        """The device of `party`; the same whenever it is asked for."""
        own = seed.child("device", party=party)
        speed = _log_normal(own, "speed", self.speed_spread) if self.speed is not None else 1.0
        link = _log_normal(own, "bandwidth", self.bandwidth_spread) if self.down or self.up else 1.0
        window = None
        if isinstance(self.availability, Daily):
            shift = (2 * _uniform(own, "window") - 1) * self.availability.spread
            window = ((self.availability.start + shift) * 3600, self.availability.hours * 3600)
        return Device(_scaled(self.speed, speed), _scaled(self.down, link), _scaled(self.up, link), window)

    def outcome(
        self,
        seed: Seed,
        round: int,
        party: str,
        *,
        attempt: int = 0,
        now: float = 0.0,
        examples: float = 0.0,
        bytes_down: int = 0,
        bytes_up: int = 0,
    ) -> Outcome:
        """What becomes of an assignment of `round` that reaches `party` at `now`.

        `examples` is the whole of the planned work (an example counts once an epoch). Whether the device is reachable
        and fails depends on `attempt` too; the budget does not, so that a straggler stays one within a round.
        """
        if self == _IDEAL:
            return _DELIVERED
        device = self.draw(seed, party)
        turn = seed.child("outcome", round=round, attempt=attempt, party=party)
        remaining = device.reachable_for(now)
        if not remaining or self._away(turn):
            return Outcome(available=False, fails=True)
        budget = self._budget(seed.child("budget", round=round, party=party))
        delay = device.duration(examples * budget, bytes_down, bytes_up)
        fails = _happens(turn, "failure", self.failure)
        if fails:
            delay *= _uniform(turn, "point")
        return Outcome(fails=fails or delay > remaining, budget=budget, delay=min(delay, remaining))

    def _away(self, turn: Seed) -> bool:
        return not isinstance(self.availability, Daily) and _happens(turn, "away", 1 - self.availability)

    def _budget(self, own: Seed) -> float:
        return 1.0 - _uniform(own, "share") if _happens(own, "straggler", self.stragglers) else 1.0


def _uniform(seed: Seed, purpose: str) -> float:
    """A number in [0, 1) straight from a derived seed: a generator would cost ten times as much."""
    return (seed.child(purpose).integer() >> 10) / 2.0**53


def _happens(seed: Seed, purpose: str, probability: float) -> bool:
    return probability > 0 and _uniform(seed, purpose) < probability


def _log_normal(seed: Seed, purpose: str, spread: float) -> float:
    return exp(spread * _NORMAL.inv_cdf(_uniform(seed, purpose) or 2.0**-54)) if spread else 1.0


def _scaled(median: float | None, factor: float) -> float | None:
    return None if median is None else median * factor


def _between(owner: object, name: str, low: float, high: float, *, open_below: bool = False) -> None:
    value = getattr(owner, name)
    if (low < value if open_below else low <= value) and value <= high and value < inf:
        return
    span = f"{'above' if open_below else 'of at least'} {low}" + (f" and at most {high}" if high < inf else "")
    where = f"{type(owner).__name__}.{name}"
    raise ConfigError(f"{name} is {value!r}", where=where, mend=f"give a number {span}")


_IDEAL = Devices()
_DELIVERED = Outcome()
