"""Which example every party of a chunk sees at every step, as one table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comity.data.examples import Examples
from comity.learners.base import Work
from comity.learners.torch.batches import Feeder, order

_BLOCK_BYTES = 1 << 21
"""Batches are gathered for several steps at once, up to so many bytes of features: few enough to stay in a cache."""


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
        lengths = np.array([len(party) for party in parties])
        size = lengths if work.plan.batch_size is None else np.minimum(lengths, work.plan.batch_size)
        per_epoch = -(-lengths // size)
        steps, widest = int(counts[0]), int(size.max())
        step = np.arange(steps)[:, None]
        sizes = np.zeros((steps, width), dtype=np.float32)
        sizes[:, : len(parties)] = np.minimum(size, lengths - step % per_epoch * size) * (step < counts)
        positions = np.zeros((width, steps * widest), dtype=np.int64)
        columns = zip(rows, lengths.tolist(), per_epoch.tolist(), (counts * widest).tolist(), strict=True)
        for own, (row, examples, batches, stop) in zip(positions, columns, strict=False):
            # A party with less than one batch goes through it whole: either way an epoch lies in one piece.
            for epoch, start in enumerate(range(0, stop, batches * widest)):
                whole = order(work.seeds[row], epoch, examples) if batches > 1 else np.arange(examples)
                own[start : min(start + examples, stop)] = whole[: stop - start]
        return cls(parties, positions.reshape(width, steps, widest).transpose(1, 0, 2), sizes, counts)

    def active(self) -> list[int]:
        """How many parties, a prefix of the rows, still train at each step."""
        active: list[int] = (self.counts > np.arange(len(self.positions))[:, None]).sum(axis=1).tolist()
        return active

    def batches(self, feeder: Feeder) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For every step: features `[K, B, ...]`, targets `[K, B, ...]`, and shares in the mean `[K, B]`."""
        steps, width, widest = self.positions.shape
        shares = (np.arange(widest) < self.sizes[..., None]) / np.maximum(self.sizes, 1)[..., None]
        weights = torch.from_numpy(shares.astype(np.float32)).to(feeder.device)
        row = 4 * width * widest * max(1, prod(self.parties[0].x.shape[1:]))
        block = max(1, _BLOCK_BYTES // row)
        for start in range(0, steps, block):
            x, y = self._gather(feeder, self.positions[start : start + block])
            yield from zip(x, y, weights[start : start + block], strict=True)

    def _gather(self, feeder: Feeder, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        first = self.parties[0]
        steps, width, widest = positions.shape
        if all(p.x is first.x and p.y is first.y and p.affine is first.affine for p in self.parties):
            pool = [np.arange(len(party)) if party.rows is None else party.rows for party in self.parties]
            starts = np.zeros((width, 1), dtype=np.int64)
            starts[1 : len(pool), 0] = np.cumsum([len(rows) for rows in pool[:-1]])
            absolute = np.concatenate(pool)[positions + starts]
            pooled = Examples(first.x, first.y, absolute.reshape(-1), first.affine)
            x, y = feeder.rows(pooled, slice(None), passing=True)
            return x.view(steps, width, widest, *x.shape[1:]), y.view(steps, width, widest, *y.shape[1:])
        padded = [*self.parties, *[first] * (width - len(self.parties))]
        parts = [feeder.rows(party, positions[:, column].reshape(-1)) for column, party in enumerate(padded)]
        x, y = (
            torch.stack([part[side].view(steps, widest, *part[side].shape[1:]) for part in parts], dim=1)
            for side in (0, 1)
        )
        return x, y
