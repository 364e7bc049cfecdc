"""What an engine is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array
from comity.core.contribution import Contribution
from comity.core.errors import Reason
from comity.core.vectors import Vectors


@dataclass(frozen=True, eq=False, slots=True)
class Task:
    """One party's part in one round: `memory` is kept from earlier ones, `budget` is the share of work it can do."""

    party: str
    lease: int
    round: int
    budget: float = 1.0
    memory: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why a party has nothing to contribute, in a form that can be shown."""

    reason: Reason
    detail: str


@dataclass(frozen=True, eq=False)
class Batch:
    """The answers of K parties: a contribution with leading axis K and what each wants to remember, or a failure.

    `faults` says for each party why admission refuses its contribution, None where it does not.
    Its arrays may lie in shared memory and are valid until the next batch is asked for; `keep` copies them.
    """

    tasks: Sequence[Task]
    contribution: Contribution | None
    memory: Mapping[str, Array] = field(default_factory=dict)
    failure: Failure | None = None
    faults: Sequence[Failure | None] = ()

    def fault(self, k: int) -> Failure | None:
        """Why the k-th party does not count; None when it does."""
        return self.failure or self.faults[k]

    def keep(self, k: int) -> Batch:
        """The k-th party's answer alone, in memory of its own."""
        one = slice(k, k + 1)
        contribution = self.contribution
        if contribution is not None:
            row = contribution.rows(one)
            contribution = Contribution(
                row.vectors.map(_copy), _copy(row.weight), {n: _copy(s) for n, s in row.metrics.items()}
            )
        memory = {n: _copy(a[one]) for n, a in self.memory.items()}
        return Batch(self.tasks[one], contribution, memory, self.failure, self.faults[one])


class Engine(Protocol):
    """Computes contributions, in batches that come in the order of the tasks."""

    @property
    def why(self) -> str:
        """What kind of engine this is and why it was chosen, in one line."""
        ...

    def place(self, array: NDArray[np.float32]) -> Array:
        """The array where this engine computes."""
        ...

    def run(self, sent: Vectors, tasks: Sequence[Task]) -> Iterator[Batch]: ...

    def close(self) -> None: ...


def _copy(array: Array) -> Array:
    return array * 1
