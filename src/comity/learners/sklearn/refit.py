"""Local training by `fit`: a party solves its own problem, from the received coefficients where it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import LearnerError
from comity.learners.plan import LocalAdam, LocalPlan, LocalSGD

if TYPE_CHECKING:
    from comity.learners.sklearn.estimator import Estimator
    from comity.learners.sklearn.trainer import Task

_SEEDS = 2**32


def check_refit(model: Estimator, plan: LocalPlan, *, corrected: bool) -> None:
    """Raise `LearnerError` for a plan that asks for more than one fit, and for any correction."""
    title = model.title
    asks = {
        "epochs": plan.epochs not in (None, 1),
        "steps": plan.steps not in (None, 1),
        "batch_size": plan.batch_size is not None,
        "clip_norm": plan.clip_norm is not None,
        "momentum": isinstance(plan, LocalSGD) and plan.momentum > 0,
        "weight_decay": isinstance(plan, LocalSGD) and plan.weight_decay > 0,
        "moments": isinstance(plan, LocalAdam),
    }
    for name, asked in asks.items():
        if asked:
            raise LearnerError(
                f"a refit knows nothing of the plan's {name}", where=title, mend="use LocalSGD(lr=1), which it ignores"
            )
    if corrected:
        raise LearnerError(
            "a refit cannot correct its gradients",
            where=title,
            mend='use FedAvg, or an estimator with mode="partial_fit"',
        )


def refit(model: Estimator, fitted: Any, task: Task) -> NDArray[np.float32]:
    """The weights `[D]` of the estimator fitted to one party's examples, in float64."""
    received = {name: np.array(view, dtype=np.float64) for name, view in model.layout.unpack(task.weights).items()}
    x, seed = task.x.astype(np.float64), task.seed.child("estimator").integer() % _SEEDS
    estimator = model.fresh(warm_start=True, random_state=seed)
    if model.classes is None:
        if "warm_start" in model.parameters:
            shapes = {name: np.shape(getattr(fitted, name)) for name in received}
            _start_from(estimator, {name: array.reshape(shapes[name]) for name, array in received.items()})
        estimator.fit(x, task.y.astype(np.float64))
        return model.layout.pack(model.coefficients.read(estimator))
    present = np.unique(task.y)
    if len(present) == 1:
        return task.weights.copy()
    if "warm_start" in model.parameters:
        _start_from(estimator, {name: _rows(array, present) for name, array in received.items()})
    estimator.fit(x, task.y)
    return model.layout.pack(
        {name: _merged(array, getattr(estimator, name), present) for name, array in received.items()}
    )


def _start_from(estimator: Any, arrays: dict[str, NDArray[np.float64]]) -> None:
    for name, array in arrays.items():
        setattr(estimator, name, array)
    if "intercept_" not in arrays:
        estimator.intercept_ = np.zeros(len(arrays["coef_"]))


def _rows(array: NDArray[np.float64], present: NDArray[Any]) -> NDArray[np.float64]:
    """The received rows of the classes present; of two among several, the one row that tells them apart."""
    if len(array) == 1:
        return array
    if len(present) > 2:
        return np.asarray(array[present])
    return np.asarray(array[present[1:]] - array[present[:1]])


def _merged(received: NDArray[np.float64], fitted: NDArray[np.float64], present: NDArray[Any]) -> NDArray[np.float64]:
    """The received rows with those of the classes present replaced by the fitted ones."""
    if len(received) == 1:
        return np.reshape(fitted, received.shape)
    merged = received.copy()
    if len(present) > 2:
        merged[present] = fitted
        return merged
    # two rows from one: their mean stays, their difference is the fitted row
    first, second = present
    middle = (received[first] + received[second]) / 2
    merged[first], merged[second] = middle - fitted[0] / 2, middle + fitted[0] / 2
    return merged
