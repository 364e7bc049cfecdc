"""SCAFFOLD under heterogeneity: rounds to a target accuracy (Karimireddy et al. 2020, arXiv 1910.06378, table 3).

Logistic regression over 100 parties, 20 a round; an epoch is five local steps over a fifth of a party's examples each.
A party's examples are to a share `similarity` IID and for the rest a piece of the label-sorted data. Plain SGD takes
one full gradient a party and round. The learning rate is tuned for each program and similarity on the first seed. The
paper has EMNIST; here it is Fashion-MNIST.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import networks
import numpy as np
from study import Options, Study, best, load, mean_sd, options, rounds_to, walk

import comity as ct
from comity.core.seeds import Seed
from comity.data.examples import PartyNames
from comity.data.partitions.base import Splittable

PARTIES = 100
COHORT = 20
GRID = (0.003125, 0.00625, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


@dataclass(frozen=True)
class Similarity:
    """Deal the share `similarity` of the examples round the parties at random, and the rest out in order of labels."""

    parties: int
    similarity: float

    def assign(self, dataset: Splittable, seed: Seed) -> ct.data.Assignment:
        labels = dataset.train.labels()
        order = seed.child("similarity").rng().permutation(len(labels))
        common = round(self.similarity * len(order))
        rest = order[common:]
        rest = rest[np.argsort(labels[rest], kind="stable")]
        party = np.empty(len(order), np.int64)
        party[order[:common]] = np.arange(common) % self.parties
        party[rest] = np.arange(len(rest)) * self.parties // max(len(rest), 1)
        return ct.data.Assignment(party, PartyNames(self.parties))


@dataclass(frozen=True)
class Compared:
    """A program up to its learning rate, whose search begins at `start`.

    Without epochs it is SGD: one full gradient a party and round.
    """

    name: str
    program: type[ct.FedAvg] | type[ct.Scaffold] = ct.FedAvg
    epochs: int | None = None
    start: float = 0.1

    def at(self, lr: float, data: ct.data.Parties) -> Any:
        """The program at one learning rate; an epoch is five steps."""
        model = ct.torch.Model(networks.softmax)
        if self.epochs is None:
            return ct.FedSGD(model, ct.optim.SGD(lr=lr))
        size = -(-int(data.sizes.max()) // 5)
        return self.program(model, ct.LocalSGD(lr=lr, epochs=self.epochs, batch_size=size))


PROGRAMS = (
    Compared("SGD", start=0.4),
    Compared("FedAvg, E = 5", ct.FedAvg, 5),
    Compared("SCAFFOLD, E = 5", ct.Scaffold, 5),
)


def rounds(program: Any, data: ct.data.Parties, target: float, cap: int, seed: int, asked: Options) -> float | None:
    """Rounds to `target`; None above `cap`."""
    stop = ct.EarlyStopping("accuracy", target=target)
    job = ct.Job(program, ct.Rounds(count=cap, cohort=COHORT), stop=stop, seed=seed)
    return rounds_to(ct.run(job, ct.Simulation(data, workers=asked.workers)), target)


def main() -> None:
    asked = options(__doc__ or "")
    target, cap, similarities = (0.70, 60, (0.0, 1.0)) if asked.quick else (0.75, 500, (0.0, 0.1, 1.0))
    seeds = range(1 if asked.quick else asked.seeds)
    study = Study("scaffold_heterogeneity", asked, ("program", *(f"{s:.0%} similar" for s in similarities)))
    dataset = load("fashion_mnist", asked)
    for compared in PROGRAMS:
        cells = []
        for similarity in similarities:
            splits = [dataset.split(Similarity(PARTIES, similarity), seed=seed, heldout=0.0) for seed in seeds]

            def needs(lr: float, cap: int, seed: int = 0, splits: Any = splits, compared: Any = compared) -> Any:
                return rounds(compared.at(lr, splits[seed]), splits[seed], target, cap, seed, asked)

            found = walk(GRID, compared.start, cap, needs)
            study.note(f"{compared.name} at {similarity:.0%}: {found}")
            if (chosen := best(found)) is None:
                cells.append(f"> {cap}")
                continue
            lr, first = chosen
            needed = [first, *(needs(lr, cap, seed) or inf for seed in seeds[1:])]
            cells.append(f"{mean_sd(needed, digits=0)} (lr {lr:g})")
            study.results.append({"program": compared.name, "similarity": similarity, "lr": lr, "rounds": needed})
        study.rows.append([compared.name, *cells])
        study.save()
    study.publish([f"Rounds to a test accuracy of {target:.0%}."])


if __name__ == "__main__":
    main()
