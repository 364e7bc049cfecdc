"""Federated evaluation: every party judges a model on its own held-out examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array
from comity.core.checks import one_of
from comity.core.contribution import Aggregate, Contribution, Exchange, Value
from comity.core.seeds import Seed
from comity.core.vectors import Vectors
from comity.learners.base import Model, statistics_sizes
from comity.programs.checks import check_parts
from comity.programs.party import Party


@dataclass(frozen=True, eq=False)
class Judged:
    """The model that is judged `[D]`, and the summed statistics of every metric once the parties have answered."""

    weights: Array
    statistics: dict[str, Array]


@dataclass(frozen=True, eq=False)
class Evaluate:
    """One round in which no model changes: metric statistics travel, and nothing else.

    `start` is the model to judge, `[D]`; the model's own starting point when None.
    """

    model: Model
    start: NDArray[np.float32] | None = None
    on: Literal["heldout", "train"] = "heldout"

    def __post_init__(self) -> None:
        check_parts(self)
        one_of(self, "on", ("heldout", "train"))

    def exchange(self) -> Exchange:
        return Exchange(
            broadcast={"weights": Value(self.model.layout.size, "the model to judge")},
            contribution={},
            metrics=statistics_sizes(self.model),
        )

    def init(self, seed: Seed) -> Judged:
        weights = self.model.init(seed.child("model")) if self.start is None else self.start
        return Judged(weights, {name: np.zeros(size) for name, size in self.exchange().metrics.items()})

    def broadcast(self, state: Judged) -> Vectors:
        return Vectors(weights=state.weights)

    def at_party(self, sent: Vectors, party: Party) -> Contribution:
        return Contribution(Vectors(), party.examples(self.on), party.evaluate(sent.weights, self.on))

    def update(self, state: Judged, aggregate: Aggregate) -> Judged:
        return Judged(state.weights, dict(aggregate.metrics))

    def weights(self, state: Judged) -> Array:
        return state.weights
