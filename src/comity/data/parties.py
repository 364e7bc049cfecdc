"""Parties over shared columns: each party is a run of row numbers, never a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data.columns import position_of
from comity.data.examples import Affine, Examples, PartyData
from comity.data.partitions import Assignment

if TYPE_CHECKING:
    from comity.data.heterogeneity import Heterogeneity


@dataclass(frozen=True, eq=False)
class Parties:
    """A population of parties in one table.

    `examples.rows` lists the rows party by party, each party's training rows before its held-out rows; party i owns
    the entries `starts[i] … starts[i + 1]`, and its held-out rows begin at `middles[i]`. `shifts`, where given, change
    the features of each party.
    """

    ids: Sequence[str]
    examples: Examples
    starts: NDArray[np.int64]
    middles: NDArray[np.int64]
    test: Examples | None = None
    classes: int | None = None
    shifts: tuple[Affine, ...] = ()

    @classmethod
    def build(
        cls,
        train: Examples,
        assignment: Assignment,
        seed: Seed,
        heldout: float,
        test: Examples | None,
        classes: int | None,
        *,
        ordered: bool = False,
    ) -> Parties:
        """Group the rows of `train` by the party they are assigned to, and draw each party's held-out rows."""
        kept = np.flatnonzero(assignment.party >= 0)
        codes = assignment.party[kept]
        sizes = np.bincount(codes, minlength=len(assignment.names))
        starts = np.concatenate(([0], np.cumsum(sizes)))
        held = held_out_sizes(sizes, heldout)
        key = np.arange(len(kept)) if ordered else seed.rng().permutation(len(kept))
        order = np.lexsort((key, codes))
        grouped = codes[order]
        last = np.arange(len(kept)) >= (starts[1:] - held)[grouped]
        if not ordered:
            order = order[np.lexsort((order, last, grouped))]
        rows = kept[order] if train.rows is None else train.rows[kept[order]]
        examples = replace(train, rows=rows.astype(np.int64, copy=False))
        return cls(assignment.names, examples, starts, starts[1:] - held, test, classes, assignment.shifts)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, party: object) -> bool:
        return party in self.ids

    def __getitem__(self, party: str | int) -> PartyData:
        """The data of a party, by name or by position; constant time. Raises `DataError` for an unknown name."""
        position = position_of(self.ids, party) if isinstance(party, str) else range(len(self.ids))[party]
        start, middle, end = (
            int(self.starts[position]),
            int(self.middles[position]),
            int(self.starts[position + 1]),
        )
        base, affine = self.examples, self._affine(position)
        assert base.rows is not None
        return PartyData(
            Examples(base.x, base.y, base.rows[start:middle], affine),
            Examples(base.x, base.y, base.rows[middle:end], affine),
        )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """`[parties]` examples of each party, the held-out ones included."""
        return np.diff(self.starts)

    def pooled(self) -> Examples:
        """The training examples of all parties as one, for a centralised baseline. Raises `DataError` after a shift."""
        if self.shifts:
            raise DataError("every party changes its features in its own way", where="pooled", mend="pool before")
        own = np.repeat(self.starts[:-1], self.middles - self.starts[:-1])
        counts = self.middles - self.starts[:-1]
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.examples.take(own + within)

    def describe(self, *, sample: int = 2000) -> Heterogeneity:
        """How far the parties differ in size and labels; at most `sample` parties are looked at."""
        from comity.data.heterogeneity import describe

        return describe(self, classes=self.classes, sample=sample)

    def _affine(self, position: int) -> Affine | None:
        base = self.examples.affine
        if not self.shifts:
            return base
        return self.shifts[position] if base is None else base.then(self.shifts[position])


def held_out_sizes(sizes: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """How many examples parties of these sizes hold out: the share, rounded, at least 1 of 2 and at most all but 1."""
    if share == 0:
        return np.zeros_like(sizes)
    held: NDArray[np.int64] = np.clip(np.rint(sizes * share).astype(np.int64), 1, None)
    return np.minimum(held, np.maximum(sizes - 1, 0))


def hold_out(examples: Examples, seed: Seed, share: float = 0.2) -> PartyData:
    """One party's examples with the share `share` of them, drawn by `seed`, held out."""
    held = int(held_out_sizes(np.array([len(examples)]), share)[0])
    order = seed.rng().permutation(len(examples))
    cut = len(examples) - held
    return PartyData(examples.take(np.sort(order[:cut])), examples.take(np.sort(order[cut:])))
