"""Local training by `partial_fit`: a plan's steps on the estimators that can take them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from comity.core.errors import ConfigError, LearnerError
from comity.learners.plan import LocalAdam, LocalAdamW, LocalPlan, LocalSGD

if TYPE_CHECKING:
    from comity.learners.sklearn.estimator import Estimator
    from comity.learners.sklearn.trainer import Task


def check_plan(model: Estimator, plan: LocalPlan, *, corrected: bool) -> None:
    """Raise `LearnerError` for what a plan, or a correction of its gradients, asks and the estimator cannot do."""
    title = model.title
    allowed = (LocalSGD, LocalAdam) if model.is_network else (LocalSGD,)
    if not isinstance(plan, allowed) or isinstance(plan, LocalAdamW):
        raise LearnerError(
            f"it cannot train by {type(plan).__name__}",
            where=title,
            mend=f"use {' or '.join(kind.__name__ for kind in allowed)}",
        )
    if plan.clip_norm is not None:
        raise LearnerError("it cannot clip gradients", where=title, mend="leave clip_norm out of the plan")
    if plan.weight_decay:
        raise LearnerError(
            "the plan's weight decay is the estimator's alpha",
            where=title,
            mend="leave weight_decay out of the plan and give the estimator alpha",
        )
    momentum = plan.momentum if isinstance(plan, LocalSGD) else 0.0
    if not model.is_network and momentum:
        raise LearnerError("it has no momentum", where=title, mend="use LocalSGD without momentum")
    if not model.is_network and plan.batch_size != 1:
        raise LearnerError(
            f"it takes one step for each example, not for batches of {plan.batch_size or 'all examples'}",
            where=title,
            mend="use LocalSGD(batch_size=1, …), or MLPClassifier with hidden_layer_sizes=() for batches",
        )
    if not corrected:
        return
    if momentum or not isinstance(plan, LocalSGD):
        raise LearnerError(
            "a correction of the gradient is exact only for plain SGD steps", where=title, mend="leave momentum out"
        )
    if model.parameters.get("penalty") not in (None, "l2"):
        raise LearnerError(
            "a correction of the gradient does not go with an L1 penalty", where=title, mend='use penalty="l2" or None'
        )


def primed(model: Estimator) -> Any:
    """An estimator that scikit-learn itself has set up for these classes and features, so that it can be written into.

    Raises `ConfigError` for bad parameters, and for an estimator that is not what its coefficients say.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * max(model.classes or 2, model.outputs), model.features)).astype(np.float32)
    if model.classes is not None:
        y: NDArray[Any] = np.arange(len(x)) % model.classes
    else:
        y = rng.uniform(1, 2, (len(x), model.outputs) if model.outputs > 1 else len(x)).astype(np.float32)
    estimator = model.fresh(max_iter=1, early_stopping=False, random_state=0, verbose=0)
    known = {} if model.mode == "refit" or model.classes is None else {"classes": np.arange(model.classes)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            (estimator.fit if model.mode == "refit" else estimator.partial_fit)(x, y, **known)
        arrays = model.coefficients.read(estimator)
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            str(error).splitlines()[0],
            where=model.title,
            mend="give a linear model (SGDClassifier, LogisticRegression, Ridge …) or a network (MLPClassifier …)",
        ) from error
    _check_outputs(model, estimator, arrays, x)
    return estimator


def _check_outputs(model: Estimator, estimator: Any, arrays: dict[str, NDArray[Any]], x: NDArray[Any]) -> None:
    """Raise `ConfigError` unless the coefficients alone give what the estimator predicts."""
    ours, theirs = model.coefficients.outputs(arrays, x), estimator.predict(x)
    if model.classes is not None:
        ours = (ours > 0).astype(np.int64) if ours.ndim == 1 else ours.argmax(axis=1)
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
        raise ConfigError(
            "its predictions do not follow from its coefficients", where=model.title, mend="give a linear model"
        )


def step(model: Estimator, estimator: Any, task: Task) -> tuple[NDArray[np.float32], int]:
    """The weights after the plan's steps on one party's examples, and how many steps there were."""
    count = task.plan.batches(len(task.y), task.budget)
    if not task.rate:
        return task.weights.copy(), count
    rng = task.seed.child("order").rng()
    size = task.plan.batch_size or len(task.y)
    if model.is_network:
        _ready_network(estimator, task.plan, task.rate)
    else:
        estimator.set_params(eta0=task.rate, shuffle=False, random_state=0)
        estimator.learning_rate, estimator.t_ = "constant", 1.0
    model.coefficients.write(estimator, model.layout.unpack(task.weights))
    if model.is_network or task.pull is not None:
        calls = _batches(len(task.y), size, count, rng)
    else:
        # one step an example, so a whole pass may go into one call
        calls = _passes(len(task.y), count, rng)
    for rows in calls:
        _call(model, estimator, task, rows)
    return model.layout.pack(model.coefficients.read(estimator)), count


def _call(model: Estimator, estimator: Any, task: Task, rows: NDArray[np.int64]) -> None:
    """One call of `partial_fit`, and then the correction's share of the step, for a step is linear in the gradient."""
    if model.is_network:
        estimator.batch_size = len(rows)
    before = None if task.pull is None else model.layout.pack(model.coefficients.read(estimator))
    estimator.partial_fit(task.x[rows], task.y[rows])
    if task.pull is not None and before is not None:
        after = model.layout.pack(model.coefficients.read(estimator)) - np.float32(task.rate) * task.pull(before)
        model.coefficients.write(estimator, model.layout.unpack(after))


def _ready_network(estimator: Any, plan: LocalPlan, rate: float) -> None:
    """Set a network's optimizer to the plan's, at its first step."""
    chosen: dict[str, Any] = {"solver": "adam"}
    if isinstance(plan, LocalSGD):
        chosen = {"solver": "sgd", "momentum": plan.momentum, "nesterovs_momentum": plan.nesterov}
    elif isinstance(plan, LocalAdam):
        chosen |= {"beta_1": plan.betas[0], "beta_2": plan.betas[1], "epsilon": plan.eps}
    estimator.set_params(learning_rate="constant", learning_rate_init=rate, shuffle=False, random_state=0, **chosen)
    # scikit-learn makes a new optimizer where there is none; this one has the moments of the party before
    vars(estimator).pop("_optimizer", None)
    estimator.t_, estimator.loss_curve_ = 0, []


def _batches(examples: int, size: int, count: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """The rows of `count` batches: pass after pass, each in a new order, the last batch of a pass may be short."""
    while count:
        order = rng.permutation(examples)
        for start in range(0, examples, size)[:count]:
            count -= 1
            yield order[start : start + size]


def _passes(examples: int, count: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """The same rows as `count` batches of one, a pass at a time."""
    while count:
        order = rng.permutation(examples)[:count]
        count -= len(order)
        yield order
