"""Party columns: which party each example of a data set naturally belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import to_numpy
from comity.core.errors import DataError


@dataclass(frozen=True, eq=False)
class PartyColumn:
    """The party of every row: `names` of the parties, and `codes` `[N]`, positions in `names`."""

    names: tuple[str, ...]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, values: Any, where: str = "party column") -> PartyColumn:
        """The column of any sequence of names or numbers; parties are in the order of their sorted values.

        Raises `DataError` for a missing value.
        """
        array = np.asarray(to_numpy(values) if hasattr(values, "detach") else values)
        if array.dtype.kind in "US" and not isinstance(values, np.ndarray):
            array = np.asarray(values, dtype=object)  # a None among names would have become the name "None"
        if array.dtype.kind == "O":
            missing = np.array([value is None or value != value for value in array.tolist()], dtype=bool)
        else:
            missing = np.isnan(array) if array.dtype.kind == "f" else np.zeros(len(array), dtype=bool)
        if missing.any():
            raise DataError(
                f"{int(missing.sum())} rows name no party, the first is row {int(np.flatnonzero(missing)[0])}",
                where=where,
                mend="drop these rows or give them a party",
            )
        if array.dtype.kind == "f" and (array == np.floor(array)).all():
            array = array.astype(np.int64)
        if array.dtype.kind == "O":
            whole = all(isinstance(value, int) for value in array.tolist())
            array = array.astype(np.int64) if whole else np.array([str(value) for value in array.tolist()])
        distinct, codes = np.unique(array, return_inverse=True)
        return cls(tuple(str(value) for value in distinct.tolist()), codes.reshape(-1).astype(np.int32))

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, positions: NDArray[Any]) -> PartyColumn:
        """The column of the rows at `positions`; every party keeps its code."""
        return PartyColumn(self.names, self.codes[positions])

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """`[parties]` rows of each party."""
        return np.bincount(self.codes, minlength=len(self.names))

    def values(self) -> NDArray[np.str_]:
        """`[N]` the names, row by row."""
        return np.asarray(self.names, dtype=np.str_)[self.codes]


class Names(Sequence[str]):
    """A fixed list of distinct names in which looking a name up takes constant time."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._positions = {name: position for position, name in enumerate(self._names)}
        if len(self._positions) != len(self._names):
            twice = next(name for position, name in enumerate(self._names) if self._positions[name] != position)
            raise DataError(f"two parties are named {twice!r}", mend="give every party a name of its own")

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._names[index]

    def __contains__(self, value: object) -> bool:
        return value in self._positions

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The position of a name; constant time."""
        position = self._positions.get(value, -1)
        if start <= position < (len(self._names) if stop is None else stop):
            return position
        raise ValueError(f"no party is named {value!r}")


def position_of(ids: Sequence[str], party: str) -> int:
    """Where `party` stands in `ids`. Raises `DataError` for a name that is not there."""
    try:
        return ids.index(party)
    except ValueError:
        few = ", ".join(ids[:3])
        raise DataError(
            f"no party is named {party!r}", where=f"{len(ids):,} parties: {few}, …", mend="use a name from `ids`"
        ) from None
