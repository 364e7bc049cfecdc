"""What the same model reaches without a federation: trained on pooled data, and trained by every party alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from comity.coordination.synchronous import Rounds
from comity.core.arrays import Array
from comity.core.contribution import Aggregate, Contribution, Exchange, Value
from comity.core.seeds import Seed
from comity.core.vectors import Vectors
from comity.data import Examples, Parties, PartyData
from comity.demo import setting
from comity.jobs.job import Job
from comity.learners.base import Model, statistics_sizes
from comity.learners.plan import LocalPlan, LocalSGD
from comity.programs.fedavg import FedAvg
from comity.programs.party import Party


def pooled(data: Parties) -> Parties:
    """One party that holds the training examples of all."""
    examples = data.pooled()
    ends = np.array([len(examples)])
    return Parties(("everyone",), examples, np.array([0, len(examples)]), ends, data.test, data.classes)


def centralised(seed: int, plan: LocalSGD = setting.PASS, rounds: int = setting.ROUNDS) -> Job:
    """A federation of one party: plain training, by `plan` in each round."""
    return Job(FedAvg(setting.model(), plan), Rounds(count=rounds), seed=seed)


def alone(seed: int, plan: LocalSGD = setting.PASS, rounds: int = setting.ROUNDS) -> Job:
    """Every party for itself, by `plan` in each round."""
    return Job(Alone(setting.model(), plan, seed), Rounds(count=rounds), seed=seed)


@dataclass(frozen=True, eq=False)
class Start:
    """The model `[D]` from which every party starts, which never changes."""

    weights: Array


@dataclass(frozen=True)
class Alone:
    """Every party trains a model of its own, which never leaves it; metrics are those on its held-out examples.

    All start from the model that `seed` gives, the one from which a federated job with that seed starts.
    """

    model: Model
    local: LocalPlan
    seed: int

    @cached_property
    def start(self) -> NDArray[np.float32]:
        return self.model.init(Seed.of(self.seed).child("model"))

    def exchange(self) -> Exchange:
        size = self.model.layout.size
        return Exchange(
            broadcast={},
            contribution={},
            memory={"own": Value(size, "the party's own model")},
            metrics=statistics_sizes(self.model),
        )

    def init(self, seed: Seed) -> Start:
        return Start(self.start)

    def broadcast(self, state: Start) -> Vectors:
        return Vectors()

    def at_party(self, sent: Vectors, party: Party) -> Contribution:
        own = party.memory.get("own", party.trainer.place(self.start))
        trained = party.train(own, self.local)
        party.memory["own"] = trained.weights
        return Contribution(Vectors(), party.examples(), party.evaluate(trained.weights))

    def update(self, state: Start, aggregate: Aggregate) -> Start:
        return state

    def weights(self, state: Start) -> Array:
        return state.weights


@dataclass(frozen=True, eq=False)
class JudgedInCommon:
    """Parties whose held-out examples are the common test set."""

    data: Parties

    @property
    def ids(self) -> Sequence[str]:
        return self.data.ids

    @property
    def test(self) -> Examples | None:
        return self.data.test

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, party: str) -> PartyData:
        assert self.data.test is not None
        return PartyData(self.data[party].train, self.data.test)
