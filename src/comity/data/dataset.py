"""Data sets: training examples, a test set nobody trains on, and the parties the rows naturally belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data.card import Card
from comity.data.columns import PartyColumn
from comity.data.examples import Affine, Examples
from comity.data.parties import Parties
from comity.data.partitions import Partition

_CHUNK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples before they are split over parties.

    `train` and `test` share their columns where both come from one table. `party` maps the names of the natural party
    columns, the default first, to one entry for each training example. `features` and `labels` name the features and
    the classes, where they have names. `ordered` says that neighbouring rows overlap (windows of one text), so that
    each party holds out its last rows and not random ones.
    """

    card: Card
    train: Examples
    test: Examples | None = None
    party: Mapping[str, PartyColumn] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    ordered: bool = False

    def __post_init__(self) -> None:
        if len(self.train) == 0:
            raise DataError("there are no training examples", where=self.card.name, mend="give at least one row")
        for name, column in self.party.items():
            if len(column) != len(self.train):
                raise DataError(f"{len(column)} entries for {len(self.train)} examples", where=f"party column {name!r}")

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for a regression."""
        return self.card.classes

    def split(self, partition: Partition, *, seed: int | Seed = 7, heldout: float = 0.2) -> Parties:
        """Give every training example to one party; each party holds out the share `heldout` of its own.

        A party of one example keeps it for training; a larger one holds out at least one, unless `heldout` is 0. The
        same arguments give the same parties on every machine. Raises `DataError` where the partition cannot be made.
        """
        if not 0 <= heldout < 1:
            raise DataError(f"heldout is {heldout}", where="split", mend="give a share of at least 0 and below 1")
        root = as_seed(seed)
        assignment = partition.assign(self, root.child("partition"))
        return Parties.build(
            self.train, assignment, root.child("heldout"), heldout, self.test, self.classes, ordered=self.ordered
        )

    def normalised(self) -> Dataset:
        """The same data with features of mean 0 and standard deviation 1 over the training examples.

        Images `[N, C, H, W]` by channel, tables `[N, F]` by feature. The columns stay as they are; only the affine
        change in front of the model differs.
        """
        if self.train.affine is None and self.train.x.dtype.kind in "bui":
            raise DataError("token ids have no mean", where=self.card.name, mend="normalise images or measurements")
        x = self.train.x
        axes = (0,) if x.ndim == 2 else (0, *range(2, x.ndim))
        total = square = 0.0
        count = 0
        for start in range(0, len(self.train), _CHUNK_ROWS):
            chunk = self.train.take(slice(start, start + _CHUNK_ROWS)).features().astype(np.float64)
            total = total + chunk.sum(axis=axes, keepdims=True)[0]
            square = square + (chunk**2).sum(axis=axes, keepdims=True)[0]
            count += chunk.size // int(np.prod(np.shape(total)))
        mean = total / count
        deviation = np.sqrt(np.maximum(square / count - mean**2, 0))
        scale = 1 / np.where(deviation > 0, deviation, 1)
        change = Affine(np.asarray(scale, np.float32), np.asarray(-mean * scale, np.float32))
        return replace(
            self,
            train=_changed(self.train, change),
            test=None if self.test is None else _changed(self.test, change),
        )


def as_seed(seed: int | Seed) -> Seed:
    """A user's number as a root seed; a seed as it is."""
    return seed if isinstance(seed, Seed) else Seed.of(seed)


def draw_test(
    labels: NDArray[np.generic], party: Mapping[str, PartyColumn], seed: Seed, fraction: float
) -> NDArray[np.bool_]:
    """`[N]` which rows form the test set: every party and, within it, every label gives its share.

    Systematic sampling: rows are sorted by party (of the first column) and label, at random within, and taken at equal
    distances. No party of any column loses its last row.
    """
    rng = seed.child("test").rng()
    target = labels if labels.ndim == 1 else labels.reshape(len(labels), -1)[:, 0]
    codes = next((column.codes for column in party.values()), np.zeros(len(target), np.int32))
    order = np.lexsort((rng.random(len(target)), target, codes))
    marks = np.floor(np.arange(len(order) + 1) * fraction + rng.random())
    mask = np.zeros(len(order), bool)
    mask[order] = np.diff(marks) > 0
    for column in party.values():
        left = np.bincount(column.codes[~mask], minlength=len(column.names))
        mask &= left[column.codes] > 0
    return mask


def _changed(examples: Examples, change: Affine) -> Examples:
    before = examples.affine
    return replace(examples, affine=change if before is None else before.then(change))
