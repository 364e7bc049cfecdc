"""The life of a worker process: answer orders until told to stop."""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping, Sequence
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
    """Answer lists of requests until None comes or the parent is gone.

    `inherited` are ends of pipes that belong to the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    enter_worker()
    for connection in inherited:
        connection.close()
    while True:
        try:
            requests = pipe.recv()
        except (EOFError, OSError):
            return
        if requests is None:
            return
        for request in requests:
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
    for batch in side.answer(sent, tasks, _room(side, views)):
        count = len(batch.tasks)
        rows = slice(start, start + count)
        start += count
        failure, contribution = batch.failure, batch.contribution
        if contribution is not None:
            places = {name: view[rows] for name, view in views.items()}
            failure = _misfit(contribution.vectors, side.job.exchange.contribution, places)
            failure = failure or _misfit(batch.memory, batch.memory, places, "memory ")
        if contribution is None or failure is not None:
            answers.append(Answered(count, failure=failure))
            continue
        remembered = {f"memory {name}": array for name, array in batch.memory.items()}
        _leave({**contribution.vectors, **remembered}, places)
        metrics = {name: to_numpy(statistics) for name, statistics in contribution.metrics.items()}
        answers.append(Answered(count, None, to_numpy(contribution.weight), metrics, tuple(batch.memory), batch.faults))
    return answers


def _room(side: PartySide, views: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """The place of the first vector that is as long as the model: what most programs return is its change."""
    size = side.job.program.model.layout.size
    names = (name for name, value in side.job.exchange.contribution.items() if value.size == size)
    return next((views[name] for name in names), None)


def _misfit(
    arrays: Mapping[str, Any], expected: Collection[str], places: Mapping[str, NDArray[np.float32]], prefix: str = ""
) -> Failure | None:
    """A failure where the arrays of parties are not the ones that the program declares."""
    if set(arrays) != set(expected):
        return Failure(Reason.SHAPE, f"vectors {sorted(arrays)}; expected {sorted(expected)}")
    for name, array in arrays.items():
        given, place = to_numpy(array), places[prefix + name]
        if given.shape != place.shape:
            return Failure(Reason.SHAPE, f"{name} has shape {given.shape[1:]}; expected ({place.shape[1]},)")
        if given.dtype.kind != "f":
            return Failure(Reason.DTYPE, f"{name} is {given.dtype}; expected floating point")
    return None


def _leave(arrays: Mapping[str, Any], places: Mapping[str, NDArray[np.float32]]) -> None:
    """Copy the arrays to their places, where they do not lie there already."""
    pairs = [(places[name], to_numpy(array)) for name, array in arrays.items()]
    moved = [(target, given) for target, given in pairs if not _is_same(target, given)]
    for index, (_, given) in enumerate(moved):
        # What lies in the place of another would be lost when that is written.
        if any(np.may_share_memory(given, target) for target, _ in moved):
            moved[index] = moved[index][0], given.copy()
    for target, given in moved:
        target[:] = given


def _is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays are the same numbers in the same memory."""
    alike = one.dtype == other.dtype and one.shape == other.shape and one.strides == other.strides
    return alike and one.__array_interface__["data"] == other.__array_interface__["data"]
