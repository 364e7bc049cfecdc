"""The trainer's border: vectors are checked and become tensors on the way in, and go out as the kind they came in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from comity.core.arrays import Array
from comity.core.errors import LearnerError
from comity.core.layout import Layout
from comity.learners.base import Trained, Work
from comity.learners.torch.session import like, to_tensor


class Border:
    """Checks and converts the vectors of a layout for a device."""

    def __init__(self, layout: Layout, device: torch.device) -> None:
        self.layout = layout
        self.device = device

    def receive(self, weights: Array, local: Array | None, parties: int) -> tuple[Tensor, Tensor | None]:
        """`[K, D]` weights (all rows one memory where they came as `[D]`) and `[K, L]` local arrays, if any."""
        rows = self._rows("weights", weights, self.layout.size, parties)
        if not self.layout.local_size:
            return rows, None
        if local is None:
            raise LearnerError(
                f"the model keeps {self.layout.local_size} numbers at the party, and none were given",
                where="Work.local",
                mend="start a new party from Model.init_local(seed)",
            )
        return rows, self._rows("local", local, self.layout.local_size, parties)

    def room(self, given: Array | None, parties: int) -> Tensor:
        """`[K, D]` for what training changes: the memory that was `given` for it, where it lies on this device."""
        shape = (parties, self.layout.size)
        if self.device.type == "cpu" and isinstance(given, np.ndarray) and given.shape == shape:
            return torch.from_numpy(given)
        return torch.empty(shape, device=self.device)

    def send(self, work: Work, change: Tensor, local: Tensor | None, steps: Tensor, losses: Tensor) -> Trained:
        """The outcome, as NumPy where `work.weights` is NumPy."""
        lengths = np.array([len(party) for party in work.examples], dtype=np.float32)
        examples = torch.from_numpy(lengths[:, None]).to(self.device)
        out = {"change": change, "steps": steps, "examples": examples, "loss": losses}
        sent = {name: like(work.weights, tensor) for name, tensor in out.items()}
        return Trained(
            start=work.weights,
            change=sent["change"],
            steps=sent["steps"],
            examples=sent["examples"],
            statistics={"loss": sent["loss"]},
            local=None if local is None else like(work.weights, local),
        )

    def _rows(self, name: str, vector: Array, size: int, parties: int) -> Tensor:
        shape = tuple(vector.shape)
        if shape not in ((size,), (parties, size)):
            raise LearnerError(f"{name} of shape {list(shape)}, expected [{size}] or [{parties}, {size}]", where="Work")
        return to_tensor(vector, self.device).expand(parties, size)
