"""Metrics by name, where a name says everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from comity.core.checks import closest
from comity.core.errors import ConfigError
from comity.learners.metrics.auroc import AUROC
from comity.learners.metrics.base import Metric
from comity.learners.metrics.classification import Accuracy, LogLoss, Perplexity
from comity.learners.metrics.regression import MAE, R2, RMSE

_NAMED: Mapping[str, Callable[[], Metric]] = {
    "accuracy": Accuracy,
    "log_loss": LogLoss,
    "perplexity": Perplexity,
    "auroc": AUROC,
    "rmse": RMSE,
    "mae": MAE,
    "r2": R2,
}

_WITH_PARAMETERS: Mapping[str, str] = {
    "f1": "F1(classes=10)",
    "precision": "Precision(classes=10)",
    "recall": "Recall(classes=10)",
    "top_k_accuracy": "TopK(k=5)",
}


def resolve(metrics: Sequence[str | Metric]) -> tuple[Metric, ...]:
    """The metrics meant by names and objects; `"auroc"` is the one of two classes.

    Raises `ConfigError` for a name that is unknown or needs parameters, for two metrics of one name, and for a metric
    named `"loss"`, which every learner reports of itself.
    """
    if isinstance(metrics, str):
        raise ConfigError(f"metrics is the string {metrics!r}", where="metrics", mend=f"give a list: [{metrics!r}]")
    found = tuple(_named(metric) if isinstance(metric, str) else metric for metric in metrics)
    for index, metric in enumerate(found):
        if not isinstance(metric, Metric) or isinstance(metric, type):
            raise ConfigError(
                f"{metric!r} is no metric", where=f"metrics[{index}]", mend="give a name or an object of ct.metrics"
            )
        if metric.name == "loss":
            raise ConfigError("a metric is named 'loss'", where=f"metrics[{index}]", mend="give it another name")
        if metric.name in [other.name for other in found[:index]]:
            raise ConfigError(
                f"two metrics are named {metric.name!r}", where=f"metrics[{index}]", mend="leave one of them out"
            )
    return found


def _named(name: str) -> Metric:
    if name in _NAMED:
        return _NAMED[name]()
    if name in _WITH_PARAMETERS:
        raise ConfigError(
            f"the metric {name!r} needs parameters", where="metrics", mend=f"use ct.metrics.{_WITH_PARAMETERS[name]}"
        )
    hint = closest(name, [*_NAMED, *_WITH_PARAMETERS])
    raise ConfigError(
        f"no metric is named {name!r}",
        where="metrics",
        mend=f"{hint and hint + ' '}the names are {', '.join(sorted(_NAMED))}",
    )
