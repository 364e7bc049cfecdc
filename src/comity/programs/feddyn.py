"""FedDyn: dynamic regularisation aligns local optima with the global one (Acar et al. 2021, arXiv 2111.04263)."""

from __future__ import annotations

from dataclasses import dataclass

from comity.core.arrays import Array
from comity.core.checks import positive
from comity.core.contribution import Aggregate, Contribution, Exchange, Value
from comity.core.seeds import Seed
from comity.core.vectors import Vectors
from comity.learners.base import Model
from comity.learners.plan import LocalPlan
from comity.programs.checks import check_parts
from comity.programs.party import Party


@dataclass(frozen=True, eq=False)
class Regularised:
    """The model `[D]`, and `h` `[D]`: the running sum of all changes, which the model is corrected by."""

    weights: Array
    h: Array


@dataclass(frozen=True)
class FedDyn:
    """Parties minimise `f(w) − ⟨λᵢ, w⟩ + alpha/2·‖w − w_global‖²` and keep `λᵢ ← λᵢ − alpha·(wᵢ − w_global)`.

    The server keeps `h ← h − alpha·(share of parties)·(mean change)` and sets the model to the parties' mean minus
    `h/alpha`.
    """

    model: Model
    local: LocalPlan
    alpha: float = 0.01

    def __post_init__(self) -> None:
        check_parts(self)
        positive(self, "alpha")

    @property
    def corrects(self) -> bool:
        """Whether local gradients are corrected, which not every learner can do."""
        return True

    def exchange(self) -> Exchange:
        size = self.model.layout.size
        return Exchange(
            broadcast={"weights": Value(size, "the global model")},
            contribution={"weights": Value(size, "the change that local training made to the model")},
            memory={"gradient": Value(size, "λ, the party's running gradient")},
        )

    def init(self, seed: Seed) -> Regularised:
        weights = self.model.init(seed.child("model"))
        return Regularised(weights, h=weights * 0)

    def broadcast(self, state: Regularised) -> Vectors:
        return Vectors(weights=state.weights)

    def at_party(self, sent: Vectors, party: Party) -> Contribution:
        own = party.memory.get("gradient", sent.weights * 0)
        trained = party.train(sent.weights, self.local, mu=self.alpha, anchor=sent.weights, drift=-own)
        party.memory["gradient"] = own - self.alpha * self.model.layout.without_buffers(trained.change)
        return Contribution(Vectors(weights=trained.change), trained.alike, trained.statistics)

    def update(self, state: Regularised, aggregate: Aggregate) -> Regularised:
        change = aggregate.vectors.weights
        h = state.h - self.alpha * aggregate.participation * self.model.layout.without_buffers(change)
        return Regularised(weights=state.weights + change - h / self.alpha, h=h)

    def weights(self, state: Regularised) -> Array:
        return state.weights
