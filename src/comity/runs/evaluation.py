"""An evaluation at the parties: what each found, what all found together, and how far they are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from comity.core.errors import ConfigError, Rejection
from comity.runs.history import PartyRecord


@dataclass(frozen=True)
class Spread:
    """How a metric is spread over parties: the mean, the mean of the worst tenth, the worst and the best."""

    mean: float
    worst_tenth: float
    worst: float
    best: float


@dataclass(frozen=True)
class Evaluation:
    """`pooled` values over the examples of all parties, one record a party, and the parties that failed."""

    pooled: Mapping[str, float]
    parties: Sequence[PartyRecord]
    rejected: Sequence[Rejection] = ()

    def spread(self, metric: str, *, higher_is_better: bool = True) -> Spread:
        """The spread of `metric` over the parties that have examples to judge by; each party counts once."""
        values = [record.metrics[metric] for record in self.parties if metric in record.metrics]
        finite = np.sort([value for value in values if np.isfinite(value)])
        if not len(finite):
            raise ConfigError(
                f"no party has a value of {metric!r}",
                where="Evaluation.spread",
                mend=f"metrics here: {', '.join(self.pooled) or 'none'}; parties need held-out examples",
            )
        ordered = finite if higher_is_better else finite[::-1]
        tenth = ordered[: ceil(len(ordered) / 10)]
        return Spread(float(finite.mean()), float(tenth.mean()), float(ordered[0]), float(ordered[-1]))
