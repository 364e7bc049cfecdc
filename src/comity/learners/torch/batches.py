"""A party's batches, in its own order: rows are gathered once an epoch, then a batch is a view."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from itertools import count
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comity.core.errors import LearnerError
from comity.core.seeds import Seed
from comity.data.examples import Affine, Examples
from comity.learners.records import poisson_sample
from comity.learners.torch.losses import Loss, cast_labels

_ALIGNMENT = 64
_BLOCK_BYTES = 1 << 26
"""Rows are gathered in blocks of at most so many bytes, however large the party."""


def order(seed: Seed, epoch: int, examples: int) -> NDArray[np.int64]:
    """The order in which a party goes over its examples in one epoch; the same for every engine."""
    return seed.child("order", epoch=epoch).permutation(examples)


def batch_size(planned: int | None, examples: int) -> int:
    """The batch size of a party: the planned one, at most all it has."""
    return examples if planned is None else min(planned, examples)


class Feeder:
    """Gathers rows of examples as tensors on a device.

    On an accelerator the pooled feature columns stay on the device as long as they live on the host, and rows are
    gathered there. Labels are checked against `outputs`, the shape of the model's outputs, once it is known.
    """

    def __init__(self, loss: Loss, device: torch.device) -> None:
        self.loss = loss
        self.device = device
        self.columns = DeviceColumns(device)
        self.outputs: tuple[int, ...] | None = None
        self._room = torch.empty(0, device=device)

    def rows(
        self, examples: Examples, positions: NDArray[np.int64] | slice, *, passing: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Features and targets at `positions` among the examples. Raises `DataError` for a label out of range.

        `passing` features may lie in memory that the next ones take over.
        """
        rows = positions if examples.rows is None else examples.rows[positions]
        x = self._stored(examples.x, rows)
        labels = cast_labels(self.loss, np.asarray(examples.y[rows]))
        if self.outputs is not None:
            self.loss.check(labels, self.outputs)
        room = self._room_for(x) if passing and examples.affine is not None else None
        return features(x, examples.affine, room), torch.from_numpy(np.ascontiguousarray(labels)).to(self.device)

    def epochs(self, examples: Examples, size: int, batches: int, seed: Seed) -> Iterator[tuple[Tensor, Tensor]]:
        """`batches` batches of `size` (the last of an epoch may be short), epoch after epoch in a new order."""
        total, block = len(examples), self._block(examples, size)
        for epoch in count():
            # A full batch has no order; leaving its rows as they lie spares a gather.
            ordered = order(seed, epoch, total) if size < total else np.arange(total)
            ordered = ordered[: batches * size]
            for start in range(0, len(ordered), block):
                x, y = self.rows(examples, ordered[start : start + block], passing=True)
                yield from zip(torch.unsafe_split(x, size), torch.unsafe_split(y, size), strict=True)
            batches -= -(-len(ordered) // size)
            if batches <= 0:
                return

    def samples(self, examples: Examples, expected: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """`steps` Poisson samples of `expected` examples on average, some perhaps empty."""
        for _ in range(steps):
            yield self.rows(examples, poisson_sample(expected, len(examples)), passing=True)

    def _room_for(self, x: Tensor) -> Tensor:
        """Memory for features in the shape of `x`: fresh memory costs more than what is done with it."""
        if x.numel() > self._room.numel():
            self._room = torch.empty(x.numel(), device=self.device)
        return self._room[: x.numel()].view(x.shape)

    def _block(self, examples: Examples, size: int) -> int:
        row = 4 * max(1, prod(examples.x.shape[1:]))
        return max(1, _BLOCK_BYTES // (row * size)) * size

    def _stored(self, column: NDArray[Any], rows: NDArray[np.int64] | slice) -> Tensor:
        if column.dtype.kind not in "fiub":
            raise LearnerError(
                f"features of dtype {column.dtype}", where="examples.x", mend="encode them as numbers first"
            )
        resident = self.columns.get(column)
        if resident is not None:
            if isinstance(rows, slice):
                return resident[rows]
            return resident.index_select(0, torch.from_numpy(rows).to(self.device))
        taken = np.array(column[rows]) if isinstance(rows, slice) else np.take(column, rows, axis=0)
        return torch.from_numpy(taken).to(self.device)


def features(x: Tensor, affine: Affine | None, room: Tensor | None = None) -> Tensor:
    """Stored features as a model sees them: float32 after the affine map; integers without one are token ids.

    `room`, where it is given, is the memory for what the map gives.
    """
    if affine is not None:
        x = x.to(torch.float32, copy=True) if room is None else room.copy_(x)
        for operation, value, idle in ((x.mul_, affine.scale, 1.0), (x.add_, affine.offset, 0.0)):
            if isinstance(value, np.ndarray):
                operation(torch.as_tensor(value, dtype=torch.float32, device=x.device))
            elif value != idle:
                operation(float(value))
        return x
    return aligned(x.float()) if x.is_floating_point() or x.dtype is torch.bool else x.long()


def aligned(x: Tensor) -> Tensor:
    """`x` at an address as torch's own: products of matrices can differ in the last bit with the alignment."""
    return x.clone() if x.data_ptr() % _ALIGNMENT else x


class DeviceColumns:
    """Host columns that also lie on an accelerator, each as long as its host array lives."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._held: dict[int, tuple[weakref.ref[NDArray[Any]], Tensor]] = {}

    def get(self, column: NDArray[Any]) -> Tensor | None:
        """The column on the device; None on a CPU and for a column that does not fit."""
        if self.device.type == "cpu":
            return None
        key = id(column)
        held = self._held.get(key)
        if held is not None and held[0]() is column:
            return held[1]
        if not self._fits(column.nbytes):
            return None
        tensor = torch.from_numpy(np.array(column)).to(self.device)
        self._held[key] = (weakref.ref(column, lambda _: self._held.pop(key, None)), tensor)
        return tensor

    def _fits(self, size: int) -> bool:
        if self.device.type != "cuda":
            return size < _BLOCK_BYTES * 16
        free, _ = torch.cuda.mem_get_info(self.device)
        return size < free // 2
