"""One round's collecting: accepted answers into the accumulator, and the tally that the history needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array, to_numpy
from comity.core.contribution import Aggregate
from comity.core.errors import Rejection
from comity.jobs.job import Job
from comity.runs.figures import metric_value
from comity.runs.history import Cohort
from comity.simulation.ahead import Answer
from comity.simulation.tasks import Batch
from comity.transforms.chain import Accumulator, ChainState, conclude


@dataclass(eq=False)
class Collecting:
    """What has come in for one round.

    Answers that follow one another in a batch are added together; `flush` must be called before their arrays are
    reused. What parties want to remember waits in `memory` until the round is committed: an abandoned one leaves no
    trace.
    """

    job: Job
    accumulator: Accumulator
    round: int
    bytes_up: int = 0
    bytes_down: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    memory: dict[str, dict[str, Array]] = field(default_factory=dict)
    _weights: list[NDArray[np.float64]] = field(default_factory=list)
    _statistics: list[Mapping[str, NDArray[np.float64]]] = field(default_factory=list)
    _run: tuple[Batch, int, int, float] | None = None

    @classmethod
    def of(cls, job: Job, round: int) -> Collecting:
        """An empty one for `round`, counted from 1."""
        return cls(job, job.chain.split()[1].start(job.exchange), round)

    def again(self) -> Collecting:
        """An empty one for another attempt at the round; what the first has cost stays on the bill."""
        fresh = Collecting.of(self.job, self.round)
        fresh.bytes_up, fresh.bytes_down, fresh.rejected = self.bytes_up, self.bytes_down, self.rejected
        return fresh

    def accept(self, party: str, answer: Answer, factor: float) -> None:
        if answer.batch.memory:
            self.memory[party] = {name: rows[answer.k] * 1 for name, rows in answer.batch.memory.items()}
        if self._run is not None:
            batch, start, stop, same = self._run
            if batch is answer.batch and stop == answer.k and same == factor:
                self._run = batch, start, stop + 1, factor
                return
            self.flush()
        self._run = answer.batch, answer.k, answer.k + 1, factor

    def flush(self) -> None:
        """Add what is pending."""
        if self._run is None:
            return
        batch, start, stop, factor = self._run
        self._run = None
        assert batch.contribution is not None
        whole = start == 0 and stop == len(batch.tasks)
        contribution = batch.contribution if whole else batch.contribution.rows(slice(start, stop))
        self.accumulator.add(contribution, factor)
        self.names += [task.party for task in batch.tasks[start:stop]]
        self._weights.append(np.array(to_numpy(contribution.weight)[:, 0], dtype=np.float64))
        self._statistics.append({n: np.array(to_numpy(s), dtype=np.float64) for n, s in contribution.metrics.items()})

    def aggregate(self, states: ChainState, population: int) -> tuple[Aggregate, ChainState]:
        """The aggregate of all that was accepted, after the chain's server half, and the chain's next states."""
        self.flush()
        return conclude(self.job.chain, states, self.accumulator, population)

    def cohort(self) -> Cohort:
        """Who took part, with what weight and which metrics of its own."""
        metrics = {}
        own = self.job.program.exchange().metrics
        for name in self._statistics[0] if self._statistics else ():
            if name not in own:
                continue
            rows = np.concatenate([statistics[name] for statistics in self._statistics])
            metrics[name] = np.array([metric_value(self.job, name, row) for row in rows])
        return Cohort(self.round, self.names, np.concatenate(self._weights or [np.zeros(0)]), metrics)
