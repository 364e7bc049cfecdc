"""Federated averaging (McMahan et al. 2017, arXiv 1602.05629) and its server optimizers (Reddi et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from comity.core.arrays import Array
from comity.core.contribution import Aggregate, Contribution, Exchange, Value
from comity.core.seeds import Seed
from comity.core.vectors import Vectors
from comity.learners.base import Model
from comity.learners.plan import LocalPlan
from comity.programs import optim
from comity.programs.checks import check_parts
from comity.programs.optim import ServerOptimizer
from comity.programs.party import Party
from comity.programs.server import Served, renew, start


@dataclass(frozen=True)
class FedAvg:
    """Parties train on their own data; the server moves the model along the mean of their changes.

    With `server=SGD(1.0)` the new model is the weighted mean of the parties' models: FedAvg as published. With
    momentum, Adagrad, Adam or Yogi it is FedAvgM (Hsu et al. 2019, arXiv 1909.06335), FedAdagrad, FedAdam or FedYogi.
    """

    model: Model
    local: LocalPlan
    server: ServerOptimizer = optim.SGD(lr=1.0)

    def __post_init__(self) -> None:
        check_parts(self)

    def exchange(self) -> Exchange:
        size = self.model.layout.size
        return Exchange(
            broadcast={"weights": Value(size, "the global model")},
            contribution={"weights": Value(size, "the change that local training made to the model")},
        )

    def init(self, seed: Seed) -> Served:
        return start(self.model, self.server, seed)

    def broadcast(self, state: Served) -> Vectors:
        return Vectors(weights=state.weights)

    def at_party(self, sent: Vectors, party: Party) -> Contribution:
        trained = party.train(sent.weights, self.local)
        return Contribution(Vectors(weights=trained.change), trained.examples, trained.statistics)

    def update(self, state: Served, aggregate: Aggregate) -> Served:
        return renew(state, aggregate.vectors.weights, self.server, self.model.layout)

    def weights(self, state: Served) -> Array:
        return state.weights


def FedAvgM(model: Model, local: LocalPlan, lr: float = 1.0, momentum: float = 0.9) -> FedAvg:
    """FedAvg with momentum at the server (Hsu et al. 2019, arXiv 1909.06335)."""
    return FedAvg(model, local, optim.SGD(lr, momentum))


def FedAdagrad(model: Model, local: LocalPlan, lr: float = 0.1, tau: float = 1e-3) -> FedAvg:
    """FedAvg with Adagrad at the server."""
    return FedAvg(model, local, optim.Adagrad(lr, tau=tau))


def FedAdam(model: Model, local: LocalPlan, lr: float = 0.1, tau: float = 1e-3) -> FedAvg:
    """FedAvg with Adam at the server."""
    return FedAvg(model, local, optim.Adam(lr, tau=tau))


def FedYogi(model: Model, local: LocalPlan, lr: float = 0.1, tau: float = 1e-3) -> FedAvg:
    """FedAvg with Yogi at the server."""
    return FedAvg(model, local, optim.Yogi(lr, tau=tau))
