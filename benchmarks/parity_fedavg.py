"""FedAvg against its paper: rounds to a target accuracy on MNIST (McMahan et al. 2017, arXiv 1602.05629, tables 1-2).

100 parties × 600 images, IID or two shards of 300 label-sorted images each. As in the paper the learning rate is tuned
for every row, the test curve is made monotone, and the crossing is interpolated linearly. A search starts in the middle
of the grid and walks to the neighbour that needs fewer rounds until none does; a run that has not reached the target
when a better rate had is stopped there. Rows that an earlier run has left in the file of `--json` stay in the table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import networks
from study import Options, Study, best, load, options, rounds_to, walk

import comity as ct

GRID = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Factors of 2; the paper's are 10^(1/3) and, near the best, 10^(1/6)."""

WIDTH = 0.4
"""Independent reruns of the published rows differ by up to 40 % in rounds."""


@dataclass(frozen=True)
class Row:
    """One row of the paper: `cohort` of 100 parties, `batch` None for the full batch, `paper` rounds.

    `start` is the rate at which the search begins; `third_party` says that the figure is known here through others.
    """

    name: str
    model: str
    iid: bool
    cohort: int
    epochs: int
    batch: int | None
    paper: int
    start: float
    third_party: bool = False

    @property
    def target(self) -> float:
        return 0.97 if self.model == "2NN" else 0.99

    @property
    def evaluate_every(self) -> int:
        """Full-batch curves are smooth and long."""
        return 1 if self.batch is not None else 5


def _two_nn(cohort: int, iid: bool, batch: int | None, paper: int, start: float) -> Row:
    name = f"2nn-{'iid' if iid else 'noniid'}-c{cohort}-b{batch or 'inf'}"
    return Row(name, "2NN", iid, cohort, 1, batch, paper, start)


ROWS = (
    _two_nn(10, True, 10, 87, 0.05),
    _two_nn(10, False, 10, 664, 0.05),
    Row("cnn-iid-c10-e5-b10", "CNN", True, 10, 5, 10, 20, 0.1, third_party=True),
    Row("cnn-iid-c10-e1-b10", "CNN", True, 10, 1, 10, 34, 0.1, third_party=True),
    _two_nn(1, True, 10, 316, 0.05),
    _two_nn(20, True, 10, 77, 0.1),
    _two_nn(50, True, 10, 75, 0.1),
    _two_nn(100, True, 10, 70, 0.1),
    _two_nn(20, False, 10, 619, 0.05),
    _two_nn(50, False, 10, 443, 0.1),
    _two_nn(100, False, 10, 380, 0.1),
    _two_nn(1, False, 10, 3275, 0.0125),
    _two_nn(10, True, None, 1474, 0.4),
    _two_nn(10, False, None, 1796, 0.2),
)
BY_NAME = {row.name: row for row in ROWS}
QUICK = ("2nn-iid-c10-b10",)


def rounds(row: Row, lr: float, cap: int, seed: int, data: ct.data.Parties, asked: Options) -> float | None:
    """Rounds to the target at one learning rate; None where `cap` rounds do not reach it."""
    model = ct.torch.Model(networks.cnn if row.model == "CNN" else networks.perceptron)
    job = ct.Job(
        program=ct.FedAvg(model, ct.LocalSGD(lr=lr, epochs=row.epochs, batch_size=row.batch)),
        rounds=ct.Rounds(count=cap, cohort=row.cohort),
        stop=ct.EarlyStopping("accuracy", target=row.target),
        evaluate_every=row.evaluate_every,
        seed=seed,
    )
    return rounds_to(ct.run(job, ct.Simulation(data, workers=asked.workers)), row.target)


def tuned(row: Row, data: ct.data.Parties, asked: Options, study: Study) -> dict[float, float | None]:
    """Rounds to the target for every learning rate that the search tries."""

    def needs(lr: float, cap: int) -> float | None:
        needed = rounds(row, lr, cap, 0, data, asked)
        study.note(f"{row.name} lr {lr:g}: {needed or f'more than {cap}'}")
        return needed

    return walk((row.start,) if asked.quick else GRID, row.start, 3 * row.paper, needs)


def measured(row: Row, data: ct.data.Parties, asked: Options, study: Study) -> dict[str, Any]:
    """What comes of a row: the rounds of every seed at the best rate, their mean over the paper's, and the search."""
    found = tuned(row, data, asked, study)
    facts = asdict(row) | {"commit": study.commit, "grid": {f"{lr:g}": needed for lr, needed in found.items()}}
    if (chosen := best(found)) is None:
        return facts | {"rounds": [], "passed": False}
    lr, first = chosen
    seeds = range(1, 1 if asked.quick else asked.seeds)
    needed = [first, *(rounds(row, lr, 3 * row.paper, seed, data, asked) or inf for seed in seeds)]
    ratio = sum(needed) / len(needed) / row.paper
    return facts | {"rounds": needed, "lr": lr, "ratio": ratio, "passed": abs(ratio - 1) <= WIDTH}


def cells(facts: Mapping[str, Any]) -> list[str]:
    """The row as text."""
    paper = f"{facts['paper']}" + (" *" if facts["third_party"] else "")
    grid = "; ".join(f"{lr}: {'–' if needed is None else f'{needed:.0f}'}" for lr, needed in facts["grid"].items())
    if not (needed := facts["rounds"]):
        return [facts["name"], paper, f"> {3 * facts['paper']}", "> 3", "no: more", grid, facts["commit"]]
    ours = f"{sum(needed) / len(needed):.0f}" + (f" ({min(needed):.0f}–{max(needed):.0f})" if len(needed) > 1 else "")
    verdict = "yes" if facts["passed"] else "no: fewer" if facts["ratio"] < 1 else "no: more"
    return [facts["name"], paper, ours, f"{facts['ratio']:.2f}", verdict, grid, facts["commit"]]


def kept(asked: Options) -> dict[str, dict[str, Any]]:
    """The rows that an earlier run has left in the JSON file, by name."""
    if asked.json is None or not asked.json.exists():
        return {}
    return {facts["name"]: facts for facts in json.loads(asked.json.read_text())["results"]}


def main() -> None:
    asked = options(__doc__ or "", seeds=1, rows=tuple(BY_NAME))
    mnist = load("mnist", asked)
    data = {
        True: mnist.split(ct.data.IID(100), seed=0, heldout=0.0),
        False: mnist.split(ct.data.Shards(100, 2), seed=0, heldout=0.0),
    }
    header = ("row", "paper", "Comity", "ratio", f"within ±{WIDTH:.0%}", "rounds by learning rate", "commit")
    study = Study("parity_fedavg", asked, header)
    summary = ""
    for name in asked.rows or (QUICK if asked.quick else tuple(BY_NAME)):
        results = kept(asked) | {name: measured(BY_NAME[name], data[BY_NAME[name].iid], asked, study)}
        study.results = [results[name] for name in BY_NAME if name in results]
        study.rows = [cells(facts) for facts in study.results]
        passed = sum(facts["passed"] for facts in study.results)
        summary = f"{passed} of {len(study.rows)} rows lie within ±{WIDTH:.0%} of the published number of rounds."
        study.save([summary])
    study.publish([summary])


if __name__ == "__main__":
    main()
