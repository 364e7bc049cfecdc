"""A learner whose every step can be worked out by hand: party k minimises ½·mean‖w − x‖² over its examples x."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.core.layout import Layout
from comity.core.seeds import Seed
from comity.data.examples import Examples, PartyData
from comity.learners.base import Hardware, Trained, Trainer, Work
from comity.learners.plan import LocalPlan


@dataclass(frozen=True)
class Quadratic:
    """`D` weights that start at zero."""

    size: int = 3
    batchable_: bool = True
    metrics: tuple[Any, ...] = ()

    @cached_property
    def layout(self) -> Layout:
        return Layout.build([("w", (self.size,), "float32", "shared")])

    def init(self, seed: Seed) -> NDArray[np.float32]:
        return np.zeros(self.size, dtype=np.float32)

    def init_local(self, seed: Seed) -> NDArray[np.float32]:
        return np.zeros(0, dtype=np.float32)

    def export(self, weights: Any) -> Mapping[str, NDArray[Any]]:
        return {"w": np.asarray(weights)}

    def build(self, hardware: Hardware, *, batched: bool = False) -> Trainer:
        return QuadraticTrainer(self.layout)

    def check(self, plan: LocalPlan, *, corrected: bool) -> None: ...

    def batchable(self, plan: LocalPlan) -> str | None:
        return None if self.batchable_ else "it was told not to be"

    def prefers_batched(self, hardware: Hardware) -> tuple[bool, str]:
        return False, "a test decides"


@dataclass
class QuadraticTrainer:
    layout: Layout

    def place(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        return array

    def train(self, work: Work) -> Trained:
        count, size = len(work.examples), self.layout.size
        weights = np.array(np.broadcast_to(work.weights, (count, size)), dtype=np.float32)
        steps = np.zeros((count, 1), dtype=np.float32)
        loss = np.zeros((count, 2))
        lr = work.plan.rate(work.round)
        for k, examples in enumerate(work.examples):
            x = examples.features()
            steps[k] = work.plan.batches(len(examples), work.budget(k))
            for _ in range(int(steps[k, 0])):
                gradient = weights[k] - x.mean(axis=0)
                if work.correction.anchor is not None:
                    gradient = gradient + work.correction.mu * (weights[k] - _row(work.correction.anchor, k))
                if work.correction.drift is not None:
                    gradient = gradient + _row(work.correction.drift, k)
                loss[k] += [0.5 * float(((weights[k] - x) ** 2).sum()), len(examples)]
                weights[k] -= lr * gradient
        sizes = np.array([[len(examples)] for examples in work.examples], dtype=np.float32)
        return Trained(work.weights, weights - work.weights, steps, sizes, {"loss": loss})

    def evaluate(self, weights: Any, local: Any, examples: Sequence[Examples]) -> Mapping[str, NDArray[np.float64]]:
        rows = np.zeros((len(examples), 2))
        for k, held in enumerate(examples):
            rows[k] = [0.5 * float(((_row(weights, k) - held.features()) ** 2).sum()), len(held)]
        return {"loss": rows}


def _row(array: Any, k: int) -> Any:
    return array[k] if array.ndim == 2 else array


@dataclass(frozen=True, eq=False)
class Points:
    """Parties `p0, p1, …`, one array `[n, D]` of points each."""

    arrays: Sequence[NDArray[np.float32]]
    heldout: Sequence[NDArray[np.float32]] = ()
    common: NDArray[np.float32] | None = None

    @property
    def ids(self) -> list[str]:
        return [f"p{k}" for k in range(len(self.arrays))]

    @property
    def test(self) -> Examples | None:
        return None if self.common is None else _examples(self.common)

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, party: str) -> PartyData:
        k = int(party[1:])
        held = self.heldout[k] if self.heldout else self.arrays[k][:0]
        return PartyData(_examples(self.arrays[k]), _examples(held))

    @classmethod
    def random(cls, parties: int, size: int = 3, *, least: int = 2, most: int = 9, seed: int = 0) -> Points:
        rng = Seed.of(seed).rng()
        sizes = rng.integers(least, most, parties)
        return cls([rng.normal(size=(n, size)).astype(np.float32) for n in sizes])


def _examples(x: NDArray[np.float32]) -> Examples:
    return Examples(x, np.zeros(len(x), dtype=np.int64))
