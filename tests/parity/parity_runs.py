"""Small federations of scikit-learn's digits, and what a program makes of them."""

from functools import cache, partial
from statistics import fmean
from typing import Any

import networks
from study import rounds_to

import comity as ct

SOFTMAX = ct.torch.Model(partial(networks.softmax, 64))
PERCEPTRON = ct.torch.Model(partial(networks.perceptron, (64, 32, 10)))


@cache
def split(partition: Any, seed: int = 0) -> ct.data.Parties:
    return ct.data.load("digits").split(partition, seed=seed, heldout=0.0)


def carry_out(
    program: Any, data: ct.data.Parties, rounds: Any, *, target: float | None = None, seed: int = 0, **devices: Any
) -> ct.Run:
    """A run that ends at the target accuracy, where one is given."""
    stop = None if target is None else ct.EarlyStopping("accuracy", target=target)
    return ct.run(ct.Job(program, rounds, stop=stop, seed=seed), ct.Simulation(data, ct.Devices(**devices)))


def needed(
    program: Any,
    data: ct.data.Parties,
    target: float,
    rounds: Any,
    *,
    against: str = "round",
    seeds: int = 1,
    **devices: Any,
) -> float:
    """The mean over seeds of the rounds (or the virtual `time`) to the target accuracy; infinite if one misses it."""
    runs = [carry_out(program, data, rounds, target=target, seed=seed, **devices) for seed in range(seeds)]
    return fmean(rounds_to(run, target, against=against) or float("inf") for run in runs)


def late_accuracy(run: ct.Run) -> float:
    """The mean test accuracy over the last quarter of the rounds."""
    course = run.history.column("accuracy")
    return fmean(course[-len(course) // 4 :])
