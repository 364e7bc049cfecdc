"""Encoding a table: from a data frame's columns to a matrix of float32, by one documented rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

RARE = 0.01
LIMIT = 5.0


@dataclass(frozen=True)
class Number:
    """A numeric column: `(value − centre) / scale`, cut to ±`limit`; a missing value counts as `fill`.

    `missing` adds a second feature that is 1 where the value is missing.
    """

    name: str
    centre: float
    scale: float
    limit: float
    fill: float
    missing: bool

    @property
    def features(self) -> tuple[str, ...]:
        return (self.name, f"{self.name} missing") if self.missing else (self.name,)

    def encode(self, column: pd.Series) -> NDArray[np.float32]:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        lost = np.isnan(values)
        scaled = np.clip((np.where(lost, self.fill, values) - self.centre) / self.scale, -self.limit, self.limit)
        parts = [scaled, lost] if self.missing else [scaled]
        return np.stack(parts, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Category:
    """A column of categories: one feature for each level, 1 where the row has it; all 0 for any other value."""

    name: str
    levels: tuple[str, ...]

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(f"{self.name}={level}" for level in self.levels)

    def encode(self, column: pd.Series) -> NDArray[np.float32]:
        codes = _text(column).map({level: i for i, level in enumerate(self.levels)}).fillna(-1).to_numpy(np.int64)
        hot = np.zeros((len(codes), len(self.levels)), np.float32)
        known = np.flatnonzero(codes >= 0)
        hot[known, codes[known]] = 1
        return hot


Field: TypeAlias = Number | Category


@dataclass(frozen=True)
class Encoder:
    """How each column of a table becomes features; its numbers are learnt from the training rows only.

    Numbers are standardised with the mean and the standard deviation of the rows that have a value, cut to ±5
    deviations; a missing number becomes 0 (the mean), and a column that misses some gets a second feature that says so.
    Any other column is a category: one feature for each level that at least 1 % of the rows have, missing values being
    a level of their own; rarer and unknown levels are all zeros.
    """

    fields: tuple[Field, ...]

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        columns: Sequence[str] | None = None,
        *,
        standardise: bool = True,
        whole: pd.DataFrame | None = None,
    ) -> Encoder:
        """Learn the encoding of `columns` (all where None).

        `standardise=False` leaves numbers as they are, and fills in the mean of the column where one is missing. Which
        features there are follows from `whole`, where it is given, so that it does not depend on how rows were drawn.
        """
        chosen = list(frame.columns if columns is None else columns)
        check_columns(frame, chosen, "features")
        table = frame if whole is None else whole
        return cls(tuple(_fit(str(name), frame[name], table[name], standardise) for name in chosen))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that are read."""
        return tuple(field.name for field in self.fields)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the F features, in the order of the matrix."""
        return tuple(name for field in self.fields for name in field.features)

    def encode(self, frame: pd.DataFrame, where: str = "table") -> NDArray[np.float32]:
        """`[rows, F]`. Raises `DataError` for a missing column, or text or an infinity in a numeric one."""
        check_columns(frame, self.columns, where)
        matrix = np.empty((len(frame), len(self.features)), np.float32)
        start = 0
        for field in self.fields:
            column = frame[field.name]
            if isinstance(field, Number):
                _check_numeric(column, where)
            end = start + len(field.features)
            matrix[:, start:end] = field.encode(column)
            start = end
        return matrix


def check_columns(frame: pd.DataFrame, columns: Sequence[str], where: str) -> None:
    """Raise `DataError` unless the table has these columns."""
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise DataError(
            f"no column {', '.join(map(repr, absent))}",
            where=where,
            mend=f"the table has: {', '.join(map(str, frame.columns))}",
        )


def _fit(name: str, column: pd.Series, whole: pd.Series, standardise: bool) -> Field:
    if column.dtype.kind in "bui" or column.dtype.kind == "f":
        _check_numeric(column, "features")
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        lost = np.isnan(values)
        if lost.all():
            raise DataError("every value is missing", where=f"column {name!r}", mend="leave the column out")
        missing = bool(whole.isna().any())
        mean, deviation = float(np.nanmean(values)), float(np.nanstd(values))
        if not standardise:
            return Number(name, 0.0, 1.0, np.inf, mean, missing)
        return Number(name, mean, deviation if deviation > 0 else 1.0, LIMIT, mean, missing)
    if column.dtype.kind in "mM":
        raise DataError("dates are not encoded", where=f"column {name!r}", mend="derive a month, a weekday or an age")
    frequency = _text(whole).value_counts(normalize=True)
    levels = tuple(sorted(frequency.index[frequency >= RARE]))
    if not levels:
        raise DataError(
            f"{len(frequency):,} different values, none in 1 % of the rows",
            where=f"column {name!r}",
            mend="leave the column out of `features`: it looks like an identifier",
        )
    return Category(name, levels)


def _text(column: pd.Series) -> pd.Series:
    return column.astype(object).where(column.notna(), "missing").astype(str)


def _check_numeric(column: pd.Series, where: str) -> None:
    if column.dtype.kind not in "buif":
        raise DataError(
            f"column {column.name!r} holds {column.dtype}, expected numbers", where=where, mend="correct the column"
        )
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(np.isinf(values))
    if len(bad):
        raise DataError(
            f"column {column.name!r} is {values[bad[0]]}", where=f"{where}, row {int(bad[0])}", mend="drop or fill it"
        )
