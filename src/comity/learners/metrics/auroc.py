"""AUROC from histograms of scores, which add over parties where scores themselves may not leave them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from comity.core.arrays import Array
from comity.core.errors import ConfigError
from comity.learners.metrics.shapes import Labelled, accumulator, labelled

_LARGEST = 1e9


@dataclass(frozen=True)
class AUROC:
    """The area under the ROC curve: how often a positive scores above a negative, ties counting half.

    With more than two classes it is the mean over one class against the rest, for the classes that have both positives
    and negatives. The scores of a class (the logit of its probability s, squeezed to s / (1 + |s|), so that confident
    models are told apart too) fall into `bins` equal bins, and only two histograms a class are kept: one of the
    positives, one of the negatives. Positives and negatives in one bin count as ties, so the value is off the exact one
    by at most ½ Σ_b p_b n_b, where p_b and n_b are the shares of positives and of negatives in bin b; `error` computes
    that bound. It is 1 / (2 · bins) where either kind spreads evenly over the bins. NaN with one kind only.
    """

    classes: int = 2
    bins: int = 512
    name: ClassVar[str] = "auroc"
    higher_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for field, least in (("classes", 2), ("bins", 2)):
            if getattr(self, field) < least:
                raise ConfigError(
                    f"{field} is {getattr(self, field)}", where=f"metrics.AUROC.{field}", mend="give a number from 2"
                )

    @property
    def size(self) -> int:
        return self._curves * 2 * self.bins

    @property
    def _curves(self) -> int:
        return 1 if self.classes == 2 else self.classes

    def statistics(self, outputs: Array, targets: Array) -> Array:
        """Histograms `[curves · 2 · bins]`: for each curve the negatives' and then the positives'."""
        seen = labelled(outputs, targets)
        xp = seen.xp
        if seen.classes != self.classes:
            raise ConfigError(
                f"{seen.classes} classes in the outputs, {self.classes} in the metric",
                where="metrics.AUROC.classes",
                mend=f"give ct.metrics.AUROC(classes={seen.classes})",
            )
        scores = _scores(seen)
        places = 0.5 + 0.5 * scores / (1 + xp.abs(scores))
        first = 1 if self.classes == 2 else 0
        rows = []
        for curve in range(self._curves):
            positive = seen.labels == first + curve
            for kind in (xp.logical_not(positive), positive):
                rows.append(_histogram(xp, places[:, curve], xp.logical_and(kind, seen.counted), self.bins))
        # 0 · NaN is NaN: a score that is no number shows in the value, where a histogram would swallow it
        return xp.concat(rows) + xp.sum(scores * 0)

    def value(self, statistics: NDArray[np.float64]) -> float:
        areas = []
        for negatives, positives in self._shares(statistics):
            below = np.concatenate([[0.0], np.cumsum(negatives)[:-1]])
            areas.append(float(np.sum(positives * (below + negatives / 2))))
        return float(np.mean(areas)) if areas else float("nan")

    def error(self, statistics: NDArray[np.float64]) -> float:
        """The most by which `value` can differ from the exact area; NaN where the value is."""
        bounds = [float(np.sum(positives * negatives)) / 2 for negatives, positives in self._shares(statistics)]
        return float(np.mean(bounds)) if bounds else float("nan")

    def _shares(self, statistics: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """For each curve with both kinds, the shares `[bins]` of its negatives and of its positives in the bins."""
        histograms = np.asarray(statistics, dtype=np.float64).reshape(self._curves, 2, self.bins)
        totals = histograms.sum(axis=2)
        return [
            (histogram[0] / total[0], histogram[1] / total[1])
            for histogram, total in zip(histograms, totals, strict=True)
            if total.all()
        ]


def _scores(seen: Labelled) -> Array:
    """`[m, curves]` logits of the probability of class 1, or of every class where there are more than two."""
    xp = seen.xp
    logits = xp.astype(seen.logits, accumulator(xp, seen.logits))
    if seen.is_binary:
        scores = logits[:, None]
    elif seen.classes == 2:
        scores = logits[:, 1:] - logits[:, :1]
    else:
        # The others' probability of the highest class is summed without it: 1 − p would lose every digit as p nears 1.
        shifted = logits - xp.max(logits, axis=1)[:, None]
        odds = xp.exp(shifted)
        highest = xp.argmax(logits, axis=1)[:, None] == xp.arange(seen.classes, device=device(logits))
        rest = xp.sum(xp.where(highest, xp.zeros_like(odds), odds), axis=1)[:, None]
        scores = shifted - xp.log(xp.where(highest, rest, rest + (1 - odds)))
    return xp.clip(scores, -_LARGEST, _LARGEST)


def _histogram(xp: Any, places: Array, kept: Array, bins: int) -> Array:
    """Counts `[bins]` of the kept `places` `[m]` in [0, 1], by sorting: the array API has no histogram."""
    wide = accumulator(xp, places)
    edges = xp.astype(xp.arange(1, bins, device=device(places)), places.dtype) / bins
    # what is left out sorts behind every edge
    ordered = xp.sort(xp.where(kept, places, xp.full_like(places, 2.0)))
    below = xp.astype(xp.searchsorted(ordered, edges), wide)
    zero, total = xp.zeros_like(below[:1]), xp.sum(kept, dtype=wide)[None]
    return xp.concat([below, total]) - xp.concat([zero, below])
