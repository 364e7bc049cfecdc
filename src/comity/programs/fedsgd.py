"""Federated SGD (McMahan et al. 2017, arXiv 1602.05629, section 2): one full gradient a party and round."""

from __future__ import annotations

from dataclasses import dataclass

from comity.core.arrays import Array
from comity.core.contribution import Aggregate, Contribution, Exchange, Value
from comity.core.seeds import Seed
from comity.core.vectors import Vectors
from comity.learners.base import Model
from comity.learners.plan import LocalSGD
from comity.programs import optim
from comity.programs.checks import check_parts
from comity.programs.optim import ServerOptimizer
from comity.programs.party import Party
from comity.programs.server import Served, renew, start

_GRADIENT = LocalSGD(lr=1.0, steps=1)
"""One full-batch step at rate 1: what it changes is the negative of the gradient."""


@dataclass(frozen=True)
class FedSGD:
    """Each party computes the gradient over all its examples; the server descends along their mean."""

    model: Model
    server: ServerOptimizer = optim.SGD(lr=0.1)

    def __post_init__(self) -> None:
        check_parts(self)

    def exchange(self) -> Exchange:
        size = self.model.layout.size
        return Exchange(
            broadcast={"weights": Value(size, "the global model")},
            contribution={"descent": Value(size, "the negative gradient over all of the party's examples")},
        )

    def init(self, seed: Seed) -> Served:
        return start(self.model, self.server, seed)

    def broadcast(self, state: Served) -> Vectors:
        return Vectors(weights=state.weights)

    def at_party(self, sent: Vectors, party: Party) -> Contribution:
        stepped = party.train(sent.weights, _GRADIENT)
        return Contribution(Vectors(descent=stepped.change), stepped.examples, stepped.statistics)

    def update(self, state: Served, aggregate: Aggregate) -> Served:
        return renew(state, aggregate.vectors.descent, self.server, self.model.layout)

    def weights(self, state: Served) -> Array:
        return state.weights
