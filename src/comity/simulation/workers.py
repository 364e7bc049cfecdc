"""The engine of worker processes: each holds a resident model and leaves its answers in shared memory."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
from comity.programs.party import LOCAL
from comity.simulation.arena import Arena
from comity.simulation.party_side import PartySide
from comity.simulation.serve import Answered, Request, serve
from comity.simulation.tasks import Batch, Failure, Task

_STARTING = threading.Lock()
FORKS = sys.platform == "linux"
"""Forked workers share the parent's data and libraries; elsewhere they are started afresh and are sent a copy."""

_BLOCK_BYTES = 16 << 20
_DEPTH = 2  # tasks that wait at a worker, so that it never waits for its parent


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
    dies is replaced and its tasks are given out once more; when they kill a second one, each is computed by itself, and
    only a party that kills its process again is answered as lost.
    """

    def __init__(self, side: PartySide, count: int, cohort: int, why: str) -> None:
        exchange = side.job.exchange
        self.why = why
        self._side = side
        self._count = count
        self._forks = FORKS and side.hardware.device == "cpu"  # a device does not survive a fork
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
            forked=self._forks,
        )
        self._context: Any = multiprocessing.get_context("fork" if self._forks else "spawn")
        self._workers = [self._start() for _ in range(count)]

    def place(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        return array

    def run(self, sent: Vectors, tasks: Sequence[Task]) -> Iterator[Batch]:
        self._arena.write_broadcast(sent.map(to_numpy))
        waiting = deque(self._cut(tasks))
        total = len(waiting)
        free = deque(range(self._arena.blocks))
        done: dict[int, tuple[_Order, list[Answered]]] = {}
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
            with suppress(OSError):
                worker.pipe.send(None)
        for worker in self._workers:
            _stop(worker)

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
        """Orders to workers that have few; each gets its own in one message, for a message wakes it."""
        given: dict[int, list[_Order]] = {}
        while waiting and free:
            number = min(range(self._count), key=lambda k: len(self._workers[k].orders))
            if len(self._workers[number].orders) >= _DEPTH:
                break
            order = replace(waiting.popleft(), block=free.popleft())
            self._workers[number].orders.append(order)
            given.setdefault(number, []).append(order)
        for number, orders in given.items():
            self._send(self._workers[number], orders)

    def _send(self, worker: _Worker, orders: Sequence[_Order]) -> None:
        with suppress(OSError):  # the worker has died: `_collect` sees it and gives its orders out again
            worker.pipe.send([self._request(order.block, 0, order.tasks) for order in orders])

    def _request(self, block: int, first: int, tasks: Sequence[Task]) -> Request:
        """Put what parties remember into their rows of the block; the rest goes through the pipe."""
        views = self._arena.views(block, first + len(tasks))
        for k, task in enumerate(tasks):
            for name, row in task.memory.items():
                views[f"memory {name}"][first + k] = to_numpy(row)
        return Request(block, first, tuple((t.party, t.lease, t.round, t.budget, tuple(t.memory)) for t in tasks))

    def _collect(self, done: dict[int, tuple[_Order, list[Answered]]]) -> None:
        """Wait until at least one worker has answered or died."""
        busy = [worker for worker in self._workers if worker.orders]
        ready = wait([end for worker in busy for end in (worker.pipe, worker.process.sentinel)])
        for worker in busy:
            if worker.pipe in ready or worker.process.sentinel in ready:
                answers = _received(worker)
                if answers is None:
                    self._replace(worker, done)
                else:
                    order = worker.orders.popleft()
                    done[order.position] = order, answers

    def _replace(self, dead: _Worker, done: dict[int, tuple[_Order, list[Answered]]]) -> None:
        """A new worker takes over. The order that a second worker dies over is looked into task by task."""
        dead.process.join()
        orders = dead.orders
        if orders[0].tries:
            order = orders.popleft()
            answers = [self._alone(order.block, k, task) for k, task in enumerate(order.tasks)]
            done[order.position] = order, answers
        elif orders:
            orders[0] = replace(orders[0], tries=1)
        fresh = self._start()
        self._workers[self._workers.index(dead)] = fresh
        fresh.orders.extend(orders)
        self._send(fresh, orders)

    def _alone(self, block: int, first: int, task: Task) -> Answered:
        """One task in a process of its own, so that a party which kills it is lost and nobody else is."""
        worker = self._start()
        with suppress(OSError):
            worker.pipe.send([self._request(block, first, [task])])
        wait([worker.pipe, worker.process.sentinel])
        answers = _received(worker)
        _stop(worker)
        if answers is None:
            detail = "the worker process died every time it computed this; memory may be short"
            return Answered(1, failure=Failure(Reason.LOST, detail))
        return answers[0]

    def _batches(self, order: _Order, answers: Sequence[Answered]) -> Iterator[Batch]:
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
            yield Batch(tasks, Contribution(vectors, answer.weight, answer.metrics), memory, faults=answer.faults)

    def _start(self) -> _Worker:
        # Ends of pipes are inherited by whatever is forked between their making and their closing: one at a time.
        with _STARTING, warnings.catch_warnings():
            # Workers are single-threaded and touch none of the parent's locks, which is what the warning is about.
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            ours, theirs = self._context.Pipe()
            others = [worker.pipe for worker in getattr(self, "_workers", [])]
            inherited = [*others, ours] if self._forks else []
            process = self._context.Process(
                target=serve, args=(self._side, self._arena, theirs, inherited), daemon=True
            )
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


def _received(worker: _Worker) -> list[Answered] | None:
    """The answers to the order at hand; None where the worker has died without any."""
    try:
        return worker.pipe.recv() if worker.pipe.poll() else None
    except (EOFError, OSError):
        return None


def _stop(worker: _Worker) -> None:
    with suppress(OSError):
        worker.pipe.send(None)
    worker.pipe.close()
    worker.process.join(timeout=5)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
