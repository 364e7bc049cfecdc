"""Checks that programs share: on their parts when they are built, and on the rate they divide by."""

from __future__ import annotations

from typing import Any

from comity.core.checks import described, offers
from comity.core.errors import ConfigError, LearnerError
from comity.learners.plan import LocalPlan


def check_parts(program: Any) -> None:
    """Raise `ConfigError` where the model, local plan or server optimizer of `program`, if it has one, is none."""
    check_model(program)
    title = type(program).__name__
    local = getattr(program, "local", None)
    if hasattr(program, "local") and not isinstance(local, LocalPlan):
        raise ConfigError(
            f"{described(local)} is no local plan", where=f"{title}.local", mend="give one: ct.LocalSGD(lr=0.1)"
        )
    server = getattr(program, "server", None)
    if hasattr(program, "server") and not offers(server, "init", "step"):
        name = server.__name__ if isinstance(server, type) else "SGD"
        raise ConfigError(
            f"{described(server)} is no server optimizer", where=f"{title}.server", mend=f"give one: ct.optim.{name}()"
        )


def check_model(program: Any) -> None:
    """Raise `ConfigError` where what `program` calls its model is no learner, with the learner to wrap it in."""
    model = program.model
    if not offers(model, "init", "build", "check"):
        raise ConfigError(
            f"{described(model)} is no learner", where=f"{type(program).__name__}.model", mend=_wrapped(model)
        )


def dividing_rate(program: Any, round: int) -> float:
    """The local learning rate of a round, for a program that divides by it. Raises `LearnerError` where it is 0."""
    rate: float = program.local.rate(round)
    if not rate > 0:
        raise LearnerError(
            f"the schedule gives the learning rate {rate:g}, and {type(program).__name__} divides by it",
            where=f"round {round + 1}",
            mend="give a schedule that stays above 0, for example Cosine(rounds=100, floor=0.01)",
        )
    return rate


def _wrapped(model: Any) -> str:
    name = getattr(model, "__name__", type(model).__name__)
    if hasattr(model, "get_params"):
        return f"wrap it: ct.sklearn.Estimator({name}(), features=..., classes=...)"
    if callable(model):
        return f"wrap it: ct.torch.Model({name})"
    return "give a learner such as ct.torch.Model(Net)"
