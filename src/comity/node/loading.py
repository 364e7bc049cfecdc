"""Loads a registered data set for training; runs in the task's process alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from zipfile import BadZipFile

import numpy as np

from comity.core import manifest
from comity.core.errors import ConfigError, DataError
from comity.core.seeds import Seed
from comity.data.arrays import from_arrays
from comity.data.checks import check_party
from comity.data.encode import Encoder
from comity.data.examples import Column, PartyData
from comity.data.folder import PartyFiles, read_table
from comity.data.parties import hold_out
from comity.node.entries import Entry
from comity.node.seal_key import FileKey, SealKey

_ARRAYS = frozenset({"x_train", "y_train", "x_heldout", "y_heldout"})


def load(entry: Entry, key: SealKey | FileKey | None = None) -> PartyData:
    """The examples of a data set; `key` opens a sealed one, which is on no disk in the plain.

    A table is read as `comity.data.from_folder` reads the file of one party of a folder, held-out rows and all, so that
    a file of the same name gives the same examples here and there. Raises `DataError` that names the row and the
    column.
    """
    where = f"data set {entry.name}"
    with _opened(entry, key) as file:
        data = _arrays(entry, file, where) if entry.format == "npz" else _table(entry, file)
    check_party(data, len(entry.labels) or None, where)
    return data


def read_npz(file: IO[bytes], where: str) -> dict[str, Column]:
    """The arrays of an npz file: numbers only, x and y of equal length. Raises `DataError` where it is another."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, BadZipFile, EOFError, AttributeError) as error:
        raise DataError(f"this is no npz file of plain arrays: {error}", where=where, mend="numpy.savez it") from None
    names = frozenset(arrays)
    if not {"x_train", "y_train"} <= names <= _ARRAYS or ("x_heldout" in names) != ("y_heldout" in names):
        mend = "numpy.savez(path, x_train=…, y_train=…), and x_heldout=…, y_heldout=… if you like"
        raise DataError(f"the arrays are {', '.join(sorted(names)) or 'none'}", where=where, mend=mend)
    for name, array in arrays.items():
        if array.dtype.kind not in "buif" or array.ndim == 0:
            raise DataError(f"{name} holds {array.dtype}", where=where, mend="give numbers, one row for each example")
    for part in ("train", "heldout"):
        if f"x_{part}" in arrays and len(arrays[f"x_{part}"]) != len(arrays[f"y_{part}"]):
            mend = "give one label for each row"
            raise DataError(f"x_{part} and y_{part} differ in length", where=where, mend=mend)
    return arrays


def _arrays(entry: Entry, file: IO[bytes], where: str) -> PartyData:
    arrays = read_npz(file, where)
    outside = (arrays["x_heldout"], arrays["y_heldout"]) if "x_heldout" in arrays else None
    data = from_arrays(arrays["x_train"], arrays["y_train"], test=outside, name=where)
    if data.test is not None:
        return PartyData(data.train, data.test)
    return hold_out(data.train, _seed(entry), entry.heldout)


def _table(entry: Entry, file: IO[bytes]) -> PartyData:
    plain = entry.path.with_name(entry.plain_name)
    frame = read_table(plain, file)
    chosen = entry.features if entry.features is not None else [name for name in frame.columns if name != entry.target]
    encoder = None if entry.encoder is None else _encoder(entry.encoder)
    if encoder is not None and entry.features is not None and set(encoder.columns) != set(entry.features):
        what = f"the encoder reads {', '.join(encoder.columns)}; registered are {', '.join(entry.features)}"
        raise ConfigError(what, where=f"data set {entry.name}", mend="register the columns that the encoder reads")
    party = PartyFiles(
        root=plain.parent,
        files={},
        target=entry.target,
        columns=tuple(chosen) if encoder is None else encoder.columns,
        labels=entry.labels,
        schema=None,
        encoder=encoder,
        heldout=entry.heldout,
        seed=Seed.of(entry.seed),
    )
    return hold_out(party.encoded(frame, plain), _seed(entry), entry.heldout)


def _seed(entry: Entry) -> Seed:
    return Seed.of(entry.seed).child("heldout", party=Path(entry.plain_name).stem)


def _encoder(path: Path) -> Encoder:
    try:
        found = manifest.decode(manifest.parse(path.read_text("utf-8")), where="encoder")
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise ConfigError(what, where=str(path), mend="put the encoder there that was agreed on") from None
    if not isinstance(found, Encoder):
        raise ConfigError("this is no encoder", where=str(path), mend="write it with comity.core.manifest")
    return found


@contextlib.contextmanager
def _opened(entry: Entry, key: SealKey | FileKey | None) -> Iterator[IO[bytes]]:
    if entry.sealed:
        from comity.node.sealing import open_sealed

        if key is None:
            raise ConfigError("the data set is sealed", where=f"data set {entry.name}", mend="give its key")
        with open_sealed(entry.path, key, entry.name) as sealed:
            yield sealed
        return
    try:
        file = entry.path.open("rb")
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise DataError(what, where=str(entry.path), mend="put the file back") from None
    with file:
        yield file
