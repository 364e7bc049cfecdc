"""Checks of examples: what is wrong, at which party, row and field, before any of it reaches a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comity.core.errors import DataError
from comity.data.examples import Column, Examples, PartyData

_CHUNK_ENTRIES = 1 << 22


def check_party(data: PartyData, classes: int | None = None, where: str = "") -> None:
    """Raise `DataError` unless a party's data can be trained on.

    Checked are: at least one training example; features that are finite; labels that are finite numbers and, where
    `classes` is given, integers in 0 … classes − 1; and held-out examples of the same shape. `where` names the party
    in the message.
    """
    if len(data.train) == 0:
        raise DataError("the party has no training examples", where=where, mend="leave the party out, or give it rows")
    check_examples(data.train, classes, where)
    if len(data.heldout):
        check_examples(data.heldout, classes, _at(where, "held-out examples"))
        ours, theirs = data.train.x.shape[1:], data.heldout.x.shape[1:]
        if ours != theirs:
            raise DataError(
                f"training examples of shape {ours} and held-out examples of shape {theirs}",
                where=where,
                mend="prepare both in the same way",
            )


def check_examples(examples: Examples, classes: int | None = None, where: str = "", fields: Sequence[str] = ()) -> None:
    """Raise `DataError` for a feature that is not a finite number or a label out of range.

    `fields` are the names of the features, for the message; rows are counted from 0 in the columns.
    """
    for name, column in (("feature", examples.x), ("label", examples.y)):
        if column.dtype.kind not in "buif":
            raise DataError(
                f"the {name}s have dtype {column.dtype}",
                where=where,
                mend="give numbers; `from_frame` encodes text and categories",
            )
    _check_finite(examples.x, examples.rows, "feature", where, fields)
    _check_finite(examples.y, examples.rows, "label", where)
    if classes is not None:
        _check_labels(examples, classes, where)


def _check_finite(column: Column, rows: np.ndarray | None, kind: str, where: str, fields: Sequence[str] = ()) -> None:
    if column.dtype.kind != "f":
        return
    count = len(column) if rows is None else len(rows)
    step = max(1, _CHUNK_ENTRIES // max(1, int(np.prod(column.shape[1:]))))
    for start in range(0, count, step):
        chosen = slice(start, start + step) if rows is None else rows[start : start + step]
        good = np.isfinite(column[chosen])
        if good.all():
            continue
        position = np.argwhere(~good)[0]
        row = start + int(position[0]) if rows is None else int(rows[start + int(position[0])])
        value = column[(row, *position[1:])]
        field = _field(kind, tuple(int(i) for i in position[1:]), fields)
        raise DataError(
            f"{field} is {value}",
            where=_at(where, f"row {row}"),
            mend="fill or drop missing values first; `from_frame` fills them by a documented rule",
        )


def _check_labels(examples: Examples, classes: int, where: str) -> None:
    labels = examples.labels()
    if labels.dtype.kind not in "bui":
        raise DataError(
            f"class labels of dtype {labels.dtype}", where=where, mend="give integers 0 … C − 1, or no `classes`"
        )
    bad = np.flatnonzero(((labels < 0) | (labels >= classes)).reshape(len(labels), -1).any(axis=1))
    if len(bad):
        position = int(bad[0])
        row = position if examples.rows is None else int(examples.rows[position])
        raise DataError(
            f"label {labels[position]} is outside 0 … {classes - 1}",
            where=_at(where, f"row {row}"),
            mend="number the classes from 0: `numpy.unique(y, return_inverse=True)[1]`",
        )


def _field(kind: str, index: tuple[int, ...], fields: Sequence[str]) -> str:
    if len(index) == 1 and index[0] < len(fields):
        return f"{kind} {fields[index[0]]!r}"
    return f"{kind} {index[0] if len(index) == 1 else index}" if index else f"the {kind}"


def _at(*places: str) -> str:
    return ", ".join(place for place in places if place)
