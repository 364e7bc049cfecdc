"""Bring your own folder: one CSV or Parquet file for each party, read when the party is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from comity.core.errors import DataError, MissingDependency
from comity.core.seeds import Seed
from comity.data.checks import check_examples
from comity.data.columns import Names
from comity.data.dataset import as_seed
from comity.data.encode import Encoder, check_columns
from comity.data.examples import Examples, PartyData
from comity.data.lazy import Lazy
from comity.data.parties import hold_out

if TYPE_CHECKING:
    import pandas as pd

_SUFFIXES = (".csv", ".parquet")


def from_folder(
    path: str | Path,
    *,
    target: str,
    features: Sequence[str] | None = None,
    labels: Sequence[str] = (),
    classes: int | None = None,
    encoder: Encoder | None = None,
    heldout: float = 0.2,
    test: str | Path | None = None,
    seed: int | Seed = 7,
) -> Lazy:
    """Parties from a folder: each `.csv` or `.parquet` file is one, named like the file.

    Only the first file is looked at now (for the columns); each party's own file is read whenever its data are used,
    and nothing is kept. Features are numbers and are taken as they are, since no party sees another's values; an
    `encoder` agreed on beforehand (`Encoder.fit` on a public sample) may standardise numbers and encode categories.
    `labels` are the values of a text target, in the order of their numbers; without them integer targets are classes
    and others a regression. `test` is one more file, outside the folder, that no party trains on.

    Raises `DataError` now for a folder without files or a missing target; and when a party is used for columns that
    differ from the first file's, NaN or infinite features, unknown labels and an empty file.
    """
    root = Path(path)
    files = sorted(file for file in root.glob("*") if file.suffix in _SUFFIXES) if root.is_dir() else []
    if not files:
        raise DataError("no .csv or .parquet file", where=str(root), mend="put one file for each party there")
    first = read_table(files[0])
    check_columns(first, [target, *(features or [])], str(files[0]))
    if encoder is not None:
        columns: Sequence[str] = encoder.columns
    else:
        columns = features if features is not None else [name for name in first.columns if name != target]
    read = PartyFiles(
        root,
        {file.stem: file.name for file in reversed(files)},
        target,
        tuple(columns),
        tuple(labels),
        None if features is not None or encoder is not None else frozenset(first.columns),
        encoder,
        heldout,
        as_seed(seed),
    )
    names = Names([file.stem for file in files])
    count = len(labels) or classes
    common = None if test is None else read.examples(Path(test))
    if common is not None:
        check_examples(common, count, str(test), read.columns)
    return Lazy(len(files), read, common, classes=count, names=names)


@dataclass(frozen=True)
class PartyFiles:
    """Reads the file of a party; plain data, so that it travels to worker processes."""

    root: Path
    files: dict[str, str]
    target: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    schema: frozenset[str] | None
    encoder: Encoder | None
    heldout: float
    seed: Seed

    def __call__(self, party: str) -> PartyData:
        examples = self.examples(self.root / self.files[party])
        return hold_out(examples, self.seed.child("heldout", party=party), self.heldout)

    def examples(self, file: Path) -> Examples:
        """All rows of a file. Raises `DataError` naming the file, the row and the column that are unfit."""
        return self.encoded(read_table(file), file)

    def encoded(self, frame: pd.DataFrame, file: Path) -> Examples:
        """All rows of a table that was read from `file`, which messages name."""
        check_columns(frame, [self.target, *self.columns], str(file))
        unknown = set(frame.columns) - self.schema if self.schema is not None else set()
        if unknown:
            raise DataError(
                f"columns that the first file lacks: {', '.join(sorted(map(str, unknown)))}",
                where=str(file),
                mend="give all files the same columns, or choose some with `features`",
            )
        if len(frame) == 0:
            raise DataError("the file has no rows", where=str(file), mend="remove the file, or add rows")
        x = self._numbers(frame, file) if self.encoder is None else self.encoder.encode(frame, str(file))
        examples = Examples(x, self._target(frame, file))
        check_examples(examples, None, str(file), self.columns if self.encoder is None else self.encoder.features)
        return examples

    def _numbers(self, frame: pd.DataFrame, file: Path) -> np.ndarray:
        for name in self.columns:
            if frame[name].dtype.kind not in "buif":
                raise DataError(
                    f"column {name!r} holds {frame[name].dtype}, expected numbers",
                    where=str(file),
                    mend="choose numeric columns with `features`, or give an `encoder`",
                )
        return frame[list(self.columns)].to_numpy(dtype=np.float32, na_value=np.nan)

    def _target(self, frame: pd.DataFrame, file: Path) -> np.ndarray:
        column = frame[self.target]
        missing = np.flatnonzero(column.isna().to_numpy())
        if len(missing):
            raise DataError(
                f"the target {self.target!r} is missing", where=f"{file}, row {int(missing[0])}", mend="drop the row"
            )
        if self.labels:
            codes = column.astype(str).map({label: i for i, label in enumerate(self.labels)}).fillna(-1).astype(int)
            unknown = np.flatnonzero(codes.to_numpy() < 0)
            if len(unknown):
                row = int(unknown[0])
                raise DataError(
                    f"the target {self.target!r} is {column.iloc[row]!r}",
                    where=f"{file}, row {row}",
                    mend=f"use one of the labels: {', '.join(self.labels)}",
                )
            return codes.to_numpy(dtype=np.int64)
        if column.dtype.kind not in "buif":
            raise DataError(
                f"the target {self.target!r} holds {column.dtype}", where=str(file), mend="name its values in `labels`"
            )
        return column.to_numpy(dtype=np.float32 if column.dtype.kind == "f" else np.int64)


def read_table(file: Path, content: IO[bytes] | None = None) -> pd.DataFrame:
    """The table in a file, by its suffix; `content` is what the file holds, where that is not on the disk as it is."""
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependency.of("pandas", "frames", "reading tables") from error
    try:
        source = file if content is None else content
        return pd.read_csv(source) if file.suffix == ".csv" else pd.read_parquet(source)
    except ImportError as error:
        raise MissingDependency.of("pyarrow", "datasets", "reading Parquet files") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {error}", where=str(file), mend="give a CSV or Parquet file") from error
