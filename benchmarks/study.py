"""What the studies of algorithms share: their command line, curves, and the tables in `docs/parity.md`.

Run as a script from anywhere: `python benchmarks/NAME.py --data FOLDER [--quick] [--json PATH] [--write-docs]`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import Any

import measure
import torch

import comity as ct

DOCS = Path(__file__).resolve().parents[1] / "docs" / "parity.md"
PACKAGES = ("comity", "torch", "numpy")


@dataclass(frozen=True)
class Options:
    """What the command line asks for; `rows` is empty for all rows."""

    data: Path | None
    quick: bool
    json: Path | None
    write_docs: bool
    workers: int
    seeds: int
    rows: Sequence[str]


def options(description: str, *, seeds: int = 3, rows: Sequence[str] = ()) -> Options:
    """The command line of a study; `rows` are the names that `--rows` may choose from, where it has any."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder with a folder `mnist` and a folder `fashion_mnist` in it")
    parser.add_argument("--quick", action="store_true", help="a short run: fewer seeds, rounds and rows")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the single results go")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/parity.md")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--seeds", type=int, default=seeds, help=f"how many seeds, from 0 ({seeds})")
    if rows:
        parser.add_argument("--rows", nargs="+", choices=rows, metavar="ROW", help=f"of {', '.join(rows)}; all")
    given = parser.parse_args()
    torch.set_num_threads(1)  # the cores belong to the workers
    return Options(
        given.data,
        given.quick,
        given.json,
        given.write_docs,
        given.workers,
        given.seeds,
        tuple(getattr(given, "rows", None) or ()),
    )


def load(name: str, options: Options) -> ct.data.Dataset:
    """A data set from its folder under `--data`, or from where COMITY_DATA points."""
    return ct.data.load(name, folder=options.data / name if options.data is not None else None)


def monotone(values: Sequence[float]) -> list[float]:
    """The best value so far, at each point: the form in which McMahan et al. 2017 read curves."""
    return list(accumulate(values, max))


def crossing(at: Sequence[float], values: Sequence[float], target: float) -> float | None:
    """Where the monotone curve through (`at`, `values`) reaches `target`, interpolated linearly; None if it does not.

    `at` is increasing. A curve that starts at or above the target crosses it at its first point.
    """
    curve = monotone(values)
    for k, value in enumerate(curve):
        if value >= target:
            if k == 0:
                return float(at[0])
            share = (target - curve[k - 1]) / (value - curve[k - 1])
            return float(at[k - 1] + share * (at[k] - at[k - 1]))
    return None


def rounds_to(run: ct.Run, target: float, metric: str = "accuracy", against: str = "round") -> float | None:
    """Rounds done (or another column of the history) when `metric` on the common test set reaches `target`."""
    rows = [record.row() for record in run.history]
    measured = [row for row in rows if metric in row]
    return crossing([row[against] for row in measured], [row[metric] for row in measured], target)


def walk(
    grid: Sequence[float], start: float, cap: int, needs: Callable[[float, int], float | None]
) -> dict[float, float | None]:
    """What `needs(lr, cap)` gives (rounds, or None above `cap`) for the rates that a search in `grid` tries.

    It begins at `start` and walks to the neighbouring rate as long as that needs fewer rounds. A rate gets no more
    rounds than the best one before it needed.
    """
    found: dict[float, float | None] = {}

    def better(k: int) -> bool:
        nonlocal cap
        found[grid[k]] = needed = needs(grid[k], cap)
        if needed is None:
            return False
        cap = min(cap, ceil(needed))
        return needed == min(n for n in found.values() if n is not None)

    k = grid.index(start)
    better(k)
    for direction in (1, -1):
        moved = False
        while 0 <= k + direction < len(grid) and better(k + direction):
            k, moved = k + direction, True
        if moved:
            break
    return found


def best(found: Mapping[float, float | None]) -> tuple[float, float] | None:
    """The rate that needed the fewest rounds, and these; None where none reached the target."""
    reached = [(needed, lr) for lr, needed in found.items() if needed is not None]
    return min(reached)[::-1] if reached else None


def mean_sd(values: Sequence[float], digits: int = 1, scale: float = 1.0) -> str:
    """`mean ± standard deviation` over seeds; without the deviation where there is one seed."""
    scaled = [scale * value for value in values]
    mean = f"{statistics.fmean(scaled):.{digits}f}"
    return f"{mean} ± {statistics.stdev(scaled):.{digits}f}" if len(scaled) > 1 else mean


@dataclass
class Study:
    """One table in the making: rows of text for people, results for `--json`."""

    name: str
    options: Options
    header: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    results: list[Mapping[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=perf_counter)
    commit: str = field(default_factory=measure.commit)

    def note(self, line: str) -> None:
        """Say on standard error how far it is."""
        print(f"[{perf_counter() - self.started:6.0f} s] {line}", file=sys.stderr, flush=True)

    def publish(self, verdicts: Sequence[str] = ()) -> None:
        """Print the table with where it comes from, and save it."""
        print(self.save(verdicts))

    def save(self, verdicts: Sequence[str] = ()) -> str:
        """The table as it stands, with where it comes from; into the JSON file and the docs where asked to."""
        body = "\n\n".join([measure.table(self.header, self.rows), *verdicts, self._source()])
        if self.options.json:
            facts = {"study": self.name, "source": self._source(), "verdicts": list(verdicts), "results": self.results}
            self.options.json.write_text(json.dumps(facts, indent=1) + "\n")
        if self.options.write_docs:
            DOCS.write_text(measure.between(DOCS.read_text(), self.name, body))
        return body

    def _source(self) -> str:
        return measure.source(self.started, self.commit, PACKAGES)
