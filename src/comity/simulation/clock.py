"""Virtual time: what is going to happen, in order."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from comity.core.manifest import Json

Kind: TypeAlias = Literal["arrival", "loss", "tick"]


class Happening(NamedTuple):
    """Something that is due: an answer that arrives, a party that is found lost, or a time at which to look."""

    time: float
    order: int
    kind: Kind
    party: str = ""
    lease: int = -1
    detail: str = ""


class Clock:
    """Happenings by time; those of one moment in the order in which they were foreseen."""

    def __init__(self, happenings: Sequence[Happening] = (), order: int = 0) -> None:
        self._heap = list(happenings)
        self._order = order
        heapq.heapify(self._heap)

    def foresee(self, time: float, kind: Kind, party: str = "", lease: int = -1, detail: str = "") -> Happening:
        happening = Happening(time, self._order, kind, party, lease, detail)
        self._order += 1
        heapq.heappush(self._heap, happening)
        return happening

    def next(self) -> Happening | None:
        """The earliest happening, taken out; None when nothing is due any more."""
        return heapq.heappop(self._heap) if self._heap else None

    def snapshot(self) -> Json:
        return {"order": self._order, "happenings": [list(happening) for happening in sorted(self._heap)]}

    @classmethod
    def restore(cls, snapshot: Json) -> Clock:
        assert isinstance(snapshot, dict)
        rows, order = snapshot["happenings"], snapshot["order"]
        assert isinstance(rows, list)
        assert isinstance(order, int)
        return cls([Happening(*row) for row in rows], order)  # type: ignore[misc]
