"""What a metric is: additive statistics of outputs and targets, and the figure they sum to."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array


@runtime_checkable
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
