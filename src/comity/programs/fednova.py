"""FedNova: normalised averaging for parties that take unequal numbers of steps (Wang et al. 2020, arXiv 2007.07481)."""

from __future__ import annotations

from dataclasses import dataclass

from comity.core.arrays import Array
from comity.core.checks import nonnegative
from comity.core.contribution import Aggregate, Contribution, Exchange, Value
from comity.core.errors import ConfigError
from comity.core.seeds import Seed
from comity.core.vectors import Vectors
from comity.learners.base import Model
from comity.learners.plan import LocalSGD
from comity.programs import optim
from comity.programs.checks import check_parts, dividing_rate
from comity.programs.optim import ServerOptimizer
from comity.programs.party import Party
from comity.programs.server import Served, renew, start


@dataclass(frozen=True)
class FedNova:
    """Each party returns its change per effective step; the server scales the mean by the mean number of steps.

    A party that takes more steps no longer pulls the model towards its own optimum. `mu` adds FedProx's proximal term.
    """

    model: Model
    local: LocalSGD
    mu: float = 0.0
    server: ServerOptimizer = optim.SGD(lr=1.0)

    def __post_init__(self) -> None:
        check_parts(self)
        nonnegative(self, "mu")
        if not isinstance(self.local, LocalSGD):
            raise ConfigError(
                "the number of effective steps is known for SGD and SGD with momentum only",
                where="FedNova.local",
                mend="use LocalSGD",
            )
        if self.local.nesterov or (self.mu and self.local.momentum):
            raise ConfigError(
                "no closed form for the effective steps of Nesterov momentum, or of momentum with mu",
                where="FedNova",
                mend="leave one of them out",
            )
        if self.model.layout.shared_size < self.model.layout.size:
            raise ConfigError(
                "averaged buffers have no number of steps to be divided by",
                where="FedNova.model",
                mend='keep batch-norm buffers at the parties: Model(..., buffers="local")',
            )

    @property
    def corrects(self) -> bool:
        """Whether local gradients are corrected, which not every learner can do."""
        return self.mu > 0

    def exchange(self) -> Exchange:
        size = self.model.layout.size
        return Exchange(
            broadcast={"weights": Value(size, "the global model")},
            contribution={
                "change": Value(size, "the change of the model per effective local step"),
                "steps": Value(1, "the number of effective local steps"),
            },
        )

    def init(self, seed: Seed) -> Served:
        return start(self.model, self.server, seed)

    def broadcast(self, state: Served) -> Vectors:
        return Vectors(weights=state.weights)

    def at_party(self, sent: Vectors, party: Party) -> Contribution:
        trained = party.train(sent.weights, self.local, mu=self.mu, anchor=sent.weights)
        lr = dividing_rate(self, party.round) if self.mu else self.local.rate(party.round)
        steps = self.effective_steps(trained.steps, lr)
        change = trained.change / steps
        return Contribution(Vectors(change=change, steps=steps), trained.examples, trained.statistics)

    def update(self, state: Served, aggregate: Aggregate) -> Served:
        change = aggregate.vectors.steps[0] * aggregate.vectors.change
        return renew(state, change, self.server, self.model.layout)

    def weights(self, state: Served) -> Array:
        return state.weights

    def effective_steps(self, steps: Array, lr: float) -> Array:
        """`‖a‖₁`, the summed weight that a party's gradients have in its change, for `steps` `[K, 1]` (section 4.1)."""
        if self.mu:
            return (1 - (1 - lr * self.mu) ** steps) / (lr * self.mu)
        rho = self.local.momentum
        return (steps - rho * (1 - rho**steps) / (1 - rho)) / (1 - rho)
