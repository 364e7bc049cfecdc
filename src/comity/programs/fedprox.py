"""FedProx: a proximal term holds local training near the global model (Li et al. 2020, arXiv 1812.06127)."""

from __future__ import annotations

from dataclasses import dataclass

from comity.core.arrays import Array
from comity.core.checks import nonnegative
from comity.core.contribution import Aggregate, Contribution, Exchange
from comity.core.seeds import Seed
from comity.core.vectors import Vectors
from comity.learners.base import Model
from comity.learners.plan import LocalPlan
from comity.programs import optim
from comity.programs.checks import check_parts
from comity.programs.fedavg import FedAvg
from comity.programs.optim import ServerOptimizer
from comity.programs.party import Party
from comity.programs.server import Served


@dataclass(frozen=True)
class FedProx:
    """FedAvg whose parties minimise `f(w) + mu/2·‖w − w_global‖²`; with `mu=0` it is FedAvg.

    The paper's other half, stragglers that return partial work, is the work budget of a party and needs nothing here.
    """

    model: Model
    local: LocalPlan
    mu: float
    server: ServerOptimizer = optim.SGD(lr=1.0)

    def __post_init__(self) -> None:
        check_parts(self)
        nonnegative(self, "mu")

    @property
    def corrects(self) -> bool:
        """Whether local gradients are corrected, which not every learner can do."""
        return self.mu > 0

    def exchange(self) -> Exchange:
        return self._averaging.exchange()

    def init(self, seed: Seed) -> Served:
        return self._averaging.init(seed)

    def broadcast(self, state: Served) -> Vectors:
        return Vectors(weights=state.weights)

    def at_party(self, sent: Vectors, party: Party) -> Contribution:
        trained = party.train(sent.weights, self.local, mu=self.mu, anchor=sent.weights)
        return Contribution(Vectors(weights=trained.change), trained.examples, trained.statistics)

    def update(self, state: Served, aggregate: Aggregate) -> Served:
        return self._averaging.update(state, aggregate)

    def weights(self, state: Served) -> Array:
        return state.weights

    @property
    def _averaging(self) -> FedAvg:
        return FedAvg(self.model, self.local, self.server)
