"""Partitions that make parties differ in their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data.examples import PartyNames
from comity.data.partitions.base import Assignment, Splittable, check_count, discrete_labels, shares, top_up


@dataclass(frozen=True)
class Dirichlet:
    """Each label's examples are spread over the parties in proportions drawn from Dirichlet(`alpha`).

    A small `alpha` gives parties of few labels and of unequal sizes, a large one comes near IID. Parties below
    `minimum` are topped up with random examples of the largest ones. Yurochkin et al. 2019, arXiv 1905.12022; in the
    form of Li et al. 2021, arXiv 2102.02079.
    """

    parties: int
    alpha: float
    minimum: int = 1

    def assign(self, dataset: Splittable, seed: Seed) -> Assignment:
        check_count(self, self.parties, self.minimum, len(dataset.train))
        if not self.alpha > 0:
            raise DataError(f"alpha is {self.alpha}", where=repr(self), mend="give a number above 0")
        labels = discrete_labels(self, dataset.train)
        rng = seed.child("dirichlet").rng()
        party = np.empty(len(labels), np.int64)
        for rows in _rows_by_label(labels, rng):
            proportions = _dirichlet(self.alpha, self.parties, rng)
            party[rows] = np.repeat(np.arange(self.parties), shares(proportions, len(rows)))
        return Assignment(top_up(party, self.parties, self.minimum, rng), PartyNames(self.parties))


@dataclass(frozen=True)
class Shards:
    """Sort the examples by label, cut them into equal shards, and give each party `shards_per_party` of them.

    With two shards a party has mostly two labels: the pathological split of McMahan et al. 2017, arXiv 1602.05629.
    """

    parties: int
    shards_per_party: int = 2
    minimum: int = 1

    def assign(self, dataset: Splittable, seed: Seed) -> Assignment:
        examples, count = len(dataset.train), self.parties * self.shards_per_party
        check_count(self, self.parties, max(self.minimum, self.shards_per_party), examples)
        if self.shards_per_party < 1:
            raise DataError("a party without a shard", where=repr(self), mend="give shards_per_party of 1 or more")
        labels = dataset.train.labels()
        if labels.ndim != 1:
            raise DataError("targets with several columns have no order", where=repr(self), mend="use IID or Natural")
        rng = seed.child("shards").rng()
        order = np.lexsort((rng.random(examples), labels))
        owner = rng.permutation(count) // self.shards_per_party
        party = np.empty(examples, np.int64)
        party[order] = owner[np.arange(examples) * count // examples]
        # Shards differ by one example where they do not come out even, and a party may have drawn the small ones.
        return Assignment(top_up(party, self.parties, self.minimum, rng), PartyNames(self.parties))


@dataclass(frozen=True)
class LabelCount:
    """Every party has examples of exactly `labels` different labels; a label's examples are shared equally by its
    owners.

    Label-quantity skew, "#C = k", of Li et al. 2021, arXiv 2102.02079. Labels are dealt round the parties first, so
    that none is left without an owner; a party's further labels are random.
    """

    parties: int
    labels: int
    minimum: int = 1

    def assign(self, dataset: Splittable, seed: Seed) -> Assignment:
        check_count(self, self.parties, max(self.minimum, self.labels), len(dataset.train))
        labels = discrete_labels(self, dataset.train)
        classes = int(labels.max()) + 1
        if not 1 <= self.labels <= classes:
            raise DataError(f"{self.labels} labels of {classes}", where=repr(self), mend=f"give 1 … {classes} labels")
        if self.parties * self.labels < classes:
            raise DataError(
                f"{classes} labels, but the parties take {self.parties * self.labels} between them",
                where=repr(self),
                mend="ask for more parties or more labels a party",
            )
        rng = seed.child("labels").rng()
        owners = _owners(self.parties, self.labels, classes, rng)
        party = np.empty(len(labels), np.int64)
        for label, rows in enumerate(_rows_by_label(labels, rng)):
            mine = rng.permutation(np.flatnonzero(owners[:, label]))
            if len(mine) > len(rows):
                raise DataError(
                    f"{len(rows)} examples of a label that {len(mine)} parties share",
                    where=f"{self!r}, label {label}",
                    mend="ask for fewer parties or fewer labels a party",
                )
            party[rows] = mine[np.arange(len(rows)) * len(mine) // len(rows)]
        _check_minimum(self, np.bincount(party, minlength=self.parties), self.minimum)
        return Assignment(party, PartyNames(self.parties))


def _rows_by_label(labels: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The rows of each label, in random order."""
    order = np.lexsort((rng.random(len(labels)), labels))
    return np.split(order, np.cumsum(np.bincount(labels))[:-1])


def _dirichlet(alpha: float, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A draw from the symmetric Dirichlet; where a tiny `alpha` underflows to zeros, its limit: all on one."""
    weights: NDArray[np.float64] = rng.standard_gamma(alpha, size)
    if not weights.sum() > 0:
        weights[rng.integers(size)] = 1.0
    weights /= weights.sum()
    return weights


def _owners(parties: int, each: int, classes: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """`[parties, classes]` who owns which label: `each` labels a party, at least one party a label."""
    owners = np.zeros((parties, classes), bool)
    dealt = np.arange(max(parties, classes))
    owners[dealt % parties, rng.permutation(classes)[dealt % classes]] = True
    for mine in owners:
        free = np.flatnonzero(~mine)
        mine[rng.choice(free, size=each - int(mine.sum()), replace=False)] = True
    return owners


def _check_minimum(partition: object, sizes: NDArray[np.int64], minimum: int) -> None:
    if sizes.min() < minimum:
        raise DataError(
            f"a party would have {int(sizes.min())} examples, below the minimum of {minimum}",
            where=repr(partition),
            mend="ask for fewer parties, or for a smaller minimum",
        )
