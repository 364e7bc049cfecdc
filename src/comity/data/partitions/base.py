"""What a partition is, and the steps that several of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data.columns import PartyColumn
from comity.data.examples import Affine, Examples


@dataclass(frozen=True, eq=False)
class Assignment:
    """Which party gets each example: `party` `[N]` holds positions in `names`, −1 for an example that is left out.

    `shifts`, where given, has one change of the features for each party.
    """

    party: NDArray[np.int64]
    names: Sequence[str]
    shifts: tuple[Affine, ...] = ()


class Splittable(Protocol):
    """What a partition sees of a data set."""

    @property
    def train(self) -> Examples: ...

    @property
    def party(self) -> Mapping[str, PartyColumn]: ...


class Partition(Protocol):
    """A rule that gives every training example of a data set to one party."""

    def assign(self, dataset: Splittable, seed: Seed) -> Assignment:
        """The same seed gives the same assignment. Raises `DataError` where the rule cannot be followed."""
        ...


def check_count(partition: object, parties: int, minimum: int, examples: int) -> None:
    """Raise `DataError` unless `parties` parties can have `minimum` of `examples` examples each."""
    where = repr(partition)
    if parties < 1 or minimum < 1:
        raise DataError(f"{parties} parties with a minimum of {minimum}", where=where, mend="give numbers of 1 or more")
    if parties * minimum > examples:
        raise DataError(
            f"{parties} parties need {parties * minimum:,} examples; there are {examples:,}",
            where=where,
            mend=f"ask for at most {examples // minimum:,} parties, or for a smaller minimum",
        )


def discrete_labels(partition: object, examples: Examples) -> NDArray[np.int64]:
    """`[N]` labels as whole numbers from 0. Raises `DataError` for a regression target."""
    labels = examples.labels()
    if labels.dtype.kind not in "bui" or labels.ndim != 1:
        raise DataError(
            f"a partition by label, but the targets are {labels.dtype} of shape {labels.shape}",
            where=repr(partition),
            mend="use IID, Shards, a quantity skew or Natural",
        )
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def top_up(party: NDArray[np.int64], parties: int, minimum: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Move random examples from the largest parties to those that have fewer than `minimum`; in place.

    Drawing again until every party has enough can take for ever; moving the few that are missing always ends.
    """
    sizes = np.bincount(party, minlength=parties)
    for poor in np.flatnonzero(sizes < minimum):
        while sizes[poor] < minimum:
            rich = int(sizes.argmax())
            count = min(minimum - int(sizes[poor]), max(1, (int(sizes[rich]) - minimum) // 2))
            moved = rng.choice(np.flatnonzero(party == rich), size=count, replace=False)
            party[moved] = poor
            sizes[rich] -= count
            sizes[poor] += count
    return party


def shares(weights: NDArray[np.float64], total: int, minimum: int = 0) -> NDArray[np.int64]:
    """Whole numbers that sum to `total`, proportional to `weights` above a floor of `minimum` (largest remainders)."""
    spare = total - minimum * len(weights)
    exact = weights / weights.sum() * spare
    whole: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    missing = spare - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:missing]] += 1
    return whole + minimum
