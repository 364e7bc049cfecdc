"""Metrics of the library torchmetrics, as additive statistics."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array, to_numpy
from comity.core.errors import ConfigError, MissingDependency


def _torch() -> Any:
    """PyTorch, once torchmetrics is known to be there too."""
    try:
        import torch
        import torchmetrics as library
    except ImportError:
        raise MissingDependency.of("torchmetrics", "torchmetrics", "ct.metrics.Torchmetric") from None
    return torch if library else None


@dataclass(frozen=True)
class Torchmetric:
    """A metric of torchmetrics whose states are tensors that sum, such as confusion counts and sums of errors.

    `factory(**parameters)` makes it: `Torchmetric(MulticlassF1Score, {"num_classes": 10})`. Its statistics are the
    number of examples and then its states, flattened, after one update with the batch. Metrics of
    `torchmetrics.classification` are given probabilities (the softmax of `[n, C]` logits with the classes moved to the
    second axis, or the sigmoid of one logit an example), because from numbers that happen to lie in [0, 1] they could
    not tell which they have; others are given the outputs as they are. `name` is the factory's in snake case unless
    given.

    Raises `ConfigError` for a metric with other states (lists of scores, running means), whose sum means nothing.
    """

    factory: Callable[..., Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        title = getattr(self.factory, "__name__", type(self.factory).__name__)
        if not self.name:
            snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", title).lower()
            object.__setattr__(self, "name", snake)
        _require_sums(self._fresh, f"metrics.Torchmetric({title})")

    @cached_property
    def _fresh(self) -> Any:
        """The metric before its first update, on the CPU; copied for every use."""
        _torch()
        return self.factory(**self.parameters)

    @property
    def size(self) -> int:
        return 1 + sum(int(default.numel()) for default in self._fresh._defaults.values())

    @property
    def higher_is_better(self) -> bool:
        """What torchmetrics says; True where it does not say."""
        return self._fresh.higher_is_better is not False

    def statistics(self, outputs: Array, targets: Array) -> Array:
        """`[examples, states …]` as a float64 tensor on the outputs' device; NumPy arrays give a NumPy array."""
        torch = _torch()
        if isinstance(outputs, np.ndarray):
            return to_numpy(self.statistics(torch.as_tensor(outputs), torch.as_tensor(targets)))
        metric = self._fresh.clone().to(outputs.device)
        wide = torch.float32 if outputs.device.type == "mps" else torch.float64
        count = torch.tensor([len(outputs)], dtype=wide, device=outputs.device)
        if len(outputs):
            metric.update(self._predictions(torch, outputs.detach(), targets), targets)
        states = [getattr(metric, name).detach().reshape(-1).to(wide) for name in metric._defaults]
        return torch.cat([count, *states])

    def _predictions(self, torch: Any, outputs: Any, targets: Any) -> Any:
        if not type(self._fresh).__module__.startswith("torchmetrics.classification"):
            return outputs
        if outputs.ndim == targets.ndim:
            return torch.sigmoid(outputs)
        if outputs.shape[-1] == 1:
            return torch.sigmoid(outputs[..., 0])
        return torch.softmax(outputs, dim=-1).movedim(-1, 1)

    def value(self, statistics: NDArray[np.float64]) -> float:
        torch = _torch()
        if not statistics[0]:
            return float("nan")
        metric, start = self._fresh.clone(), 1
        for name, default in metric._defaults.items():
            state = np.asarray(statistics[start : start + default.numel()], dtype=np.float64)
            setattr(metric, name, torch.from_numpy(state.copy()).to(default.dtype).reshape(default.shape))
            start += default.numel()
        metric._update_count = 1  # what `compute` asks to know that there was an update
        return float(metric.compute())


def _require_sums(metric: Any, where: str) -> None:
    """Raise `ConfigError` unless every state of `metric` is a tensor of zeros that is reduced by a sum."""
    from torchmetrics import Metric
    from torchmetrics.utilities import dim_zero_sum

    if not isinstance(metric, Metric):
        raise ConfigError(f"it makes a {type(metric).__name__}", where=where, mend="give a class of torchmetrics")
    for name, default in metric._defaults.items():
        if isinstance(default, list):
            raise ConfigError(
                f"its state {name!r} is a list of everything seen, which would leave the party",
                where=where,
                mend="give a metric that counts, where there is one by thresholds=100 (or use ct.metrics.AUROC)",
            )
        if metric._reductions[name] is not dim_zero_sum or default.any():
            raise ConfigError(
                f"its state {name!r} does not sum over batches",
                where=where,
                mend="give a metric whose states are sums, or write one: see comity.learners.metrics.Metric",
            )
