"""Comity: federated learning. Many parties train one model on data that stays where it is, and each can check that.

Four nouns: a *Learner* (what is trained), a *Program* (the algorithm), an *Aggregator* (how contributions become one)
and a *Federation* (where the parties are). A `Job` binds the first three; `run(job, federation)` carries it out.

Names load when they are first used: a process pays for what it does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comity import data
    from comity.aggregation.admission import Admission
    from comity.aggregation.mean import Mean
    from comity.coordination.buffered import Buffered
    from comity.coordination.synchronous import Rounds
    from comity.core.contribution import Aggregate, Contribution, Exchange, Value
    from comity.core.errors import ComityError, ConfigError
    from comity.core.seeds import Seed
    from comity.core.vectors import Vectors
    from comity.deployment.deployment import Deployment
    from comity.jobs.job import Job
    from comity.jobs.stopping import EarlyStopping
    from comity.learners import metrics, schedules, sklearn, torch
    from comity.learners.function import Function
    from comity.learners.plan import LocalAdam, LocalAdamW, LocalSGD
    from comity.learners.records import RecordPrivacy
    from comity.privacy.banded import BandedSquareRoot
    from comity.privacy.tree import BinaryTree
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
    from comity.transforms.adaptive import AdaptiveClip
    from comity.transforms.clip import Clip
    from comity.transforms.correlated import CorrelatedNoise
    from comity.transforms.noise import GaussianNoise

__version__ = "0.1.0"

_HOMES = {
    "comity": "data",
    "comity.aggregation.admission": "Admission",
    "comity.aggregation.mean": "Mean",
    "comity.coordination.buffered": "Buffered",
    "comity.coordination.synchronous": "Rounds",
    "comity.core.contribution": "Aggregate Contribution Exchange Value",
    "comity.core.errors": "ComityError ConfigError",
    "comity.core.seeds": "Seed",
    "comity.core.vectors": "Vectors",
    "comity.deployment.deployment": "Deployment",
    "comity.jobs.job": "Job",
    "comity.jobs.stopping": "EarlyStopping",
    "comity.learners": "metrics schedules sklearn torch",
    "comity.learners.function": "Function",
    "comity.learners.plan": "LocalAdam LocalAdamW LocalSGD",
    "comity.learners.records": "RecordPrivacy",
    "comity.privacy.banded": "BandedSquareRoot",
    "comity.privacy.tree": "BinaryTree",
    "comity.programs": "optim",
    "comity.programs.evaluate": "Evaluate",
    "comity.programs.fedavg": "FedAdagrad FedAdam FedAvg FedAvgM FedYogi",
    "comity.programs.feddyn": "FedDyn",
    "comity.programs.fednova": "FedNova",
    "comity.programs.fedprox": "FedProx",
    "comity.programs.fedsgd": "FedSGD",
    "comity.programs.scaffold": "Scaffold",
    "comity.runs.plots": "plot_histories",
    "comity.runs.run": "Run run",
    "comity.simulation.devices": "Devices",
    "comity.simulation.simulation": "Simulation",
    "comity.transforms.adaptive": "AdaptiveClip",
    "comity.transforms.clip": "Clip",
    "comity.transforms.correlated": "CorrelatedNoise",
    "comity.transforms.noise": "GaussianNoise",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AdaptiveClip",
    "Admission",
    "Aggregate",
    "BandedSquareRoot",
    "BinaryTree",
    "Buffered",
    "Clip",
    "ComityError",
    "ConfigError",
    "Contribution",
    "CorrelatedNoise",
    "Deployment",
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
    "GaussianNoise",
    "Job",
    "LocalAdam",
    "LocalAdamW",
    "LocalSGD",
    "Mean",
    "RecordPrivacy",
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
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'comity' has no attribute {name!r}")
    module = import_module(home)
    found = getattr(module, name) if name in vars(module) else import_module(f"{home}.{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
