"""Bring your own arrays, torch data sets and Hugging Face data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comity.core.arrays import to_numpy
from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data.card import Card
from comity.data.checks import check_examples
from comity.data.columns import PartyColumn
from comity.data.dataset import Dataset, as_seed, draw_test
from comity.data.examples import Affine, Column, Examples
from comity.data.frames import from_frame


def from_arrays(
    x: Any,
    y: Any,
    *,
    party: ArrayLike | None = None,
    test: tuple[Any, Any] | float | None = None,
    classes: int | None = None,
    affine: Affine | None = None,
    features: Sequence[str] = (),
    seed: int | Seed = 7,
    name: str = "arrays",
) -> Dataset:
    """A data set from features `x` `[N, ...]` and targets `y` `[N, ...]`: NumPy, torch or anything array-like.

    Integer, boolean or text targets are classes (text is numbered in sorted order), floating-point ones a regression.
    float64 is stored as float32. `classes` is the number of classes where not all occur. `party` `[N]` names the
    party of each row. `test` is a pair of arrays, or the share of the rows to set aside (stratified by party and
    label). uint8 features are taken for images and scaled to 0 … 1 unless an `affine` is given; other integers for
    token ids. Raises `DataError` for NaN or infinite features, labels out of range, rows without a party, and no
    rows.
    """
    column, target = _column(x), _column(y)
    if len(column) == 0:
        raise DataError("the data set is empty", where=name, mend="give at least one row")
    target, labels = _targets(target)
    if affine is None and column.dtype == np.uint8:
        affine = Affine(1 / 255)
    whole = Examples(column, target, affine=affine)
    outside = None
    if isinstance(test, tuple):
        outside = Examples(_column(test[0]), _numbered(_column(test[1]), labels, f"{name}, test"), affine=affine)
    if classes is None and target.dtype.kind in "bui" and target.ndim == 1:
        classes = _classes(target, outside, labels)
    check_examples(whole, classes, name, features)
    if outside is not None:
        check_examples(outside, classes, f"{name}, test", features)
    parties = None if party is None else PartyColumn.of(party, f"{name}, party")
    card = Card(
        name=name,
        title=f"{len(column):,} examples of your own",
        task="regression" if classes is None else "classification",
        features=column.shape[1:],
        examples=len(column) + (0 if outside is None else len(outside)),
        classes=classes,
        party=() if parties is None else ("party",),
        parties=() if parties is None else (len(parties.names),),
    )
    columns = {} if parties is None else {"party": parties}
    data = Dataset(card, whole, outside, columns, tuple(features), labels)
    return set_aside(data, test, as_seed(seed)) if isinstance(test, float) else data


def set_aside(data: Dataset, fraction: float, seed: Seed) -> Dataset:
    """Move the share `fraction` of the training rows to the test set, stratified by party and label."""
    if not 0 < fraction < 1:
        raise DataError(f"test is {fraction}", where=data.card.name, mend="give a share between 0 and 1")
    mask = draw_test(data.train.labels(), data.party, seed, fraction)
    train, test = np.flatnonzero(~mask), np.flatnonzero(mask)
    party = {name: column.take(train) for name, column in data.party.items()}
    return replace(data, train=data.train.take(train), test=data.train.take(test), party=party)


def from_torch(dataset: Any, *, party: ArrayLike | None = None, test: Any = None, seed: int | Seed = 7) -> Dataset:
    """A data set from any map-style torch `Dataset` of `(features, target)` pairs, transforms included.

    The examples are read once into memory; the two tensors of a `TensorDataset` are shared instead. `test` is another
    such data set, or a share.
    """
    return from_arrays(
        *_pairs(dataset, "torch dataset"),
        party=party,
        test=test if test is None or isinstance(test, float) else _pairs(test, "torch dataset, test"),
        seed=seed,
        name="torch dataset",
    )


def from_huggingface(
    dataset: Any,
    *,
    target: str,
    features: str | Sequence[str] | None = None,
    party: str | None = None,
    test: Any = None,
    seed: int | Seed = 7,
) -> Dataset:
    """A data set from a Hugging Face `datasets.Dataset` (one split).

    `features` is one column of arrays or images (which become `[N, C, H, W]`), or several columns of a table, which are
    encoded as `from_frame` does; all columns but the target and the party where None. `test` is another split, or a
    share.
    """
    check_huggingface(dataset, [target, *([party] if party else [])])
    if not isinstance(features, str):
        if test is not None and not isinstance(test, float):
            raise DataError(
                "a second split of a table would be encoded apart from the first",
                where="from_huggingface, test",
                mend="give a share, such as test=0.2, or join the splits first",
            )
        frame = dataset.to_pandas()
        data = from_frame(frame, target=target, party=party, features=features, test=test, seed=seed)
        return _named(data, dataset, target)
    check_huggingface(dataset, [features])
    pair = None
    if test is not None and not isinstance(test, float):
        check_huggingface(test, [features, target])
        pair = (_stacked(test, features), _stacked(test, target))
    data = from_arrays(
        _stacked(dataset, features),
        _stacked(dataset, target),
        party=None if party is None else np.asarray(list(dataset[party]), dtype=object),
        test=pair if pair is not None else test,
        classes=len(_class_names(dataset, target)) or None,
        seed=seed,
        name="huggingface dataset",
    )
    return _named(data, dataset, target)


def check_huggingface(dataset: Any, columns: Sequence[str]) -> None:
    """Raise `DataError` unless `dataset` is one split that has these columns."""
    names = getattr(dataset, "column_names", None)
    if isinstance(names, Mapping):
        raise DataError(
            "a DatasetDict holds several splits", where="from_huggingface", mend=f"give one of: {', '.join(names)}"
        )
    absent = [name for name in columns if name not in (names or [])]
    if absent:
        raise DataError(
            f"no column {', '.join(map(repr, absent))}",
            where="from_huggingface",
            mend=f"the data set has: {', '.join(names or ['nothing'])}",
        )


def _stacked(dataset: Any, column: str) -> Column:
    dtype = _stored_dtype(dataset, column)
    rows = dataset.with_format("numpy", **({} if dtype is None else {"dtype": dtype}))[column][:]
    try:
        stacked = np.stack([np.asarray(row) for row in rows])
    except ValueError:
        raise DataError(
            "the rows have different shapes", where=f"column {column!r}", mend="bring them to one shape with `map`"
        ) from None
    if type(getattr(dataset, "features", {}).get(column)).__name__ != "Image":
        return stacked
    return stacked[:, None] if stacked.ndim == 3 else np.moveaxis(stacked, -1, 1)


def _stored_dtype(dataset: Any, column: str) -> str | None:
    """The dtype of a column of numbers; without it, `datasets` turns uint8 pixels into int64."""
    feature: Any = getattr(dataset, "features", {}).get(column)
    while hasattr(feature, "feature"):
        feature = feature.feature
    dtype = getattr(feature, "dtype", None)
    return dtype if isinstance(dtype, str) and dtype.startswith(("int", "uint", "float")) else None


def _class_names(dataset: Any, target: str) -> tuple[str, ...]:
    feature = getattr(dataset, "features", {}).get(target)
    return tuple(getattr(feature, "names", None) or ())


def _named(data: Dataset, dataset: Any, target: str) -> Dataset:
    names = data.labels or _class_names(dataset, target)
    return replace(data, labels=names)


def _pairs(dataset: Any, where: str) -> tuple[Column, Column]:
    tensors = getattr(dataset, "tensors", None)
    if tensors is not None and len(tensors) == 2:
        return to_numpy(tensors[0]), to_numpy(tensors[1])
    if not hasattr(dataset, "__len__") or len(dataset) == 0:
        raise DataError("no examples", where=where, mend="give a map-style data set with at least one example")
    x: Column | None = None
    y: Column | None = None
    for index in range(len(dataset)):
        item = dataset[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(
                "an item is not a pair", where=f"{where}, item {index}", mend="return (features, target) from it"
            )
        features, target = (np.asarray(to_numpy(part)) for part in item)
        if x is None or y is None:
            x = np.empty((len(dataset), *features.shape), features.dtype)
            y = np.empty((len(dataset), *target.shape), target.dtype)
        if features.shape != x.shape[1:]:
            raise DataError(
                f"features of shape {features.shape}, before {x.shape[1:]}",
                where=f"{where}, item {index}",
                mend="bring all items to one shape with a transform",
            )
        x[index], y[index] = features, target
    assert x is not None
    assert y is not None
    return x, y


def _column(values: Any) -> Column:
    """The values as an array; float64 as float32, which models compute in."""
    column = np.asarray(to_numpy(values))
    return column.astype(np.float32) if column.dtype == np.float64 else column


def _targets(y: Column) -> tuple[Column, tuple[str, ...]]:
    """Targets as int64 classes or as floats, and the names of the classes where they were text."""
    if y.dtype.kind in "OUST":
        missing = [row for row, value in enumerate(y.tolist()) if value is None or value != value]
        if missing:
            raise DataError("the target is missing", where=f"row {missing[0]}", mend="drop rows without a target")
        names, codes = np.unique(y.astype(str), return_inverse=True)
        return codes.reshape(y.shape).astype(np.int64), tuple(str(name) for name in names)
    if y.dtype.kind in "bui":
        return y.astype(np.int64, copy=False), ()
    return y, ()


def _numbered(y: Column, labels: tuple[str, ...], where: str) -> Column:
    """Targets of a test set, numbered like those of the training set."""
    if not labels:
        return _targets(y)[0]
    positions = {label: position for position, label in enumerate(labels)}
    codes: NDArray[np.int64] = np.array([positions.get(str(value), -1) for value in y.tolist()], dtype=np.int64)
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise DataError(
            f"label {str(y[row])!r} is not in the training data", where=f"{where}, row {row}", mend="drop it"
        )
    return codes


def _classes(y: Column, test: Examples | None, labels: tuple[str, ...]) -> int:
    top = int(y.max()) if test is None or not len(test) else max(int(y.max()), int(test.y.max()))
    return len(labels) or max(top, 0) + 1
