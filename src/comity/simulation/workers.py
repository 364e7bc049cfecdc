"""The engine of worker processes: each holds a resident model and leaves its answers in shared memory."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import to_numpy
from comity.core.contribution import Contribution
from comity.core.errors import Reason, RunError
from comity.core.vectors import Vectors
from comity.learners.worker import enter_worker
from comity.programs.party import LOCAL
from comity.simulation.arena import Arena
from comity.simulation.party_side import PartySide
from comity.simulation.tasks import Batch, Failure, Task

FORKS = sys.platform == "linux"
"""Forked workers share the parent's data and libraries; elsewhere they are started afresh and are sent a copy."""

_BLOCK_BYTES = 16 << 20
_DEPTH = 2  # tasks that wait at a worker, so that it never waits for its parent


@dataclass(frozen=True, eq=False)
class _Answer:
    """What a worker says of `count` tasks: a failure, or what goes with the vectors that it has left in a block."""

    count: int
    failure: Failure | None = None
    weight: Any = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    written: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Order:
    """Consecutive tasks of one round, and the block in which their answers go."""

    position: int
    block: int
    tasks: tuple[Task, ...]
    tries: int = 0


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    orders: deque[_Order] = field(default_factory=deque)


class WorkerPool:
    """Answers tasks in `count` processes, single-threaded each. Batches come back in the order of the tasks.

    What is computed does not depend on the number of workers, nor on which of them computes it. A worker that
    dies is replaced and its tasks are given out once more; when they kill a second one, they are answered as lost.
    """

    def __init__(self, side: PartySide, count: int, cohort: int, why: str) -> None:
        exchange = side.job.exchange
        self.why = why
        self._side = side
        self._count = count
        remembered = {f"memory {name}": value.size for name, value in exchange.memory.items()}
        if size := side.job.program.model.layout.local_size:
            remembered[f"memory {LOCAL}"] = size
        block = {name: value.size for name, value in exchange.contribution.items()} | remembered
        fits = _BLOCK_BYTES // (4 * max(sum(block.values()), 1))
        self._rows = side.size if side.batched else max(1, min(side.size, cohort // (4 * count), fits))
        self._arena = Arena(
            {name: value.size for name, value in exchange.broadcast.items()},
            block,
            rows=self._rows,
            blocks=count * (_DEPTH + 1),
            forked=FORKS,
        )
        self._context: Any = multiprocessing.get_context("fork" if FORKS else "spawn")
        self._workers = [self._start() for _ in range(count)]

    def place(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        return array

    def run(self, sent: Vectors, tasks: Sequence[Task]) -> Iterator[Batch]:
        self._arena.write_broadcast(sent.map(to_numpy))
        waiting = deque(self._cut(tasks))
        total = len(waiting)
        free = deque(range(self._arena.blocks))
        done: dict[int, tuple[_Order, list[_Answer] | None]] = {}
        position = 0
        try:
            while position < total:
                self._hand_out(waiting, free)
                if position not in done:
                    self._collect(done)
                    continue
                order, answers = done.pop(position)
                yield from self._batches(order, answers)
                free.append(order.block)
                position += 1
        except KeyboardInterrupt:
            self._kill()
            raise
        finally:
            while any(worker.orders for worker in self._workers):
                self._collect(done)

    def close(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _kill(self) -> None:
        for worker in self._workers:
            worker.process.kill()
            worker.orders.clear()

    def _cut(self, tasks: Sequence[Task]) -> Iterator[_Order]:
        """Runs of tasks; where it changes no result, they shrink towards the end, so that workers finish together."""
        start = position = 0
        while start < len(tasks):
            shrunk = max(1, (len(tasks) - start) // (3 * self._count))
            size = self._rows if self._side.batched else min(self._rows, shrunk)
            yield _Order(position, -1, tuple(tasks[start : start + size]))
            start, position = start + size, position + 1

    def _hand_out(self, waiting: deque[_Order], free: deque[int]) -> None:
        while waiting and free:
            worker = min(self._workers, key=lambda worker: len(worker.orders))
            if len(worker.orders) >= _DEPTH:
                return
            self._send(worker, replace(waiting.popleft(), block=free.popleft()))

    def _send(self, worker: _Worker, order: _Order) -> None:
        views = self._arena.views(order.block, len(order.tasks))
        bare = []
        for k, task in enumerate(order.tasks):
            for name, row in task.memory.items():
                views[f"memory {name}"][k] = to_numpy(row)
            bare.append((task.party, task.lease, task.round, task.budget, tuple(task.memory)))
        worker.orders.append(order)
        try:
            worker.pipe.send((order.block, bare))
        except OSError:
            return  # the worker has died: `_collect` sees it and gives its orders out again

    def _collect(self, done: dict[int, tuple[_Order, list[_Answer] | None]]) -> None:
        """Wait until at least one worker has answered or died."""
        pipes = {worker.pipe: worker for worker in self._workers if worker.orders}
        for pipe in wait(list(pipes)):
            worker = pipes[pipe]  # type: ignore[index]  # `wait` returns the connections it was given
            try:
                answers = worker.pipe.recv()
            except (EOFError, OSError):
                self._replace(worker, done)
                continue
            order = worker.orders.popleft()
            done[order.position] = order, answers

    def _replace(self, worker: _Worker, done: dict[int, tuple[_Order, list[_Answer] | None]]) -> None:
        worker.process.join()
        fresh = self._start()
        self._workers[self._workers.index(worker)] = fresh
        for index, order in enumerate(worker.orders):
            if index == 0 and order.tries:
                done[order.position] = order, None
            else:
                self._send(fresh, replace(order, tries=order.tries + (index == 0)))

    def _batches(self, order: _Order, answers: list[_Answer] | None) -> Iterator[Batch]:
        if answers is None:
            lost = Failure(Reason.LOST, "the worker process died twice while it computed this; memory may be short")
            for task in order.tasks:
                yield Batch([task], None, failure=lost)
            return
        views = self._arena.views(order.block, len(order.tasks))
        start = 0
        for answer in answers:
            rows, tasks = slice(start, start + answer.count), order.tasks[start : start + answer.count]
            start += answer.count
            if answer.failure is not None:
                yield Batch(tasks, None, failure=answer.failure)
                continue
            vectors = Vectors(**{name: views[name][rows] for name in self._side.job.exchange.contribution})
            memory = {name: views[f"memory {name}"][rows] for name in answer.written}
            yield Batch(tasks, Contribution(vectors, answer.weight, answer.metrics), memory)

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        others = [worker.pipe for worker in getattr(self, "_workers", [])] if FORKS else []
        process = self._context.Process(
            target=_serve, args=(self._side, self._arena, theirs, [*others, ours] if FORKS else []), daemon=True
        )
        with warnings.catch_warnings():
            # Workers are single-threaded and touch none of the parent's locks, which is what the warning is about.
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            try:
                process.start()
            except OSError as error:
                raise RunError(f"a worker process cannot be started: {error}", mend="use fewer workers") from error
            except (AttributeError, TypeError, pickle.PicklingError) as error:
                raise RunError(
                    f"the job cannot be sent to a worker process: {error}",
                    mend='define models, functions and data in a file that can be imported, or use engine="resident"',
                ) from error
        theirs.close()
        return _Worker(process, ours)


def _serve(side: PartySide, arena: Arena, pipe: Connection, inherited: Sequence[Connection]) -> None:
    """A worker's life: answer orders until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    enter_worker()
    for connection in inherited:
        connection.close()
    while True:
        try:
            block, bare = pipe.recv()
        except (EOFError, OSError):
            return
        views = arena.views(block, len(bare))
        tasks = [
            Task(party, lease, round, budget, {name: views[f"memory {name}"][k].copy() for name in kept})
            for k, (party, lease, round, budget, kept) in enumerate(bare)
        ]
        pipe.send(_answers(side, arena.read_broadcast(), tasks, views))


def _answers(
    side: PartySide, sent: Vectors, tasks: Sequence[Task], views: Mapping[str, NDArray[np.float32]]
) -> list[_Answer]:
    """Compute batch after batch, leave vectors in `views`, and return what is small."""
    answers: list[_Answer] = []
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
            answers.append(_Answer(count, failure=failure))
            continue
        metrics = {name: to_numpy(statistics) for name, statistics in contribution.metrics.items()}
        answers.append(_Answer(count, None, to_numpy(contribution.weight), metrics, tuple(batch.memory)))
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
