"""Losses by name: the mean that is trained, the loss of each example, and what targets must look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from comity.core.errors import ConfigError, DataError

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]

IGNORED = -100
"""The target that cross-entropy passes over, for padding."""


@dataclass(frozen=True)
class Loss:
    """A loss. `mean` maps (outputs, targets) to a scalar; `each`, where known, to the loss of each example `[n]`.

    `targets` is the dtype that targets are cast to (None: as they come); `class_axis` is the axis of the outputs
    over which classes run, where targets are class indices.
    """

    name: str
    mean: LossFunction
    each: LossFunction | None = None
    targets: torch.dtype | None = None
    class_axis: int | None = None

    def check(self, labels: NDArray[Any], outputs: tuple[int, ...]) -> None:
        """Raise `DataError` where `labels` are no class indices for outputs of shape `outputs`.

        On a GPU such a label would stop the process, so it has to be found on the host.
        """
        if self.class_axis is None or labels.size == 0 or labels.ndim == len(outputs):
            return
        classes = outputs[self.class_axis]
        if labels.min() >= 0 and labels.max() < classes:
            return
        valid = (labels >= 0) & (labels < classes) | (labels == IGNORED)
        if not valid.all():
            wrong = labels[~valid].reshape(-1)[0]
            raise DataError(
                f"a label is {wrong}, outside 0 … {classes - 1}",
                where=f"loss {self.name!r}, outputs of shape {list(outputs)}",
                mend="map the labels to 0 … classes−1, or give the model one output a class",
            )


def cast_labels(loss: Loss, labels: NDArray[Any]) -> NDArray[Any]:
    """Labels in the dtype that the loss wants; class probabilities stay floats."""
    if loss.targets is torch.int64 and not (loss.class_axis == 1 and _probabilities(labels)):
        return np.asarray(labels, dtype=np.int64) if labels.dtype.kind in "iub" else _whole(loss, labels)
    if loss.targets is not None or labels.dtype.kind == "f":
        return np.asarray(labels, dtype=np.float32)
    return labels


def _probabilities(labels: NDArray[Any]) -> bool:
    return labels.dtype.kind == "f" and labels.ndim > 1


def _whole(loss: Loss, labels: NDArray[Any]) -> NDArray[np.int64]:
    whole = labels.astype(np.int64) if labels.dtype.kind == "f" and np.isfinite(labels).all() else None
    if whole is None or not (whole == labels).all():
        raise DataError(
            f"labels of dtype {labels.dtype} are not class indices",
            where=f"loss {loss.name!r}",
            mend="map the labels to the integers 0 … classes−1",
        )
    return whole


def resolve(loss: str | LossFunction) -> Loss:
    """The loss of a name, or a function of one's own. Raises `ConfigError` for an unknown name."""
    if callable(loss):
        return Loss(getattr(loss, "__name__", "loss"), loss)
    if loss not in _NAMED:
        raise ConfigError(
            f"no loss is named {loss!r}",
            where="Model.loss",
            mend=f"use one of {', '.join(_NAMED)}, or a function (outputs, targets) → mean",
        )
    return _NAMED[loss]


def of_record(loss: Loss) -> LossFunction:
    """(outputs, targets) of a batch of one record → the loss of this record."""
    each = loss.each
    return loss.mean if each is None else lambda outputs, targets: each(outputs, targets)[0]


def is_named(loss: Loss) -> bool:
    """Whether a loss is one of Comity's own, all of which are means over records."""
    return _NAMED.get(loss.name) is loss


def _by_example(losses: Tensor) -> Tensor:
    return losses.flatten(1).mean(1) if losses.ndim > 1 else losses


def _alike(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets in the shape of the outputs; `[n]` against `[n, 1]` would otherwise broadcast to `[n, n]`."""
    if targets.numel() != outputs.numel():
        raise ValueError(f"outputs of shape {list(outputs.shape)} against targets of shape {list(targets.shape)}")
    return targets.reshape(outputs.shape)


def _cross_entropy_each(outputs: Tensor, targets: Tensor) -> Tensor:
    return _by_example(F.cross_entropy(outputs, targets, reduction="none"))


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs, _alike(outputs, targets))


def _squared_error_each(outputs: Tensor, targets: Tensor) -> Tensor:
    return _by_example(F.mse_loss(outputs, _alike(outputs, targets), reduction="none"))


def _binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, _alike(outputs, targets))


def _binary_cross_entropy_each(outputs: Tensor, targets: Tensor) -> Tensor:
    alike = _alike(outputs, targets)
    return _by_example(F.binary_cross_entropy_with_logits(outputs, alike, reduction="none"))


def _next_token(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


_NAMED: Mapping[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("cross_entropy", F.cross_entropy, _cross_entropy_each, torch.int64, class_axis=1),
        Loss("mse", _squared_error, _squared_error_each, torch.float32),
        Loss("bce_with_logits", _binary_cross_entropy, _binary_cross_entropy_each, torch.float32),
        Loss("next_token", _next_token, None, torch.int64, class_axis=-1),
    )
}
