"""Bring your own table: a pandas data frame, with a party column if it has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data.card import Card
from comity.data.checks import check_examples
from comity.data.columns import PartyColumn
from comity.data.dataset import Dataset, as_seed, draw_test
from comity.data.encode import Encoder, check_columns
from comity.data.examples import Column, Examples

if TYPE_CHECKING:
    import pandas as pd


def from_frame(
    frame: pd.DataFrame,
    *,
    target: str,
    party: str | None = None,
    features: Sequence[str] | None = None,
    test: float | None = None,
    standardise: bool = True,
    seed: int | Seed = 7,
) -> Dataset:
    """A data set from a pandas data frame.

    `features` are the columns to learn from, all but the target and the party where None; they are encoded by
    `Encoder`, learnt from the rows that are not set aside as `test` (a share, stratified by party and label). A target
    of text, categories, booleans or integers is a classification, one of floats a regression. Raises `DataError` for a
    missing column, a row without target or party, infinite values, and no rows.
    """
    check_columns(frame, [target, *([party] if party else [])], "from_frame")
    if len(frame) == 0:
        raise DataError("the data set is empty", where="from_frame", mend="give at least one row")
    chosen = [name for name in frame.columns if name not in (target, party)] if features is None else list(features)
    check_columns(frame, chosen, "from_frame")
    y, labels = read_target(frame[target])
    columns = {} if party is None else {party: PartyColumn.of(frame[party].to_numpy(), f"party column {party!r}")}
    classes = None if y.dtype.kind == "f" else len(labels) or max(int(y.max()), 0) + 1
    card = Card(
        name="frame",
        title=f"{len(frame):,} rows of your own",
        task="regression" if classes is None else "classification",
        features=(),
        examples=len(frame),
        classes=classes,
        party=tuple(columns),
        parties=tuple(len(column.names) for column in columns.values()),
    )
    return assemble(card, frame[chosen], y, columns, labels, test, as_seed(seed), standardise=standardise)


def assemble(
    card: Card,
    frame: pd.DataFrame,
    y: Column,
    party: Mapping[str, PartyColumn],
    labels: tuple[str, ...],
    test: float | None,
    seed: Seed,
    *,
    standardise: bool = True,
) -> Dataset:
    """Set test rows aside, learn the encoding from the others, and encode all rows into one matrix."""
    mask = np.zeros(len(frame), bool)
    if test is not None:
        if not 0 < test < 1:
            raise DataError(f"test is {test}", where=card.name, mend="give a share between 0 and 1")
        mask = draw_test(y, party, seed, test)
    encoder = Encoder.fit(frame[~mask], standardise=standardise, whole=frame)
    x = encoder.encode(frame, card.name)
    whole = Examples(x, y)
    check_examples(whole, card.classes, card.name, encoder.features)
    card = replace(card, features=x.shape[1:])
    if test is None:
        return Dataset(card, whole, None, party, encoder.features, labels)
    train = np.flatnonzero(~mask)
    columns = {name: column.take(train) for name, column in party.items()}
    return Dataset(card, whole.take(train), whole.take(np.flatnonzero(mask)), columns, encoder.features, labels)


def read_target(column: pd.Series) -> tuple[Column, tuple[str, ...]]:
    """The target as int64 classes with their names, or as float32. Raises `DataError` for a missing value."""
    missing = np.flatnonzero(column.isna().to_numpy())
    if len(missing):
        raise DataError(
            f"the target {column.name!r} is missing",
            where=f"row {int(missing[0])}",
            mend="drop rows without a target: df.dropna(subset=[…])",
        )
    if column.dtype.kind in "bui":
        return column.to_numpy(dtype=np.int64), ()
    if column.dtype.kind == "f":
        return column.to_numpy(dtype=np.float32), ()
    names, codes = np.unique(column.astype(str).to_numpy(dtype=np.str_), return_inverse=True)
    numbers: NDArray[np.int64] = codes.reshape(-1).astype(np.int64)
    return numbers, tuple(str(name) for name in names)
