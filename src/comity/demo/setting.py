"""What the demo trains, on what, and how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comity.coordination.synchronous import Rounds
from comity.core.errors import MissingDependency
from comity.data import Dirichlet, Parties, load
from comity.jobs.job import Job
from comity.learners.plan import LocalSGD
from comity.programs.fedavg import FedAvg

if TYPE_CHECKING:
    from torch import nn

    from comity.learners.torch import Model

PARTIES = 40
COHORT = 20
ALPHA = 0.3
ROUNDS = 200
EPOCHS = 2
LOCAL = LocalSGD(lr=0.3, epochs=EPOCHS, batch_size=16)
PASS = LocalSGD(lr=LOCAL.lr, epochs=EPOCHS * COHORT // PARTIES, batch_size=LOCAL.batch_size)
"""The same work for everyone at once: what the parties of a cohort do in a round, spread over all of them."""


def network() -> nn.Module:
    """One hidden layer between 8 × 8 pixels and 10 digits."""
    from torch import nn

    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def model() -> Model:
    """The network with its loss and its metric. Raises `MissingDependency`."""
    from comity.learners.torch import Model

    return Model(network, loss="cross_entropy", metrics=("accuracy",))


def parties(seed: int) -> Parties:
    """Handwritten digits over 40 parties, of which each has its own mix of digits."""
    return load("digits", seed=seed).split(Dirichlet(parties=PARTIES, alpha=ALPHA), seed=seed)


def federated(seed: int) -> Job:
    """Federated averaging: in each round half of the parties go twice through their own examples."""
    return Job(FedAvg(model(), LOCAL), Rounds(count=ROUNDS, cohort=COHORT), seed=seed)


def check_installed() -> None:
    """Raise `MissingDependency` now for what the demo would miss later."""
    model()
    for package, name in (("scikit-learn", "sklearn"), ("matplotlib", "matplotlib")):
        try:
            __import__(name)
        except ImportError:
            raise MissingDependency.of(package, "demo", "the demo") from None
