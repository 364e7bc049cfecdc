"""Clipping to a norm that follows the contributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp

import numpy as np

from comity.core.arrays import Array, namespace
from comity.core.checks import nonnegative, positive
from comity.core.contribution import Aggregate, Contribution, Exchange, Value, norms
from comity.core.errors import ConfigError
from comity.core.vectors import Vectors
from comity.privacy.continuous import gaussian
from comity.transforms.chain import Link
from comity.transforms.clip import bounded, shrinking

NORM = "clipping_norm"
"""The name under which parties are told the norm of the round."""

WITHIN = "within_norm"
"""The statistic that says whether a contribution was within it: 1 or 0."""


@dataclass(frozen=True)
class Adapted:
    """The norm to which the next round clips; a float32, as parties are told it."""

    norm: float


@dataclass(frozen=True)
class AdaptiveClip(Link):
    """Clip to the `quantile` of the contributions' norms, found on the way (Andrew et al. 2021, arXiv 1905.03871).

    The first round clips to `start`. Each party says beside its contribution whether that was within the norm; if more
    than `quantile` of them were, the norm falls, by a factor of `exp(−step · (share − quantile))`, and otherwise it
    grows. The last of the party's transforms, before `Mean(weights="uniform")`.

    How many were within tells of the parties too: `count_noise` is the standard deviation of the noise on that number,
    for which the paper takes a twentieth of the cohort. With `GaussianNoise` it must be there, and has its share of the
    privacy budget: `ClippingSplit.of(z, cohort)` gives the two that together cost what a multiplier of z costs.
    """

    quantile: float = 0.5
    step: float = 0.2
    start: float = 0.1
    count_noise: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "step", "start")
        nonnegative(self, "count_noise")
        if not 0 < self.quantile < 1:
            raise ConfigError(
                f"quantile is {self.quantile!r}", where="AdaptiveClip.quantile", mend="give a number between 0 and 1"
            )

    @property
    def note(self) -> str:
        return f"clipped to the norm of the round, which follows their {self.quantile:g} quantile"

    def init(self, exchange: Exchange) -> Adapted:
        return _adapted(self.start)

    def extend(self, exchange: Exchange) -> Exchange:
        return replace(
            exchange,
            broadcast={**exchange.broadcast, NORM: Value(1, "the norm to which contributions are clipped")},
            metrics={**exchange.metrics, WITHIN: 1},
        )

    def tell(self, state: Adapted) -> Mapping[str, Array]:
        return {NORM: np.array([state.norm], dtype=np.float32)}

    def encode(self, contribution: Contribution, sent: Vectors) -> Contribution:
        length, norm = norms(contribution.vectors), float(sent[NORM][0])
        factor = shrinking(length, norm)
        within = namespace(length).astype(length <= norm, length.dtype)
        return replace(
            contribution,
            vectors=contribution.vectors.map(lambda array: array * factor),
            metrics={**contribution.metrics, WITHIN: within},
        )

    def decode(self, aggregate: Aggregate, state: Adapted) -> tuple[Aggregate, Adapted]:
        # Moved to ±½, one party's bit can change the sum by half of what it could otherwise.
        centred = float(aggregate.metrics[WITHIN][0]) - aggregate.count / 2
        if self.count_noise:
            centred += float(gaussian(1, self.count_noise, np.float64)[0])
        share = centred / aggregate.weight + 0.5
        rest = {name: sums for name, sums in aggregate.metrics.items() if name != WITHIN}
        renewed = _adapted(state.norm * exp(-self.step * (share - self.quantile)))
        return bounded(replace(aggregate, metrics=rest), state.norm), renewed


def _adapted(norm: float) -> Adapted:
    return Adapted(float(np.float32(norm)))
