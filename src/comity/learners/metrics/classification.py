"""Metrics of classification: accuracy, precision, recall, F1, log-loss and perplexity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from comity.core.arrays import Array
from comity.core.errors import ConfigError
from comity.learners.metrics.shapes import Labelled, accumulator, labelled, row

Average: TypeAlias = Literal["macro", "micro", "binary"]


def ratio(part: Any, whole: Any) -> float:
    """`part / whole`; NaN when the whole is 0."""
    return float(part) / float(whole) if whole else float("nan")


@dataclass(frozen=True)
class Accuracy:
    """The share of examples (or tokens) whose class is predicted."""

    name: ClassVar[str] = "accuracy"
    size: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = True

    def statistics(self, outputs: Array, targets: Array) -> Array:
        """`[correct, count]`."""
        seen = labelled(outputs, targets)
        correct = seen.total(seen.xp.astype(seen.predictions() == seen.labels, seen.logits.dtype))
        return row(seen.xp, seen.logits, correct, seen.count())

    def value(self, statistics: NDArray[np.float64]) -> float:
        return ratio(statistics[0], statistics[1])


@dataclass(frozen=True)
class TopK:
    """The share of examples whose class is among the `k` highest logits (`[n, C]`); ties count as correct."""

    k: int
    size: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k is {self.k}", where="metrics.TopK.k", mend="give a number from 1")

    @property
    def name(self) -> str:
        return f"top_{self.k}_accuracy"

    def statistics(self, outputs: Array, targets: Array) -> Array:
        """`[correct, count]`."""
        seen = labelled(outputs, targets)
        xp = seen.xp
        if seen.is_binary:
            correct = xp.ones_like(seen.logits) if self.k > 1 else seen.predictions() == seen.labels
        else:
            own = seen.picked()
            above = xp.sum(xp.astype(seen.logits > own[:, None], xp.int64), axis=1)
            # a NaN logit compares as not above, and must not pass for the highest
            correct = xp.logical_and(above < self.k, xp.logical_not(xp.isnan(own)))
        return row(xp, seen.logits, seen.total(xp.astype(correct, seen.logits.dtype)), seen.count())

    def value(self, statistics: NDArray[np.float64]) -> float:
        return ratio(statistics[0], statistics[1])


def _losses(seen: Labelled) -> Array:
    """`[m]` negative log-likelihoods of the labels in nats; NaN for a label that is none of the classes."""
    xp, logits = seen.xp, seen.logits
    if seen.is_binary:
        positive = xp.astype(seen.labels, logits.dtype)
        softplus = xp.log1p(xp.exp(-xp.abs(logits))) + xp.clip(logits, 0.0, None)
        known = xp.logical_or(seen.labels == 0, seen.labels == 1)
        return xp.where(known, softplus - positive * logits, xp.full_like(logits, float("nan")))
    highest = xp.max(logits, axis=1)
    return xp.log(xp.sum(xp.exp(logits - highest[:, None]), axis=1)) - (seen.picked() - highest)


@dataclass(frozen=True)
class LogLoss:
    """The mean negative log-likelihood of the labels, in nats (the cross-entropy of the logits)."""

    name: ClassVar[str] = "log_loss"
    size: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = False

    def statistics(self, outputs: Array, targets: Array) -> Array:
        """`[sum of negative log-likelihoods, count]`."""
        seen = labelled(outputs, targets)
        return row(seen.xp, seen.logits, seen.total(_losses(seen)), seen.count())

    def value(self, statistics: NDArray[np.float64]) -> float:
        return ratio(statistics[0], statistics[1])


@dataclass(frozen=True)
class Perplexity:
    """`exp` of the mean negative log-likelihood of a token."""

    name: ClassVar[str] = "perplexity"
    size: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = False

    def statistics(self, outputs: Array, targets: Array) -> Array:
        """`[sum of negative log-likelihoods, count]`."""
        return LogLoss().statistics(outputs, targets)

    def value(self, statistics: NDArray[np.float64]) -> float:
        with np.errstate(over="ignore"):
            return float(np.exp(ratio(statistics[0], statistics[1])))


@dataclass(frozen=True)
class _Confusion(ABC):
    """What precision, recall and F1 share: the confusion matrix, and how classes are averaged.

    `macro` is the mean over the classes that occur among labels or predictions (as in scikit-learn), `micro` counts all
    classes together, `binary` looks at class 1 of two.
    """

    classes: int
    average: Average = "macro"
    higher_is_better: ClassVar[bool] = True
    title: ClassVar[str]

    def __post_init__(self) -> None:
        where = f"metrics.{type(self).__name__}"
        if self.classes < 2:
            raise ConfigError(f"classes is {self.classes}", where=f"{where}.classes", mend="give a number from 2")
        if self.average not in ("macro", "micro", "binary"):
            raise ConfigError(
                f"average is {self.average!r}", where=f"{where}.average", mend='give "macro", "micro" or "binary"'
            )
        if self.average == "binary" and self.classes != 2:
            raise ConfigError(
                f"a binary average of {self.classes} classes", where=f"{where}.average", mend='give "macro" or "micro"'
            )

    @property
    def name(self) -> str:
        return f"{self.title}_micro" if self.average == "micro" else self.title

    @property
    def size(self) -> int:
        return self.classes**2

    def statistics(self, outputs: Array, targets: Array) -> Array:
        """The confusion matrix `[C · C]`, true classes by predicted ones, row by row."""
        seen = labelled(outputs, targets)
        xp, logits = seen.xp, seen.logits
        if seen.classes != self.classes:
            raise ConfigError(
                f"{seen.classes} classes in the outputs, {self.classes} in the metric",
                where=f"metrics.{type(self).__name__}.classes",
                mend=f"give classes={seen.classes}",
            )
        every = xp.arange(self.classes, device=device(logits))
        wide = accumulator(xp, logits)
        true = xp.logical_and(seen.labels[:, None] == every, seen.counted[:, None])
        predicted = seen.predictions()[:, None] == every
        return xp.reshape(xp.matmul(xp.astype(true, wide).T, xp.astype(predicted, wide)), (-1,))

    def value(self, statistics: NDArray[np.float64]) -> float:
        matrix = np.asarray(statistics, dtype=np.float64).reshape(self.classes, self.classes)
        if not matrix.sum():
            return float("nan")
        hits, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        if self.average == "micro":
            return self._figure(hits.sum(), true.sum(), predicted.sum())
        figures = [self._figure(*counts) for counts in zip(hits, true, predicted, strict=True)]
        if self.average == "binary":
            return figures[1]
        return float(np.mean([figure for figure, seen in zip(figures, true + predicted, strict=True) if seen]))

    @abstractmethod
    def _figure(self, hits: float, true: float, predicted: float) -> float:
        """The figure of one class, 0 where its denominator is 0."""


@dataclass(frozen=True)
class Precision(_Confusion):
    """Of what is predicted as a class, the share that belongs to it."""

    title: ClassVar[str] = "precision"

    def _figure(self, hits: float, true: float, predicted: float) -> float:
        return float(hits / predicted) if predicted else 0.0


@dataclass(frozen=True)
class Recall(_Confusion):
    """Of what belongs to a class, the share that is predicted as it."""

    title: ClassVar[str] = "recall"

    def _figure(self, hits: float, true: float, predicted: float) -> float:
        return float(hits / true) if true else 0.0


@dataclass(frozen=True)
class F1(_Confusion):
    """The harmonic mean of precision and recall."""

    title: ClassVar[str] = "f1"

    def _figure(self, hits: float, true: float, predicted: float) -> float:
        return float(2 * hits / (true + predicted)) if true + predicted else 0.0
