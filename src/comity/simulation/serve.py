"""The life of a worker process: answer orders until told to stop."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import to_numpy
from comity.core.errors import Reason
from comity.core.vectors import Vectors
from comity.learners.worker import enter_worker
from comity.simulation.arena import Arena
from comity.simulation.party_side import PartySide
from comity.simulation.tasks import Failure, Task


@dataclass(frozen=True, eq=False)
class Answered:
    """What a worker says of `count` tasks: a failure, or what goes with the vectors that it has left in a block."""

    count: int
    failure: Failure | None = None
    weight: Any = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    faults: Sequence[Failure | None] = ()


@dataclass(frozen=True)
class Request:
    """Tasks, and where in the arena their answers go. Of a task's memory only the names come this way."""

    block: int
    first: int
    tasks: tuple[tuple[str, int, int, float, tuple[str, ...]], ...]


def serve(side: PartySide, arena: Arena, pipe: Connection, inherited: Sequence[Connection]) -> None:
    """Answer requests until None comes or the parent is gone. `inherited` are ends that belong to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    enter_worker()
    for connection in inherited:
        connection.close()
    while True:
        try:
            request = pipe.recv()
        except (EOFError, OSError):
            return
        if request is None:
            return
        rows = slice(request.first, request.first + len(request.tasks))
        views = {name: array[rows] for name, array in arena.views(request.block, rows.stop).items()}
        tasks = [
            Task(party, lease, round, budget, {name: views[f"memory {name}"][k].copy() for name in kept})
            for k, (party, lease, round, budget, kept) in enumerate(request.tasks)
        ]
        pipe.send(_answers(side, arena.read_broadcast(), tasks, views))


def _answers(
    side: PartySide, sent: Vectors, tasks: Sequence[Task], views: Mapping[str, NDArray[np.float32]]
) -> list[Answered]:
    """Compute batch after batch, leave vectors in `views`, and return what is small."""
    answers: list[Answered] = []
    start = 0
    for batch in side.answer(sent, tasks):
        count = len(batch.tasks)
        rows = slice(start, start + count)
        start += count
        failure, contribution = batch.failure, batch.contribution
        if contribution is not None:
            failure = _leave(contribution.vectors, views, rows, side.job.exchange.contribution)
            failure = failure or _leave(batch.memory, views, rows, batch.memory, "memory ")
        if contribution is None or failure is not None:
            answers.append(Answered(count, failure=failure))
            continue
        metrics = {name: to_numpy(statistics) for name, statistics in contribution.metrics.items()}
        answers.append(Answered(count, None, to_numpy(contribution.weight), metrics, tuple(batch.memory), batch.faults))
    return answers


def _leave(
    arrays: Mapping[str, Any], views: Mapping[str, NDArray[np.float32]], rows: slice, expected: Any, prefix: str = ""
) -> Failure | None:
    """Copy the arrays of parties into their rows; a failure where they are not the ones that the program declares."""
    if set(arrays) != set(expected):
        return Failure(Reason.SHAPE, f"vectors {sorted(arrays)}; expected {sorted(expected)}")
    for name, array in arrays.items():
        given, target = to_numpy(array), views[prefix + name][rows]
        if given.shape != target.shape:
            return Failure(Reason.SHAPE, f"{name} has shape {given.shape[1:]}; expected ({target.shape[1]},)")
        if given.dtype.kind != "f":
            return Failure(Reason.DTYPE, f"{name} is {given.dtype}; expected floating point")
        target[:] = given
    return None
