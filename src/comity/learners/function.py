"""A plain function of one's own as a learner: named NumPy arrays in, named NumPy arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array, to_numpy
from comity.core.errors import ConfigError, DataError, LearnerError
from comity.core.layout import Layout
from comity.core.seeds import Seed
from comity.data.examples import Examples
from comity.learners.base import Hardware, Trained, Trainer, Work
from comity.learners.metrics import resolve
from comity.learners.plan import LocalPlan
from comity.learners.records import refuse_record_privacy
from comity.learners.schedules import Constant

Weights: TypeAlias = dict[str, NDArray[Any]]

_NO_LOSS: NDArray[np.float64] = np.zeros(2)
_ALONE = "a function trains one party at a time"


@dataclass(frozen=True)
class Function:
    """A model that is a few functions over named arrays.

    - `start(rng)` gives the starting arrays, floats of any shape; their names and shapes are the layout. Between
      rounds they are float32.
    - `fit(weights, x, y, plan, rng)` gives the arrays after local training on one party's examples. The arrays it
      receives are its own to change. `plan` is the plan of this round: its `lr` is the scheduled one, and for a party
      that can afford only a part of the work it asks for `steps`. `rng` is the only randomness to use.
    - `predict(weights, x)` gives outputs `[n, ...]`, which `metrics` (names and objects of `ct.metrics`) read.
    - `loss(outputs, y)` gives the loss of each example, `[n]`.

    The party is said to have taken the number of steps that the plan asks for. The training loss is that of the
    returned arrays on the party's training examples; without a `loss` it is NaN, as a loss over no example.

    Raises `ConfigError` for metrics or a loss without `predict`. An error inside one of the functions, and an array
    that it leaves out or gives another shape, becomes a `LearnerError` that names the function and the array.
    """

    start: Callable[[np.random.Generator], Mapping[str, Any]]
    fit: Callable[[Weights, NDArray[Any], NDArray[Any], LocalPlan, np.random.Generator], Mapping[str, Any]]
    predict: Callable[[Weights, NDArray[Any]], Any] | None = None
    loss: Callable[[Any, NDArray[Any]], Any] | None = None
    metrics: Sequence[Any] = field(kw_only=True, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", resolve(self.metrics))
        if self.predict is None and (self.metrics or self.loss is not None):
            raise ConfigError(
                "metrics and loss read outputs, which nothing gives",
                where="Function.predict",
                mend="give predict(weights, x)",
            )

    @cached_property
    def layout(self) -> Layout:
        """The arrays of `start`, all of them trained and averaged; `start` is called once for it, with a fixed seed."""
        arrays = self._started(Seed.of(0))
        if not arrays:
            raise LearnerError("it gives no array", where=_place("start", self.start))
        return Layout.build([(name, array.shape, "float32", "shared") for name, array in arrays.items()])

    def init(self, seed: Seed) -> NDArray[np.float32]:
        return self.pack("start", self.start, self._started(seed))

    def init_local(self, seed: Seed) -> NDArray[np.float32]:
        return np.zeros(0, dtype=np.float32)

    def export(self, weights: Array) -> Mapping[str, NDArray[np.generic]]:
        return self.unpack(to_numpy(weights))

    def build(self, hardware: Hardware, *, batched: bool = False) -> Trainer:
        if batched:
            raise LearnerError(_ALONE, where="Function")
        if hardware.device != "cpu":
            raise LearnerError(
                f"a function receives NumPy arrays, not arrays on {hardware.device}",
                where="Function",
                mend='use device="cpu", or ct.torch.Model',
            )
        return FunctionTrainer(self)

    def check(self, plan: LocalPlan, *, corrected: bool) -> None:
        refuse_record_privacy(plan, "Function.fit")
        if corrected:
            raise LearnerError(
                "a function cannot be asked to correct its gradients",
                where="Function.fit",
                mend="use a program without corrections, such as FedAvg",
            )

    def batchable(self, plan: LocalPlan) -> str | None:
        return _ALONE

    def prefers_batched(self, hardware: Hardware) -> tuple[bool, str]:
        return False, _ALONE

    def unpack(self, weights: Array) -> Weights:
        """Copies of the named arrays in `weights` `[D]`."""
        return {name: np.array(view) for name, view in self.layout.unpack(weights).items()}

    def pack(self, role: str, function: Callable[..., Any], arrays: Any) -> NDArray[np.float32]:
        """What `function` returned as one vector `[D]`. Raises `LearnerError` that names it and the array at fault."""
        where = _place(role, function)
        if not isinstance(arrays, Mapping):
            raise LearnerError(
                f"it returned a {type(arrays).__name__}", where=where, mend="return a dict of named arrays"
            )
        if unknown := sorted(set(arrays) - {entry.name for entry in self.layout.entries}):
            raise LearnerError(
                f"it returned an array {unknown[0]!r} that start does not give",
                where=where,
                mend=f"the names are {', '.join(entry.name for entry in self.layout.entries)}",
            )
        for entry in self.layout.entries:
            if entry.name not in arrays:
                raise LearnerError(
                    f"the array {entry.name!r} is missing from what it returned",
                    where=where,
                    mend=f"return an array of shape {entry.shape} under that name",
                )
            shape = np.shape(arrays[entry.name])
            if shape != entry.shape:
                raise LearnerError(f"the array {entry.name!r} has the shape {shape}, not {entry.shape}", where=where)
        vector: NDArray[np.float32] = self.layout.pack(arrays)
        return vector

    def _started(self, seed: Seed) -> Weights:
        arrays = called("start", self.start, seed.rng())
        if not isinstance(arrays, Mapping):
            raise LearnerError(
                f"it returned a {type(arrays).__name__}",
                where=_place("start", self.start),
                mend="return a dict of named arrays",
            )
        started = {name: np.asarray(array) for name, array in arrays.items()}
        for name, array in started.items():
            if array.dtype.kind != "f":
                raise LearnerError(
                    f"the array {name!r} is of {array.dtype}", where=_place("start", self.start), mend="give floats"
                )
        return started


def called(role: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`; whatever it raises becomes a `LearnerError` with its name and the line at fault."""
    try:
        return function(*arguments)
    except Exception as error:
        trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
        line = f" (line {trace.tb_lineno})" if trace is not None else ""
        raise LearnerError(f"{type(error).__name__}: {error}{line}", where=_place(role, function)) from error


def _place(role: str, function: Callable[..., Any]) -> str:
    return f"Function.{role} {getattr(function, '__qualname__', repr(function))}"


class FunctionTrainer:
    """The trainer of `Function`: one party after another, on the host."""

    def __init__(self, model: Function) -> None:
        self.model = model
        self.layout: Layout = model.layout

    def place(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        return array

    def train(self, work: Work) -> Trained:
        self.model.check(work.plan, corrected=not work.correction.is_none)
        rows, steps, losses = [], [], []
        for index, examples in enumerate(work.examples):
            if not len(examples):
                raise DataError("there are no examples to train on", where=_place("fit", self.model.fit))
            plan, rng = _plan_now(work, index), work.seeds[index].child("fit").rng()
            x, y = examples.features(), examples.labels()
            start = self.model.unpack(_row(work.weights, index))
            after = called("fit", self.model.fit, start, x, y, plan, rng)
            rows.append(self.model.pack("fit", self.model.fit, after))
            steps.append(plan.batches(len(examples)))
            losses.append(_NO_LOSS if self.model.loss is None else self._loss(self._outputs(rows[-1], x), y))
        return Trained(
            start=work.weights,
            change=np.stack(rows) - work.weights,
            steps=np.array(steps, dtype=np.float32)[:, None],
            examples=np.array([len(examples) for examples in work.examples], dtype=np.float32)[:, None],
            statistics={"loss": np.stack(losses)},
        )

    def evaluate(
        self, weights: Array, local: Array | None, examples: Sequence[Examples]
    ) -> Mapping[str, NDArray[np.float64]]:
        if self.model.predict is None:
            return {"loss": np.stack([_NO_LOSS] * len(examples))}
        rows: dict[str, list[NDArray[np.float64]]] = {"loss": []}
        for index, held in enumerate(examples):
            x, y = held.features(), held.labels()
            outputs = self._outputs(_row(weights, index), x)
            rows["loss"].append(_NO_LOSS if self.model.loss is None else self._loss(outputs, y))
            for metric in self.model.metrics:
                rows.setdefault(metric.name, []).append(np.asarray(metric.statistics(outputs, y), dtype=np.float64))
        return {name: np.stack(parts) for name, parts in rows.items()}

    def _outputs(self, weights: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        assert self.model.predict is not None
        outputs = np.asarray(called("predict", self.model.predict, self.model.unpack(weights), x))
        if outputs.ndim == 0 or len(outputs) != len(x):
            raise LearnerError(
                f"outputs of shape {outputs.shape} for {len(x)} examples",
                where=_place("predict", self.model.predict),
                mend="return one row for each example",
            )
        return outputs

    def _loss(self, outputs: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """`[sum over examples, examples]`."""
        assert self.model.loss is not None
        losses = np.asarray(called("loss", self.model.loss, outputs, y), dtype=np.float64)
        if losses.shape != (len(y),):
            raise LearnerError(
                f"losses of shape {losses.shape} for {len(y)} examples",
                where=_place("loss", self.model.loss),
                mend="return the loss of each example, not their mean",
            )
        return np.array([losses.sum(), len(y)])


def _plan_now(work: Work, index: int) -> LocalPlan:
    """The plan as it holds for one party in this round: its rate scheduled, its work cut to the party's budget."""
    plan = work.plan
    # a plan has a rate above 0; a schedule may end at 0 itself
    now = replace(plan, lr=max(plan.rate(work.round), float(np.finfo(np.float64).tiny)), schedule=Constant())
    if work.budget(index) < 1:
        now = replace(now, epochs=None, steps=plan.batches(len(work.examples[index]), work.budget(index)))
    return now


def _row(vectors: Array, index: int) -> NDArray[np.float32]:
    """The vector of party `index` among `[K, D]`, or the one `[D]` that all share."""
    array = np.asarray(to_numpy(vectors), dtype=np.float32)
    return array[index] if array.ndim == 2 else array
