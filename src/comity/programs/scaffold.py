"""SCAFFOLD: local steps corrected by control variates (Karimireddy et al. 2020, arXiv 1910.06378)."""

from __future__ import annotations

from dataclasses import dataclass

from comity.core.arrays import Array
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


@dataclass(frozen=True, eq=False)
class Controlled:
    """The model, and the server's control variate `c` `[D]`."""

    served: Served
    control: Array


@dataclass(frozen=True)
class Scaffold:
    """Each party corrects its gradients by `c − cᵢ`, the difference of the mean gradient and its own as last seen.

    The control variates are renewed from the path just taken, `cᵢ⁺ = cᵢ − c + (x − yᵢ)/(K·η)` (option II). A party
    keeps `cᵢ` between rounds; the server adds the mean renewal, times the share of the population that took part. Every
    party counts once, whatever it holds: with weights that depend on who takes part, `c` would not stay the mean.
    """

    model: Model
    local: LocalSGD
    server: ServerOptimizer = optim.SGD(lr=1.0)

    def __post_init__(self) -> None:
        check_parts(self)
        if not isinstance(self.local, LocalSGD) or self.local.momentum or self.local.clip_norm:
            raise ConfigError(
                "control variates are derived for plain SGD steps",
                where="Scaffold.local",
                mend="use LocalSGD without momentum and clip_norm",
            )

    @property
    def corrects(self) -> bool:
        """Whether local gradients are corrected, which not every learner can do."""
        return True

    def exchange(self) -> Exchange:
        size = self.model.layout.size
        return Exchange(
            broadcast={
                "weights": Value(size, "the global model"),
                "control": Value(size, "the server's control variate"),
            },
            contribution={
                "weights": Value(size, "the change that local training made to the model"),
                "control": Value(size, "the change of the party's control variate"),
            },
            memory={"control": Value(size, "the party's control variate")},
        )

    def init(self, seed: Seed) -> Controlled:
        served = start(self.model, self.server, seed)
        return Controlled(served, control=served.weights * 0)

    def broadcast(self, state: Controlled) -> Vectors:
        return Vectors(weights=state.served.weights, control=state.control)

    def at_party(self, sent: Vectors, party: Party) -> Contribution:
        lr = dividing_rate(self, party.round)
        own = party.memory.get("control", sent.control * 0)
        trained = party.train(sent.weights, self.local, drift=sent.control - own)
        descent = -self.model.layout.without_buffers(trained.change) / (trained.steps * lr)
        party.memory["control"] = renewed = own - sent.control + descent
        return Contribution(Vectors(weights=trained.change, control=renewed - own), trained.alike, trained.statistics)

    def update(self, state: Controlled, aggregate: Aggregate) -> Controlled:
        return Controlled(
            served=renew(state.served, aggregate.vectors.weights, self.server, self.model.layout),
            control=state.control + aggregate.participation * aggregate.vectors.control,
        )

    def weights(self, state: Controlled) -> Array:
        return state.served.weights
