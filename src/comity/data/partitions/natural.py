"""The partition that the data come with: by hospital, carrier, school, speaker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data.columns import Names
from comity.data.partitions.base import Assignment, Splittable


@dataclass(frozen=True)
class Natural:
    """Every value of a party column is a party; the default column where `column` is None.

    Parties with fewer than `minimum` examples, and their examples, are left out: nobody else's are given to them.
    """

    column: str | None = None
    minimum: int = 1

    def assign(self, dataset: Splittable, seed: Seed) -> Assignment:
        columns = dataset.party
        name = self.column if self.column is not None else next(iter(columns), None)
        if name is None or name not in columns:
            raise DataError(
                "the data have no party column" if name is None else f"no party column {name!r}",
                where=repr(self),
                mend=f"use one of: {', '.join(columns)}" if columns else "use another partition, such as IID",
            )
        column = columns[name]
        kept = np.flatnonzero(column.sizes >= max(self.minimum, 1))
        if not len(kept):
            raise DataError(
                f"no party has {self.minimum} examples; the largest has {int(column.sizes.max())}",
                where=repr(self),
                mend="ask for a smaller minimum",
            )
        position = np.full(len(column.names), -1, np.int64)
        position[kept] = np.arange(len(kept))
        return Assignment(position[column.codes], Names([column.names[i] for i in kept]))
