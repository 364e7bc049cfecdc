"""What `datasets.toml` says of each data set, and what is known of its file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

from comity.core import tables
from comity.core.checks import closest, fraction
from comity.core.errors import ConfigError, DataError
from comity.core.tables import Reader

SEALED = ".sealed"
Format: TypeAlias = Literal["csv", "parquet", "npz"]

_FORMATS: Mapping[str, Format] = {".csv": "csv", ".parquet": "parquet", ".npz": "npz"}
_MOST = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEAD = "# The data sets of this node. `comity node data` writes this file; it may be edited as well.\n"


@dataclass(frozen=True)
class Facts:
    """What a look at a file has found: rows (without a header), columns, the file's SHA-256, size and mtime in ns.

    The columns of an npz file are `x` and `y`, and its held-out rows are counted in.
    """

    path: str
    rows: int
    columns: tuple[str, ...]
    digest: str
    size: int
    mtime: int


@dataclass(frozen=True)
class Entry:
    """One data set: a table (`.csv`, `.parquet`) or arrays (`.npz`: x_train, y_train and, perhaps, x_heldout,
    y_heldout), plain or sealed (with `.sealed` after the name).

    Of a table, `target` is the column to predict and `features` those to learn from, in this order (all others in the
    order of the file where None); `labels` are the values of a text target in the order of their numbers; `encoder` is
    a file with the JSON of a `comity.data.Encoder` that the parties have agreed on. `heldout` is the share of the rows
    that are not trained on, drawn by `seed` and the name of the file. `key` names the key of a sealed file: `file:`,
    `env:` or `command:`.
    """

    name: str
    path: Path
    target: str = ""
    features: tuple[str, ...] | None = None
    labels: tuple[str, ...] = ()
    encoder: Path | None = None
    heldout: float = 0.2
    seed: int = 7
    key: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            mend = "use letters, digits, '.', '_' and '-', at most 64"
            raise ConfigError(f"{self.name!r} is no name of a data set", where="Entry.name", mend=mend)
        fraction(self, "heldout")
        where = f"data set {self.name}"
        if Path(self.plain_name).suffix not in _FORMATS:
            mend = f"give a file that ends in {', '.join(_FORMATS)}, and {SEALED} after it where it is sealed"
            raise ConfigError(f"{self.path.name!r} is of no known format", where=where, mend=mend)
        if self.sealed != (self.key is not None):
            what = "a sealed file without a key" if self.sealed else "a key for a file that is not sealed"
            raise ConfigError(what, where=where, mend="comity node data seal does both")
        if self.format == "npz" and (self.target or self.features or self.labels or self.encoder):
            mend = "leave out target, features, labels and encoder: x_train and y_train say it all"
            raise ConfigError("an npz file has no columns", where=where, mend=mend)
        if self.format != "npz" and not self.target:
            raise ConfigError("the target is missing", where=where, mend="name the column that is to be predicted")
        if self.features is not None and (not self.features or self.target in self.features):
            mend = "name the columns to learn from, the target not among them"
            raise ConfigError(f"features are {', '.join(self.features) or 'none'}", where=where, mend=mend)

    @property
    def sealed(self) -> bool:
        return self.path.name.endswith(SEALED)

    @property
    def plain_name(self) -> str:
        """The name of the file when it is not sealed."""
        return self.path.name.removesuffix(SEALED)

    @property
    def format(self) -> Format:
        return _FORMATS[Path(self.plain_name).suffix]

    def columns(self, facts: Facts) -> tuple[str, ...]:
        """The columns that are read, the target last."""
        if self.features is None:
            return facts.columns if self.format == "npz" else (*self._others(facts), self.target)
        return (*self.features, self.target)

    def check(self, facts: Facts) -> None:
        """Raise `DataError` unless the file has the columns that are named, each once."""
        if self.format == "npz":
            return
        for name in (self.target, *(self.features or ())):
            if name not in facts.columns:
                mend = f"{closest(name, facts.columns)} the file has: {', '.join(facts.columns)}".lstrip()
                raise DataError(f"no column {name!r}", where=str(self.path), mend=mend)
            if facts.columns.count(name) > 1:
                raise DataError(f"two columns {name!r}", where=str(self.path), mend="give each column its own name")

    def _others(self, facts: Facts) -> tuple[str, ...]:
        return tuple(name for name in facts.columns if name != self.target)


def read_entries(file: Path) -> tuple[Entry, ...]:
    """The data sets of a file, none where there is no file. Relative paths are from the file's folder."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return ()
    return _entries(content, file)


@lru_cache(maxsize=4)
def _entries(content: bytes, file: Path) -> tuple[Entry, ...]:
    """What `content` says: a node looks several times a round, and the file hardly ever changes."""
    document = tables.parse(content, str(file))
    given = document.get("dataset", [])
    if set(document) - {"dataset"} or not isinstance(given, list):
        raise ConfigError("there is more than tables of data sets", where=str(file), mend="write [[dataset]] tables")
    entries = tuple(_read(table, f"{file}, dataset[{i}]", file.parent) for i, table in enumerate(given, start=1))
    if len(entries) > _MOST:
        what = f"{len(entries)} data sets, of which a node can offer {_MOST}"
        raise ConfigError(what, where=str(file), mend="run another node for the others")
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two data sets named {name!r}", where=str(file), mend="rename or remove one of them")
    return entries


def written(entries: Iterable[Entry]) -> str:
    """The text of a file with these data sets; what is at its default is left out."""
    return _HEAD + "".join(_table(entry) for entry in entries)


def _table(entry: Entry) -> str:
    lines = ["", "[[dataset]]"]
    for field in fields(Entry):
        value = getattr(entry, field.name)
        if value != field.default:
            lines.append(f"{field.name} = {tables.written(value)}")
    return "\n".join(lines) + "\n"


def _read(table: Any, where: str, folder: Path) -> Entry:
    if not isinstance(table, dict):
        raise ConfigError("this is no table", where=where, mend="write [[dataset]], with two brackets")
    values = tables.read(table, _READERS, where)
    for key in ("name", "path"):
        if key not in table:
            raise ConfigError(f"{key} is missing", where=where, mend=f'add {key} = "…"')
    for key in ("path", "encoder"):
        if key in values:
            try:
                values[key] = folder / Path(values[key]).expanduser()
            except RuntimeError as error:
                mend = "write the whole path"
                raise ConfigError(
                    f"{values[key]}: there is no such home", where=f"{where}, {key}", mend=mend
                ) from error
    try:
        return Entry(**values)
    except ConfigError as error:
        raise ConfigError(error.what, where=f"{where}: {error.where}", mend=error.mend) from None


_READERS: Mapping[str, Reader] = {
    "name": tables.text,
    "path": tables.text,
    "target": tables.text,
    "features": tables.texts,
    "labels": tables.texts,
    "encoder": tables.text,
    "heldout": tables.number,
    "seed": tables.whole,
    "key": tables.text,
}
