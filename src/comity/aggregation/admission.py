"""Admission: what a contribution must satisfy to count. It refuses one party's update, never the round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from comity.core.arrays import StoredRow, to_numpy
from comity.core.contribution import Contribution, Exchange, norms
from comity.core.errors import ConfigError, Reason


@dataclass(frozen=True)
class Admission:
    """The checks on every contribution: shapes and dtypes as declared, finite values, weight, and a bound on the norm.

    `max_norm` bounds the joint L2 norm of a contribution's vectors, `max_weight` the weight that one party can claim.
    """

    max_norm: float | None = None
    max_weight: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_norm", "max_weight"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value!r}", where=f"Admission.{name}", mend="give a number above 0")

    def check(self, contribution: Contribution, exchange: Exchange) -> list[tuple[Reason, str] | None]:
        """For each of the K parties None, or the reason and the words with which its contribution is refused."""
        count = len(contribution.weight)
        if fault := _malformed(contribution, exchange):
            return [fault] * count
        verdicts: list[tuple[Reason, str] | None] = [None] * count
        weight = np.asarray(to_numpy(contribution.weight), dtype=np.float64)[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):
            length = (
                np.asarray(to_numpy(norms(contribution.vectors)))[:, 0] if contribution.vectors else np.zeros(count)
            )
        sound = np.isfinite(length) & np.isfinite(weight)
        for statistics in contribution.metrics.values():
            sound &= np.isfinite(to_numpy(statistics)).all(axis=-1)
        for k in range(count):
            if not sound[k]:
                verdicts[k] = _not_finite(contribution.row(k))
            elif weight[k] < 0 or (weight[k] == 0 and contribution.vectors):
                verdicts[k] = Reason.WEIGHT, f"a weight of {weight[k]:g}; it must be above 0"
            elif self.max_weight is not None and weight[k] > self.max_weight:
                verdicts[k] = Reason.WEIGHT, f"a weight of {weight[k]:g}; the bound is {self.max_weight:g}"
            elif self.max_norm is not None and length[k] > self.max_norm:
                verdicts[k] = Reason.NORM, f"a norm of {length[k]:g}; the bound is {self.max_norm:g}"
        return verdicts


def _malformed(contribution: Contribution, exchange: Exchange) -> tuple[Reason, str] | None:
    expected, given = set(exchange.contribution), set(contribution.vectors)
    if expected != given:
        return Reason.SHAPE, f"vectors {sorted(given)}; expected {sorted(expected)}"
    for name, array in contribution.vectors.items():
        size = exchange.contribution[name].size
        if array.ndim != 2 or array.shape[1] != size:
            return Reason.SHAPE, f"{name} has shape {tuple(array.shape[1:])}; expected ({size},)"
        if "float" not in str(array.dtype):
            return Reason.DTYPE, f"{name} is {array.dtype}; expected floating point"
    for name, statistics in contribution.metrics.items():
        if exchange.metrics.get(name) != statistics.shape[-1]:
            return (
                Reason.SHAPE,
                f"{statistics.shape[-1]} statistics of a metric {name}; declared are {_declared(exchange)}",
            )
    return None


def _declared(exchange: Exchange) -> str:
    return ", ".join(f"{size} of {name}" for name, size in exchange.metrics.items()) or "none"


def _not_finite(contribution: Contribution) -> tuple[Reason, str]:
    """The refusal of a contribution whose norm, weight or metrics are not finite: say which value it is."""
    for name, array in contribution.vectors.items():
        runs = array.runs() if isinstance(array, StoredRow) else [to_numpy(array)]
        bad = sum(int((~np.isfinite(run)).sum()) for run in runs)
        if bad:
            return Reason.NOT_FINITE, f"{bad} of {array.shape[-1]} entries of {name} are NaN or infinite"
    if not np.isfinite(to_numpy(contribution.weight)).all():
        return Reason.NOT_FINITE, "the weight is NaN or infinite"
    for name, statistics in contribution.metrics.items():
        if not np.isfinite(to_numpy(statistics)).all():
            return Reason.NOT_FINITE, f"the metric {name} is NaN or infinite"
    return Reason.NOT_FINITE, "the norm overflows"
