"""Rates: how many requests one address may send, so that a flood costs little."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from comity.server.errors import TooMany

_REMEMBERED = 10_000


@dataclass(eq=False)
class Rates:
    """A token bucket for each address: `burst` requests at once, `rate` a second in the long run."""

    now: Callable[[], float]
    rate: float = 500.0
    burst: float = 2000.0
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, address: str, cost: float = 1.0) -> None:
        """Raises `TooMany` where the bucket is empty."""
        at = self.now()
        left, before = self._buckets.pop(address, (self.burst, at))
        left = min(self.burst, left + (at - before) * self.rate)
        enough = left >= cost
        self._buckets[address] = (left - cost if enough else left, at)
        while len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        if not enough:
            raise TooMany("too many requests", where=address, mend=f"wait; {self.rate:g} a second are served")
