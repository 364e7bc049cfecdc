"""How outputs and targets meet: the shapes that metrics accept, brought to one row an example (or a token)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from array_api_compat import device

from comity.core.arrays import Array, namespace
from comity.core.errors import LearnerError

PADDING = -100
"""The target that marks padding, as in PyTorch's `ignore_index`; such tokens are not counted."""


def accumulator(xp: Any, array: Array) -> Any:
    """The dtype of sums: float64, or float32 on Apple's GPU, which has no wider one."""
    return xp.float32 if "mps" in str(device(array)) else xp.float64


def row(xp: Any, like: Array, *entries: Array) -> Array:
    """Scalars as one vector `[S]` in the accumulator's dtype."""
    return xp.stack([xp.astype(entry, accumulator(xp, like)) for entry in entries])


@dataclass(frozen=True, eq=False)
class Labelled:
    """Logits `[m, C]` (C ≥ 2) or `[m]` (the logit of class 1), labels `[m]`, and which of them count (`[m]`, bool).

    m runs over examples, and over the tokens of each where the targets are `[n, T]`. Padding has the label 0.
    """

    xp: Any
    logits: Array
    labels: Array
    counted: Array

    @property
    def is_binary(self) -> bool:
        """Whether there is one logit an example."""
        return int(self.logits.ndim) == 1

    @property
    def classes(self) -> int:
        return 2 if self.is_binary else int(self.logits.shape[1])

    def predictions(self) -> Array:
        """`[m]` predicted classes; class 1 from a logit above 0."""
        if self.is_binary:
            return self.xp.astype(self.logits > 0, self.xp.int64)
        return self.xp.argmax(self.logits, axis=1)

    def picked(self) -> Array:
        """`[m]` the logit of each label (`[m, C]` logits); NaN where the label is none of the classes."""
        xp, last = self.xp, self.classes - 1
        column = xp.clip(self.labels, 0, last)
        logit = xp.take_along_axis(self.logits, column[:, None], axis=1)[:, 0]
        return xp.where(column == self.labels, logit, xp.full_like(logit, float("nan")))

    def total(self, values: Array) -> Array:
        """The sum of `values` `[m]` over what counts."""
        xp = self.xp
        kept = xp.where(self.counted, values, xp.zeros_like(values))
        return xp.sum(kept, dtype=accumulator(xp, values))

    def count(self) -> Array:
        return self.xp.sum(self.counted, dtype=accumulator(self.xp, self.logits))


def labelled(outputs: Array, targets: Array) -> Labelled:
    """Bring classification outputs and targets together.

    Outputs are `[n, C]` or `[n, T, C]` beside targets `[n]` or `[n, T]`; one logit an example may be `[n]` or
    `[n, 1]`. Raises `LearnerError` for shapes that do not fit.
    """
    xp = namespace(outputs, targets)
    given, wanted = tuple(outputs.shape), tuple(targets.shape)
    if outputs.dtype not in (xp.float32, xp.float64):
        outputs = xp.astype(outputs, xp.float32)
    labels = xp.astype(xp.reshape(targets, (-1,)), xp.int64)
    counted = labels != PADDING
    labels = xp.where(counted, labels, xp.zeros_like(labels))
    if given == wanted or given == (*wanted, 1):
        return Labelled(xp, xp.reshape(outputs, (-1,)), labels, counted)
    if given[:-1] == wanted:
        return Labelled(xp, xp.reshape(outputs, (-1, given[-1])), labels, counted)
    raise LearnerError(
        f"outputs of shape {given} beside targets of shape {wanted}",
        where="metrics",
        mend="give logits [n, C] with labels [n], or [n, T, C] with [n, T]",
    )


def paired(outputs: Array, targets: Array) -> tuple[Any, Array, Array]:
    """The namespace, and predictions and targets of a regression as two vectors `[m]` in the accumulator's dtype.

    A trailing axis of length 1 does not matter. Raises `LearnerError` for shapes that do not fit.
    """
    xp = namespace(outputs, targets)
    given, wanted = tuple(outputs.shape), tuple(targets.shape)
    if given != wanted and given != (*wanted, 1) and (*given, 1) != wanted:
        raise LearnerError(
            f"outputs of shape {given} beside targets of shape {wanted}",
            where="metrics",
            mend="give one output for each target",
        )
    wide = accumulator(xp, outputs)
    return xp, xp.astype(xp.reshape(outputs, (-1,)), wide), xp.astype(xp.reshape(targets, (-1,)), wide)
