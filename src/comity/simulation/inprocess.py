"""Engines in this process: one party after another on the resident model, or K parties at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array
from comity.core.vectors import Vectors
from comity.simulation.party_side import PartySide
from comity.simulation.tasks import Batch, Task


@dataclass(frozen=True, eq=False)
class InProcess:
    """Answers tasks here."""

    side: PartySide
    why: str

    def place(self, array: NDArray[np.float32]) -> Array:
        return self.side.place(array)

    def run(self, sent: Vectors, tasks: Sequence[Task]) -> Iterator[Batch]:
        size = self.side.size
        room = np.empty((min(size, len(tasks)), self.side.job.program.model.layout.size), dtype=np.float32)
        for start in range(0, len(tasks), size):
            some = tasks[start : start + size]
            yield from self.side.answer(sent, some, room[: len(some)])

    def close(self) -> None:
        """Nothing is held."""
