"""Early stopping: when a run has seen enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from comity.core.errors import ConfigError


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when `metric` reaches `target`, or has not improved by `min_delta` for `patience` evaluations.

    `metric` is the name of a column of the history (`"accuracy"`, `"loss"`, `"train_loss"`); which way is up
    is known of the metric.
    """

    metric: str
    target: float | None = None
    patience: int | None = None
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.target is None and self.patience is None:
            raise ConfigError("nothing to stop at", where="EarlyStopping", mend="give target, patience, or both")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"patience is {self.patience}", where="EarlyStopping.patience", mend="give 1 or more")

    def verdict(self, values: Sequence[float], rising: bool) -> str | None:
        """The reason to stop after `values`, the metric's course so far; None to go on. `rising`: higher is better."""
        sign = 1.0 if rising else -1.0
        course = [sign * value for value in values if not isnan(value)]
        if not course:
            return None
        if self.target is not None and course[-1] >= sign * self.target:
            return f"{self.metric} reached {self.target:g}"
        if self.patience is None or len(course) <= self.patience:
            return None
        best_before = max(course[: -self.patience])
        if max(course[-self.patience :]) < best_before + self.min_delta or max(course[-self.patience :]) == best_before:
            return f"{self.metric} has not improved for {self.patience} evaluations"
        return None
