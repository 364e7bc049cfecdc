"""The torch model: a module, its loss and its metrics, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array, to_numpy
from comity.core.errors import ConfigError, LearnerError
from comity.core.layout import Layout
from comity.core.seeds import Seed
from comity.learners import metrics as metric_names
from comity.learners.base import Hardware, Trainer
from comity.learners.plan import LocalPlan
from comity.learners.torch import losses
from comity.learners.torch.batched import BatchedTrainer, obstacle, record_by_record
from comity.learners.torch.losses import LossFunction
from comity.learners.torch.private import check_records
from comity.learners.torch.resident import ResidentTrainer
from comity.learners.torch.session import open_device
from comity.learners.torch.structure import BufferPolicy, Factory, describe, make_module, numpy_arrays, outline, rounded

_BATCHED_PARAMETERS = 20_000

_FIXED_SEED = 0
"""The seed under which arrays that never travel are made, alike everywhere."""


@dataclass(frozen=True)
class Model:
    """A PyTorch model to be trained across parties.

    `module` is a class or a function that returns an `nn.Module`, called with `arguments`; `loss` is one of
    `cross_entropy`, `mse`, `bce_with_logits` and `next_token`, or a function (outputs, targets) → mean; `metrics` are
    names or `Metric` objects. `local` and `frozen` are `fnmatch` patterns on parameter names: the former stay at the
    party, the latter are never trained and are what `module` makes them under a fixed seed. Floating-point buffers
    are averaged or stay at the party (`buffers`).

    Half-precision parameters keep their dtype on the wire and are float32 while they are trained. Control flow in
    `forward` that depends on Python's own random numbers is frozen by tracing; use torch's, which derive from the
    party's seed.
    """

    module: Factory
    loss: str | LossFunction = "cross_entropy"
    metrics: Sequence[Any] = ("accuracy",)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    local: Sequence[str] = ()
    frozen: Sequence[str] = ()
    buffers: BufferPolicy = "average"

    def __post_init__(self) -> None:
        losses.resolve(self.loss)
        if self.buffers not in ("average", "local"):
            raise ConfigError(f"buffers is {self.buffers!r}", where="Model.buffers", mend='use "average" or "local"')
        object.__setattr__(self, "metrics", metric_names.resolve(self.metrics))
        for name in ("local", "frozen"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))

    @cached_property
    def layout(self) -> Layout:
        """The order of the module's arrays in flat vectors; the module is made once for it, without numbers."""
        module = outline(self.module, self.arguments)
        return describe(module, local=self.local, frozen=self.frozen, buffers=self.buffers)

    def init(self, seed: Seed) -> NDArray[np.float32]:
        """The starting vector `[D]`, as the module initialises itself under `seed`."""
        return self.layout.pack(self._arrays(seed.integer()))

    def init_local(self, seed: Seed) -> NDArray[np.float32]:
        """The starting vector `[L]` of what stays at a party."""
        return self.layout.pack(self._arrays(seed.integer()), part="local")

    def export(self, weights: Array) -> Mapping[str, NDArray[np.generic]]:
        """Every array of the module's state dict by name; half-precision ones are float32 rounded to their precision.

        What stays at the parties has its starting values.
        """
        arrays = self._arrays(_FIXED_SEED)
        vectors = self.layout.unpack(to_numpy(weights))
        for entry in self.layout.entries:
            if entry.name in vectors:
                arrays[entry.name] = rounded(vectors[entry.name], entry.dtype)
        return arrays | {second: arrays[first] for second, first in self.layout.ties.items()}

    def build(self, hardware: Hardware, *, batched: bool = False) -> Trainer:
        """A trainer on `hardware`. Raises `LearnerError` for a missing device or, `batched`, for what is in the way."""
        device = open_device(hardware.device)
        module = make_module(self.module, self.arguments, _FIXED_SEED)
        loss = losses.resolve(self.loss)
        resident = ResidentTrainer(module, self.layout, loss, self.metrics, hardware, device)
        if not batched:
            return resident
        if why := obstacle(module, self.layout, loss):
            raise LearnerError(f"parties cannot be trained as one batch: {why}", mend="use the resident trainer")
        return BatchedTrainer(resident, loss)

    def check(self, plan: LocalPlan, *, corrected: bool) -> None:
        """Every plan and correction can be carried out, but for record-level privacy with batch normalisation."""
        if plan.privacy is not None:
            check_records(outline(self.module, self.arguments))

    def batchable(self, plan: LocalPlan) -> str | None:
        """None when K parties can be trained at once under `plan`; otherwise the reason why not."""
        why = record_by_record(plan)
        return why or obstacle(outline(self.module, self.arguments), self.layout, losses.resolve(self.loss))

    def prefers_batched(self, hardware: Hardware) -> tuple[bool, str]:
        """Whether training K parties at once, where it is possible, is the faster way on `hardware`, and why.

        Measured on one CPU thread: softmax regression (7,850 parameters) over 100 parties of 20–60 rows takes a third
        of the time, McMahan's 2NN (199,210) more; convolutions run at their best one party at a time.
        """
        trained = sum(entry.size for entry in self.layout.entries if entry.part in ("shared", "local"))
        if not hardware.device.startswith("cpu"):
            return True, f"{hardware.device} is filled by several parties at once"
        if any(len(entry.shape) > 2 for entry in self.layout.entries):
            return False, "convolutions on a CPU gain nothing from several parties at once"
        if trained > _BATCHED_PARAMETERS:
            return False, f"{trained:,} trained parameters, more than {_BATCHED_PARAMETERS:,}, fill a CPU by themselves"
        return True, f"{trained:,} trained parameters, at most {_BATCHED_PARAMETERS:,}, leave a CPU waiting on calls"

    def _arrays(self, seed: int) -> dict[str, NDArray[Any]]:
        return numpy_arrays(make_module(self.module, self.arguments, seed))
