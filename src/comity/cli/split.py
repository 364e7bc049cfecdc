"""A data set as files: one CSV for each party, the common test set, and how it was made."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from comity.core.errors import DataError
from comity.data import Dataset, Examples, Parties

_TARGET = "target"


def write_parties(dataset: Dataset, parties: Parties, folder: Path) -> str:
    """Write `parties/NAME.csv` for every party and `test.csv` below `folder`.

    Features are flattened to one column each, as a model sees them; floats are written so that they are read back
    exactly. Returns the line of Python that reads the files. Raises `DataError` for targets of several columns, names
    that are no file names, and a folder that is not empty.
    """
    name = dataset.card.name
    if dataset.train.labels().ndim != 1:
        raise DataError("targets of several columns have no place in one", where=name, mend="use it by ct.data.load")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError("the folder is not empty", where=str(folder), mend="choose a new folder with --out")
    if unfit := [party for party in parties if party != Path(party).name or party.startswith(".")]:
        raise DataError(f"the party {unfit[0]!r} cannot be a file name", where=name, mend="use another partition")
    (folder / "parties").mkdir(parents=True)
    columns = _columns(dataset)
    for party in parties:
        _write(folder / "parties" / f"{party}.csv", columns, parties[party].train)
    arguments = [f'"{folder / "parties"}"', f'target="{_TARGET}"']
    if dataset.classes is not None:
        arguments.append(f"classes={dataset.classes}")
    if dataset.test is not None:
        _write(folder / "test.csv", columns, dataset.test)
        arguments.append(f'test="{folder / "test.csv"}"')
    return f"ct.data.from_folder({', '.join(arguments)})"


def _columns(dataset: Dataset) -> Sequence[str]:
    size = dataset.train.take(slice(0, 1)).features().size
    names = dataset.features if len(dataset.features) == size else [f"x{index}" for index in range(size)]
    return [*names, _TARGET]


def _write(path: Path, columns: Sequence[str], examples: Examples) -> None:
    features, labels = examples.features().reshape(len(examples), -1), examples.labels()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row, label in zip(features, labels, strict=True):
            writer.writerow([*map(str, row), str(label)])
