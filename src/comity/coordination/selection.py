"""Selection: parties drawn uniformly without replacement, one at a time, from a population that is never listed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from comity.core.seeds import Seed

_BLOCK = 64


class Draw:
    """Positions in `range(size)` in a random order, found when asked for, with some of them busy at the start.

    A Fisher-Yates shuffle of a virtual array: the positions already taken lie in front, only entries that have moved
    are stored, and one draw costs constant time and memory. A busy position that becomes free in the meantime goes
    back behind the front and may be drawn. The order depends on nothing but the seed and the calls, and not on
    NumPy's distributions: it maps raw 64-bit words of the bit generator to positions itself.
    """

    __slots__ = ("_bits", "_busy", "_moved", "_taken", "_used", "_words", "size")

    def __init__(self, seed: Seed, size: int, busy: Iterable[int] = ()) -> None:
        self.size = size
        self._bits = seed.rng().bit_generator
        self._words: list[int] = []
        self._used = 0
        self._moved: dict[int, int] = {}
        self._busy: dict[int, int] = {}
        self._taken = 0
        places: dict[int, int] = {}
        for position in busy:
            self._swap(places.get(position, position), self._taken, places)
            self._busy[position] = self._taken
            self._taken += 1

    def _swap(self, first: int, second: int, places: dict[int, int]) -> None:
        one, other = self._moved.get(first, first), self._moved.get(second, second)
        self._moved[first], self._moved[second] = other, one
        places[other], places[one] = first, second

    def take(self, count: int) -> list[int]:
        """The next `count` positions, fewer when no more are free."""
        taken, moved, drawn = self._taken, self._moved, []
        for front in range(taken, min(taken + count, self.size)):
            other = front + (self._word() * (self.size - front) >> 64)
            position = moved.get(other, other)
            moved[other] = moved.get(front, front)
            moved[front] = position
            drawn.append(position)
        self._taken += len(drawn)
        return drawn

    def free(self, position: int) -> None:
        """A position that was busy at the start may be drawn from now on; any other stays as it is."""
        place = self._busy.pop(position, None)
        if place is None:
            return
        self._taken -= 1
        last = self._moved.get(self._taken, self._taken)
        self._moved[place], self._moved[self._taken] = last, position
        if last in self._busy:
            self._busy[last] = place

    def _word(self) -> int:
        offset = self._used % _BLOCK
        if offset == 0:
            self._words = self._bits.random_raw(_BLOCK).tolist()
        self._used += 1
        return self._words[offset]

    def snapshot(self) -> dict[str, Any]:
        """The state as JSON-able data; its size grows with what was drawn and not with the population."""
        return {
            "used": self._used,
            "taken": self._taken,
            "moved": [list(pair) for pair in self._moved.items()],
            "busy": [list(pair) for pair in self._busy.items()],
        }

    @classmethod
    def restore(cls, seed: Seed, size: int, snapshot: dict[str, Any]) -> Draw:
        """The draw that `snapshot` was taken of, given the same seed and size."""
        draw = cls(seed, size)
        while draw._used < snapshot["used"]:
            draw._word()
        draw._taken = snapshot["taken"]
        draw._moved = dict(snapshot["moved"])
        draw._busy = dict(snapshot["busy"])
        return draw
