"""What a learner is: a frozen description of a model, and the trainer it builds on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array
from comity.core.layout import Layout
from comity.core.seeds import Seed
from comity.data.examples import Examples
from comity.learners.metrics import Metric
from comity.learners.plan import Correction, LocalPlan

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Hardware:
    """Where a trainer computes: a device (`"cpu"`, `"cuda:1"`, `"mps"`), a compute precision, and host threads."""

    device: str = "cpu"
    precision: Precision = "float32"
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Work:
    """One round's local training for a batch of K parties.

    `weights` is `[D]` (all start from it) or `[K, D]`; `local` is `[K, L]`, the part of the model that stays at the
    party; `examples`, `seeds` and `budgets` have one entry a party. `budgets` are shares of the planned work, in (0,
    1]. `room` is `[K, D]` on the host, memory in which the change may be left: it spares the trainer new memory, and
    whoever asks a copy.
    """

    weights: Array
    examples: Sequence[Examples]
    plan: LocalPlan
    seeds: Sequence[Seed]
    round: int = 0
    local: Array | None = None
    correction: Correction = Correction()
    budgets: Sequence[float] = ()
    room: NDArray[np.float32] | None = None

    def budget(self, index: int) -> float:
        return self.budgets[index] if self.budgets else 1.0


@dataclass(frozen=True, eq=False)
class Trained:
    """What local training gives for a batch of K parties.

    `change` is `[K, D]`, what training added to `start`, the weights that the work began with (`[D]` or `[K, D]`);
    `local` is `[K, L]` or None; `steps` and `examples` are `[K, 1]` columns, so that they broadcast against vectors;
    `statistics` maps a metric's name to its additive statistics `[K, S]` (`"loss"` is `[sum over examples,
    examples]`).
    """

    start: Array
    change: Array
    steps: Array
    examples: Array
    statistics: Mapping[str, Array]
    local: Array | None = None

    @property
    def weights(self) -> Array:
        """`[K, D]`: the trained models, to rounding."""
        return self.start + self.change

    @property
    def alike(self) -> Array:
        """A `[K, 1]` column of ones: the weights of an algorithm that counts every party once."""
        return self.examples * 0 + 1


class Trainer(Protocol):
    """A model built on a device. It is not shared between threads, and one call leaves nothing behind for the next."""

    layout: Layout

    def place(self, array: NDArray[np.float32]) -> Array:
        """The array on the device of this trainer; on the host it is the array itself."""
        ...

    def train(self, work: Work) -> Trained: ...

    def evaluate(
        self, weights: Array, local: Array | None, examples: Sequence[Examples]
    ) -> Mapping[str, NDArray[np.float64]]:
        """Additive statistics `[K, S]` of every metric, `"loss"` among them; `weights` is `[D]` or `[K, D]`."""
        ...


@runtime_checkable
class Model(Protocol):
    """A learner: what is trained. Frozen, cheap to make, and free of data and devices."""

    @property
    def layout(self) -> Layout: ...

    @property
    def metrics(self) -> Sequence[Metric]: ...

    def init(self, seed: Seed) -> NDArray[np.float32]:
        """The starting vector `[D]`."""
        ...

    def init_local(self, seed: Seed) -> NDArray[np.float32]:
        """The starting vector `[L]` of what stays at a party."""
        ...

    def export(self, weights: Array) -> Mapping[str, NDArray[np.generic]]:
        """Every named array of the model, the fixed ones included, for `model.safetensors`."""
        ...

    def build(self, hardware: Hardware, *, batched: bool = False) -> Trainer:
        """A trainer; `batched` asks for one that trains K parties at once. Raises `LearnerError` saying why not."""
        ...

    def check(self, plan: LocalPlan, *, corrected: bool) -> None:
        """Raise `LearnerError` where `plan`, or a correction of its gradients, asks what the learner cannot do."""
        ...

    def batchable(self, plan: LocalPlan) -> str | None:
        """None when K parties can be trained at once under `plan`; otherwise the reason why not."""
        ...

    def prefers_batched(self, hardware: Hardware) -> tuple[bool, str]:
        """Whether training K parties at once pays on `hardware`, and why, for a model that is `batchable`."""
        ...


def statistics_sizes(model: Model) -> dict[str, int]:
    """The metrics of which an evaluation returns statistics, the loss among them, with the length of each."""
    return {"loss": 2} | {metric.name: metric.size for metric in model.metrics}
