"""Comity: federated learning. Many parties train one model on data that stays where it is, and each can check that.

Four nouns: a *Learner* (what is trained), a *Program* (the algorithm), an *Aggregator* (how contributions become one)
and a *Federation* (where the parties are). A `Job` binds the first three; `run(job, federation)` carries it out.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from comity import data
from comity.aggregation.admission import Admission
from comity.aggregation.mean import Mean
from comity.coordination.buffered import Buffered
from comity.coordination.synchronous import Rounds
from comity.core.contribution import Aggregate, Contribution, Exchange, Value
from comity.core.errors import ComityError, ConfigError
from comity.core.seeds import Seed
from comity.core.vectors import Vectors
from comity.jobs.job import Job
from comity.jobs.stopping import EarlyStopping
from comity.learners import metrics, schedules
from comity.learners.function import Function
from comity.learners.plan import LocalAdam, LocalAdamW, LocalSGD
from comity.programs import optim
from comity.programs.evaluate import Evaluate
from comity.programs.fedavg import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi
from comity.programs.feddyn import FedDyn
from comity.programs.fednova import FedNova
from comity.programs.fedprox import FedProx
from comity.programs.fedsgd import FedSGD
from comity.programs.scaffold import Scaffold
from comity.runs.plots import plot_histories
from comity.runs.run import Run, run
from comity.simulation.devices import Devices
from comity.simulation.simulation import Simulation
from comity.transforms.clip import Clip

if TYPE_CHECKING:
    from comity.learners import sklearn, torch

__version__ = "0.1.0"

__all__ = [
    "Admission",
    "Aggregate",
    "Buffered",
    "Clip",
    "ComityError",
    "ConfigError",
    "Contribution",
    "Devices",
    "EarlyStopping",
    "Evaluate",
    "Exchange",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedDyn",
    "FedNova",
    "FedProx",
    "FedSGD",
    "FedYogi",
    "Function",
    "Job",
    "LocalAdam",
    "LocalAdamW",
    "LocalSGD",
    "Mean",
    "Rounds",
    "Run",
    "Scaffold",
    "Seed",
    "Simulation",
    "Value",
    "Vectors",
    "data",
    "metrics",
    "optim",
    "plot_histories",
    "run",
    "schedules",
    "sklearn",
    "torch",
]


def __getattr__(name: str) -> Any:
    """`comity.torch` and `comity.sklearn` load when first used: importing Comity imports neither library."""
    if name in ("torch", "sklearn"):
        return import_module(f"comity.learners.{name}")
    raise AttributeError(f"module 'comity' has no attribute {name!r}")
