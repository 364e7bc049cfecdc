"""Examples: the rows of a table that belong to one party, without copying the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import DataError

Column: TypeAlias = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Affine:
    """A change of the features, `x · scale + offset` (numbers, or arrays that broadcast against one example)."""

    scale: float | Column = 1.0
    offset: float | Column = 0.0

    def __call__(self, x: Any) -> Any:
        return x * self.scale + self.offset

    def features(self, x: Column) -> Column:
        """The change of stored features as a new float32 array; two passes at most, for this runs at every party."""
        changed = x.astype(np.float32)
        changed *= self.scale
        if np.any(self.offset):
            changed += self.offset
        return changed

    def then(self, after: Affine) -> Affine:
        """This change followed by `after`, as one."""
        return Affine(self.scale * after.scale, self.offset * after.scale + after.offset)


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples: shared columns `x` `[N, ...]` and `y` `[N, ...]`, and which rows of them are meant.

    The columns may be memory maps and of any dtype (images stay uint8); many parties point into the same ones. `rows`
    are the positions of this party's examples in the columns, all of them when None. `affine`, where given, maps the
    stored features to the ones a model sees, as float32.
    """

    x: Column
    y: Column
    rows: NDArray[np.int64] | None = None
    affine: Affine | None = None

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise DataError(
                f"{len(self.x)} rows of features and {len(self.y)} labels", mend="give one label for each row"
            )

    def __len__(self) -> int:
        return len(self.y) if self.rows is None else len(self.rows)

    def take(self, positions: NDArray[np.int64] | slice) -> Examples:
        """The examples at `positions` among these, still without copying the columns."""
        if self.rows is None and isinstance(positions, slice):
            return replace(self, rows=np.arange(*positions.indices(len(self.y))))
        rows = np.arange(len(self.y)) if self.rows is None else self.rows
        return replace(self, rows=rows[positions])

    def features(self) -> Column:
        """`[n, ...]` features as a model sees them; integers only where they are token ids (no `affine` given)."""
        x = self.x if self.rows is None else self.x[self.rows]
        return x if self.affine is None else self.affine.features(x)

    def labels(self) -> Column:
        """`[n, ...]` labels."""
        return self.y if self.rows is None else self.y[self.rows]


@dataclass(frozen=True, eq=False)
class PartyData:
    """What one party holds: examples to train on, and its own held-out examples to be judged by."""

    train: Examples
    heldout: Examples


class FederatedData(Protocol):
    """A population of parties, each with its data; nothing is loaded before it is asked for.

    `ids` is a sequence of party names that may be lazy (a million names cost nothing); `test` is a common test set,
    where the federation has one, on which no party trains.
    """

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def test(self) -> Examples | None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, party: str) -> PartyData: ...


class PartyNames(Sequence[str]):
    """The names `prefix-0000 … prefix-N`, made when asked for."""

    def __init__(self, count: int, prefix: str = "party") -> None:
        self._size = count
        self.prefix = prefix
        self._width = len(str(max(count - 1, 0)))

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._size))]
        if not -self._size <= index < self._size:
            raise IndexError(index)
        return f"{self.prefix}-{index % self._size:0{self._width}d}"

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The position of a name; constant time."""
        head, _, digits = str(value).rpartition("-")
        position = int(digits) if head == self.prefix and digits.isdigit() else -1
        if start <= position < (self._size if stop is None else min(stop, self._size)) and self[position] == value:
            return position
        raise ValueError(f"no party is named {value!r}")

    def __contains__(self, value: object) -> bool:
        try:
            self.index(value)
        except ValueError:
            return False
        return True
