"""From summed statistics to the figures that a history shows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from comity.jobs.job import Job


def metric_value(job: Job, name: str, statistics: NDArray[np.float64]) -> float:
    """The value of a metric for its summed statistics; the loss is their ratio."""
    if name == "loss":
        return float(statistics[0] / statistics[1]) if statistics[1] else float("nan")
    metric = next(metric for metric in job.program.model.metrics if metric.name == name)
    return float(metric.value(statistics))


def metric_values(job: Job, statistics: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    return {name: metric_value(job, name, np.asarray(row)) for name, row in statistics.items()}


def rising(job: Job, column: str) -> bool:
    """Whether higher is better for a column of the history."""
    name = column.removeprefix("train_")
    return any(metric.higher_is_better for metric in job.program.model.metrics if metric.name == name)
