"""Training and evaluating estimators, one party after another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from comity.core.arrays import Array, to_numpy
from comity.core.errors import DataError, LearnerError
from comity.core.layout import Layout
from comity.core.seeds import Seed
from comity.data.examples import Examples
from comity.learners.base import Trained, Work
from comity.learners.metrics import RMSE, LogLoss
from comity.learners.plan import LocalPlan
from comity.learners.sklearn.refit import refit
from comity.learners.sklearn.stepping import primed, step

if TYPE_CHECKING:
    from comity.learners.sklearn.estimator import Estimator

Vector: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Task:
    """One party's training: from `weights` `[D]` on `x` `[n, features]` and `y` `[n]` (or `[n, outputs]`).

    `pull` maps weights `[D]` to what the correction adds to their gradient; None without a correction.
    """

    weights: Vector
    x: NDArray[Any]
    y: NDArray[Any]
    plan: LocalPlan
    rate: float
    budget: float
    seed: Seed
    pull: Callable[[Vector], Vector] | None


class EstimatorTrainer:
    """The trainer of `Estimator`; see there for what it does."""

    def __init__(self, model: Estimator) -> None:
        self.model = model
        self.layout: Layout = model.layout
        self._primed = primed(model)

    def place(self, array: Vector) -> Vector:
        return array

    def train(self, work: Work) -> Trained:
        self.model.check(work.plan, corrected=not work.correction.is_none)
        rows, steps, losses = [], [], []
        for index, examples in enumerate(work.examples):
            if not len(examples):
                raise DataError("there are no examples to train on", where=self.model.title)
            task = self._task(work, index, examples)
            weights, count = self._trained(task)
            rows.append(weights)
            steps.append(count)
            losses.append(self._loss(self._outputs(weights, task.x), task.y))
        sizes = [len(examples) for examples in work.examples]
        return Trained(
            start=work.weights,
            change=np.stack(rows) - work.weights,
            steps=np.array(steps, dtype=np.float32)[:, None],
            examples=np.array(sizes, dtype=np.float32)[:, None],
            statistics={"loss": np.stack(losses)},
        )

    def evaluate(
        self, weights: Array, local: Array | None, examples: Sequence[Examples]
    ) -> Mapping[str, NDArray[np.float64]]:
        rows: dict[str, list[NDArray[np.float64]]] = {"loss": []}
        for index, held in enumerate(examples):
            x, y = self._columns(held)
            outputs = self._outputs(_row(weights, index), x)
            rows["loss"].append(self._loss(outputs, y))
            for metric in self.model.metrics:
                rows.setdefault(metric.name, []).append(np.asarray(metric.statistics(outputs, y), dtype=np.float64))
        return {name: np.stack(parts) for name, parts in rows.items()}

    def _task(self, work: Work, index: int, examples: Examples) -> Task:
        correction = work.correction
        anchor = None if correction.anchor is None else _row(correction.anchor, index)
        drift = None if correction.drift is None else _row(correction.drift, index)

        def pull(weights: Vector) -> Vector:
            added = np.zeros_like(weights) if drift is None else drift
            return added if anchor is None else added + correction.mu * (weights - anchor)

        x, y = self._columns(examples)
        return Task(
            weights=_row(work.weights, index),
            x=x,
            y=y,
            plan=work.plan,
            rate=work.plan.rate(work.round),
            budget=work.budget(index),
            seed=work.seeds[index],
            pull=None if correction.is_none else pull,
        )

    def _trained(self, task: Task) -> tuple[Vector, int]:
        """The weights after training, and the number of steps it took."""
        try:
            with warnings.catch_warnings():
                # a party's own few steps are not meant to converge
                warnings.simplefilter("ignore", ConvergenceWarning)
                if self.model.mode == "refit":
                    return refit(self.model, self._primed, task), 1
                return step(self.model, self._primed, task)
        except ValueError as error:
            raise LearnerError(
                str(error).splitlines()[0],
                where=self.model.title,
                mend="look at this party's features, and at the learning rate if its coefficients grew without bound",
            ) from error

    def _columns(self, examples: Examples) -> tuple[NDArray[Any], NDArray[Any]]:
        """Features `[n, features]` and checked targets. Raises `LearnerError` for shapes or labels that do not fit."""
        model, x, y = self.model, examples.features(), examples.labels()
        if int(np.prod(x.shape[1:])) != model.features:
            raise LearnerError(
                f"examples of shape {x.shape[1:]} have {int(np.prod(x.shape[1:]))} features, not {model.features}",
                where=f"{model.title}.features",
                mend=f"give features={int(np.prod(x.shape[1:]))}",
            )
        x = x.reshape(len(x), model.features).astype(np.float32, copy=False)
        if model.classes is None:
            return x, self._targets(y).astype(np.float32, copy=False)
        labels = y.reshape(-1).astype(np.int64)
        if len(labels) != len(x) or not np.array_equal(labels, y.reshape(-1)):
            raise LearnerError("labels that are not one whole number an example", where=model.title)
        if len(labels) and not (labels.min() >= 0 and labels.max() < model.classes):
            raise LearnerError(
                f"labels from {labels.min()} to {labels.max()}",
                where=f"{model.title}.classes",
                mend=f"labels must be 0 … {model.classes - 1}; give as many classes as there are labels",
            )
        return x, labels

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Regression targets `[n]`, or `[n, outputs]` for more than one output."""
        given = 1 if y.ndim == 1 else int(np.prod(y.shape[1:]))
        if given != self.model.outputs:
            raise LearnerError(
                f"targets with {given} columns, not {self.model.outputs}",
                where=f"{self.model.title}.outputs",
                mend=f"give outputs={given}",
            )
        return y.reshape(-1) if given == 1 else y.reshape(len(y), given)

    def _outputs(self, weights: Vector, x: NDArray[Any]) -> NDArray[Any]:
        return self.model.coefficients.outputs(self.layout.unpack(weights), x)

    def _loss(self, outputs: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """`[sum over examples, examples]`; the squared error of an example is the mean over its outputs."""
        if self.model.classes is not None:
            return np.asarray(LogLoss().statistics(outputs, y), dtype=np.float64)
        return np.asarray(RMSE().statistics(outputs, y), dtype=np.float64) / self.model.outputs


def _row(vectors: Array, index: int) -> Vector:
    """The vector of party `index` among `[K, D]`, or the one `[D]` that all share."""
    array = np.asarray(to_numpy(vectors), dtype=np.float32)
    return array[index] if array.ndim == 2 else array
