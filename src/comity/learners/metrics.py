"""Metrics as additive statistics: summed over parties they give the pooled value, one party's alone give its own.

A metric maps outputs and targets to a row of numbers whose *sum* over examples (and so over batches, parties and
secure sums) is all that its value needs. Accuracy is `[correct, count]`, F1 a confusion matrix, AUROC two histograms
of scores.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array


class Metric(Protocol):
    """One figure of merit. `size` is the length S of its statistics."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def higher_is_better(self) -> bool: ...

    def statistics(self, outputs: Array, targets: Array) -> Array:
        """`[S]` summed over a batch of `outputs` `[n, ...]` and `targets` `[n, ...]`, in the arrays' own namespace."""
        ...

    def value(self, statistics: NDArray[np.float64]) -> float:
        """The figure for summed statistics `[S]`; NaN when they cover no example."""
        ...
