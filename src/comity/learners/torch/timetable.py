"""Which example every party of a chunk sees at every step, as one table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comity.core.seeds import Seed
from comity.data.examples import Examples
from comity.learners.base import Work
from comity.learners.torch.batches import Feeder, batch_size, order

_BLOCK_BYTES = 1 << 24
"""Batches are gathered for several steps at once, up to so many bytes of features."""


@dataclass(frozen=True, eq=False)
class Timetable:
    """Rows `[steps, K, B]` of the parties' examples, and how many of the B are real, `sizes` `[steps, K]`.

    Padding repeats a party's first example; its share in the mean is zero.
    """

    parties: tuple[Examples, ...]
    positions: NDArray[np.int64]
    sizes: NDArray[np.float32]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, work: Work, rows: NDArray[np.int64], counts: NDArray[np.int64], width: int) -> Timetable:
        """The table for the parties at `rows`, most steps first, in a chunk that is `width` parties wide."""
        parties = tuple(work.examples[row] for row in rows)
        widest = max(batch_size(work.plan.batch_size, len(party)) for party in parties)
        positions = np.zeros((int(counts[0]), width, widest), dtype=np.int64)
        sizes = np.zeros((int(counts[0]), width), dtype=np.float32)
        for column, (row, count) in enumerate(zip(rows, counts, strict=True)):
            size = batch_size(work.plan.batch_size, len(parties[column]))
            _fill(positions[:count, column], sizes[:count, column], len(parties[column]), size, work.seeds[row])
        return cls(parties, positions, sizes, counts)

    def active(self, step: int) -> int:
        """How many parties, a prefix of the rows, still train at a step."""
        return int(np.count_nonzero(self.counts > step))

    def batches(self, feeder: Feeder) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For every step: features `[K, B, ...]`, targets `[K, B, ...]`, and shares in the mean `[K, B]`."""
        steps, width, widest = self.positions.shape
        shares = (np.arange(widest) < self.sizes[..., None]) / np.maximum(self.sizes, 1)[..., None]
        weights = torch.from_numpy(shares.astype(np.float32)).to(feeder.device)
        row = 4 * width * widest * max(1, int(np.prod(self.parties[0].x.shape[1:])))
        block = max(1, _BLOCK_BYTES // row)
        for start in range(0, steps, block):
            x, y = self._gather(feeder, self.positions[start : start + block])
            yield from zip(x, y, weights[start : start + block], strict=True)

    def _gather(self, feeder: Feeder, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        first = self.parties[0]
        steps, width, widest = positions.shape
        if all(p.x is first.x and p.y is first.y and p.affine is first.affine for p in self.parties):
            absolute = np.zeros_like(positions)
            for column, party in enumerate(self.parties):
                own = positions[:, column]
                absolute[:, column] = own if party.rows is None else party.rows[own]
            pooled = Examples(first.x, first.y, absolute.reshape(-1), first.affine)
            x, y = feeder.rows(pooled, slice(None))
            return x.view(steps, width, widest, *x.shape[1:]), y.view(steps, width, widest, *y.shape[1:])
        padded = [*self.parties, *[first] * (width - len(self.parties))]
        parts = [feeder.rows(party, positions[:, column].reshape(-1)) for column, party in enumerate(padded)]
        x, y = (
            torch.stack([part[side].view(steps, widest, *part[side].shape[1:]) for part in parts], dim=1)
            for side in (0, 1)
        )
        return x, y


def _fill(positions: NDArray[np.int64], sizes: NDArray[np.float32], examples: int, size: int, seed: Seed) -> None:
    """One party's column: epoch after epoch in its own order, the last batch of each perhaps short."""
    per_epoch = -(-examples // size)
    whole = np.zeros(per_epoch * size, dtype=np.int64)
    lengths = np.full(per_epoch, size, dtype=np.float32)
    lengths[-1] = examples - (per_epoch - 1) * size
    for epoch, start in enumerate(range(0, len(positions), per_epoch)):
        whole[:examples] = order(seed, epoch, examples) if size < examples else np.arange(examples)
        stop = min(start + per_epoch, len(positions))
        positions[start:stop, :size] = whole.reshape(per_epoch, size)[: stop - start]
        sizes[start:stop] = lengths[: stop - start]
