"""FedAvg by hand in two forked worker processes, weights and sums in shared memory; for both hand-written peers.

A worker adds n·w of each of its parties into its own sum; the parent adds the two sums and divides. Nothing but party
numbers and seeds goes through a pipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch import multiprocessing as mp
from workloads import Stopwatch, Workload

WORKERS = 2


class Trainer(Protocol):
    """Trains parties from the same starting point."""

    def __call__(self, weights: Tensor, parties: Sequence[int], seed: int, total: Tensor) -> None:
        """Train each party from `weights` `[D]` and add its examples × its weights to `total` `[D]`."""
        ...


def _work(pipe: Connection, make: Callable[[], Trainer], weights: Tensor, total: Tensor) -> None:
    torch.set_num_threads(1)
    trainer = make()
    while (order := pipe.recv()) is not None:
        total.zero_()
        trainer(weights, *order, total)
        pipe.send(None)


def run(
    workload: Workload, sizes: Sequence[int], make: Callable[[], Trainer], start: Tensor, rounds: int
) -> tuple[Tensor, list[float]]:
    """FedAvg for `rounds` rounds; `make` builds a worker's trainer. Gives the final weights and seconds per round."""
    context = mp.get_context("fork")
    weights = start.clone().share_memory_()
    totals = [torch.zeros_like(start).share_memory_() for _ in range(WORKERS)]
    pipes: list[Connection] = []
    for total in totals:
        mine, theirs = context.Pipe()
        context.Process(target=_work, args=(theirs, make, weights, total), daemon=True).start()
        pipes.append(mine)
    random = np.random.default_rng(1)
    watch = Stopwatch()
    for _ in range(rounds):
        cohort = sorted(random.choice(workload.parties, workload.cohort, replace=False), key=lambda p: -sizes[p])
        for i, pipe in enumerate(pipes):
            pipe.send(([int(party) for party in cohort[i::WORKERS]], int(random.integers(2**31))))
        for pipe in pipes:
            pipe.recv()
        torch.add(*totals, out=weights).div_(sum(sizes[party] for party in cohort))
        watch.tick()
    for pipe in pipes:
        pipe.send(None)
    return weights, watch.seconds
