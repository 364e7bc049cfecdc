"""Noise on the aggregate: what is published of a round hides whether any one party took part in it.

Noise comes from the operating system and never from the job's seed: whoever knows the seed must not know it. So a job
with noise gives another model every time it is run, also where it is resumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from array_api_compat import device

from comity.core.arrays import Array, column_chunks, empty, is_large, namespace, release
from comity.core.checks import positive
from comity.core.contribution import Aggregate
from comity.core.errors import ConfigError
from comity.privacy.continuous import gaussian
from comity.transforms.chain import Link

_RUN_ENTRIES = 1 << 20


@dataclass(frozen=True)
class GaussianNoise(Link):
    """Gaussian noise on a round's mean, drawn anew each round (McMahan et al. 2018, arXiv 1710.06963).

    On the sum of contributions its standard deviation is `multiplier` times the clipping norm, on their mean that over
    the number of parties; so it needs `Clip` or `AdaptiveClip` before and `Mean(weights="uniform")`. The server adds
    it, and is trusted to: it protects against those who see models, not against the server. Metrics and weights have
    no noise.
    """

    multiplier: float

    def __post_init__(self) -> None:
        positive(self, "multiplier")

    def apply(self, aggregate: Aggregate) -> Aggregate:
        std = self.multiplier * influence(aggregate, "GaussianNoise")
        return replace(aggregate, vectors=aggregate.vectors.map(lambda array: noisy(array, std)))


def influence(aggregate: Aggregate, where: str) -> float:
    """How far (L2) one party can move the mean. Raises `ConfigError` where nothing bounds it."""
    if aggregate.bound is None:
        raise ConfigError(
            "nothing bounds what one party contributes, so no noise hides it",
            where=where,
            mend='clip first: Clip(1.0) >> Mean(weights="uniform") >> ' + where + "(…)",
        )
    return aggregate.bound / aggregate.weight


def noisy(array: Array, std: float) -> Array:
    """`array` `[D]` plus independent noise of standard deviation `std` on each entry, where it is.

    A large one on the host is gone through run by run, so that no more than a run of noise is in memory.
    """
    kind = np.float64 if "float64" in str(array.dtype) else np.float32
    if not isinstance(array, np.ndarray):
        return array + namespace(array).asarray(gaussian(array.shape[0], std, kind), device=device(array))
    result = empty(len(array), kind)
    for run in column_chunks(len(array), _RUN_ENTRIES):
        gaussian(run.stop - run.start, std, out=result[run])
        result[run] += array[run]
        if is_large(result):
            release(result, array)
    return result
