"""Computing ahead: answers are computed together, in the order in which they will arrive, and handed out one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from comity.core.vectors import Vectors
from comity.simulation.tasks import Batch, Engine, Failure, Task


@dataclass(frozen=True, eq=False)
class Answer:
    """One party's answer: row `k` of a batch."""

    batch: Batch
    k: int

    @property
    def fault(self) -> Failure | None:
        """Why it must be refused; None when it counts."""
        return self.batch.fault(self.k)

    def keep(self) -> Answer:
        return Answer(self.batch.keep(self.k), 0)


class Ahead:
    """Answers by lease. Arrays of an answer stay valid until the next call of `take` or `stop`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stream: Iterator[Batch] | None = None
        self._due: set[int] = set()
        self._rows: dict[int, Answer] = {}
        self._kept: dict[int, Answer] = {}

    def knows(self, lease: int) -> bool:
        """Whether the answer of `lease` is computed, or being computed."""
        return lease in self._kept or lease in self._rows or lease in self._due

    def holds(self, lease: int) -> bool:
        """Whether the answer of `lease` can be taken without computing any further."""
        return lease in self._kept or lease in self._rows

    def start(self, sent: Vectors, tasks: Sequence[Task]) -> None:
        """Compute the answers of `tasks`; what an earlier start has left is finished first and kept."""
        while self._due:
            self._advance()
        self._keep_rows()
        self._close()
        self._due = {task.lease for task in tasks}
        self._stream = iter(self._engine.run(sent, tasks))

    def take(self, lease: int) -> Answer:
        """The answer of `lease`, which must be known."""
        if lease in self._kept:
            return self._kept.pop(lease)
        while lease not in self._rows:
            self._advance()
        return self._rows.pop(lease)

    def forget(self, lease: int) -> None:
        """The answer of `lease` is not wanted any more; when none is, computing stops."""
        self._kept.pop(lease, None)
        self._rows.pop(lease, None)
        if lease in self._due:
            self._due.discard(lease)
            if not self._due:
                self._close()

    def stop(self) -> None:
        self._due.clear()
        self._rows.clear()
        self._kept.clear()
        self._close()

    def _advance(self) -> None:
        self._keep_rows()
        assert self._stream is not None
        batch = next(self._stream)
        for k, task in enumerate(batch.tasks):
            if task.lease in self._due:
                self._due.discard(task.lease)
                self._rows[task.lease] = Answer(batch, k)

    def _keep_rows(self) -> None:
        for lease, answer in self._rows.items():
            self._kept[lease] = answer.keep()
        self._rows.clear()

    def _close(self) -> None:
        if self._stream is not None and hasattr(self._stream, "close"):
            self._stream.close()
        self._stream = None
