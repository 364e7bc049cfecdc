"""The data sets of a node: which files they are, what of them is read, and what is known of them without reading."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from comity.core.checks import closest
from comity.core.errors import DataError
from comity.core.files import replace_file
from comity.node.entries import Entry, Facts, read_entries, written

if TYPE_CHECKING:
    from comity.node.seal_key import SealKey

_INSPECTION = 600.0


class DataRegistry:
    """The data sets in `<home>/datasets.toml`, which an owner may also edit; it is read afresh at every use.

    What was found out about a file is kept in `<home>/datasets.json` for as long as the file stays as it is.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.file = home / "datasets.toml"
        self._facts_file = home / "datasets.json"

    def entries(self) -> tuple[Entry, ...]:
        """All data sets, as registered. Raises `ConfigError` that names the table and the key which is malformed."""
        return read_entries(self.file)

    def entry(self, name: str) -> Entry:
        """Raises `DataError` for a name that is not registered."""
        known = {entry.name: entry for entry in self.entries()}
        if name not in known:
            listed = ", ".join(known) or "none; comity node data add NAME PATH"
            mend = f"{closest(name, known)} there are: {listed}".lstrip()
            raise DataError(f"no data set {name!r}", where=str(self.file), mend=mend)
        return known[name]

    def add(self, entry: Entry) -> Facts:
        """Register a data set once its file has been looked at; its path becomes absolute.

        Raises `DataError` for a name that is taken, a file that cannot be read, and columns that it does not have.
        """
        entry = replace(entry, path=entry.path.expanduser().resolve())
        others = self.entries()
        if any(other.name == entry.name for other in others):
            mend = f"choose another name, or: comity node data remove {entry.name}"
            raise DataError(f"there is a data set {entry.name!r} already", where=str(self.file), mend=mend)
        facts = self._look(entry)
        self._write([*others, entry])
        self._keep(entry.name, facts)
        return facts

    def remove(self, name: str) -> Entry:
        """Forget a data set; its file stays where it is."""
        gone = self.entry(name)
        self._write(entry for entry in self.entries() if entry.name != name)
        self._keep(name, None)
        return gone

    def describe(self, name: str) -> Facts:
        """What is known of a data set; its file is read only where it has changed since it was last looked at.

        Raises `DataError` where it cannot be read or lacks columns that the registry names.
        """
        entry = self.entry(name)
        known = self._known().get(name)
        size, mtime = _stamp(entry.path)
        if known is not None and (known.path, known.size, known.mtime) == (str(entry.path), size, mtime):
            entry.check(known)
            return known
        facts = self._look(entry)
        self._keep(name, facts)
        return facts

    def seal(self, name: str, key: str) -> Entry:
        """Seal a data set's file with the key that `key` names (see `SealKey.of`), then delete the plain one.

        Whether the disk still holds what was deleted is for the owner to see to.
        """
        from comity.node.sealing import agrees, seal

        entry = self.entry(name)
        if entry.sealed:
            plain = entry.path.with_name(entry.plain_name)
            # A crash may have come between the registry's change and the end of the plain file.
            if plain.exists() and agrees(plain, entry.path, _key(str(entry.key), entry), name):
                plain.unlink()
                return entry
            raise DataError(f"{name!r} is sealed already", where=str(entry.path), mend="nothing is to be done")
        facts = self.describe(name)
        sealed = replace(entry, path=seal(entry.path, _key(key, entry), name), key=key)
        self._exchange(entry, sealed, facts)
        return sealed

    def unseal(self, name: str) -> Entry:
        """Put the plain file back where it was, readable by its owner alone, then delete the sealed one."""
        from comity.node.sealing import CHUNK, open_sealed

        entry = self.entry(name)
        if not entry.sealed or entry.key is None:
            raise DataError(f"{name!r} is not sealed", where=str(entry.path), mend="nothing is to be done")
        facts = self.describe(name)
        plain = replace(entry, path=entry.path.with_name(entry.plain_name), key=None)

        def write(draft: Path) -> None:
            with open_sealed(entry.path, _key(str(entry.key), entry), name) as opened, draft.open("wb") as file:
                while piece := opened.read(CHUNK):
                    file.write(piece)

        replace_file(plain.path, write, mode=0o600)
        self._exchange(entry, plain, facts)
        return plain

    def key(self, name: str) -> SealKey | None:
        """The key of a sealed data set, None for a plain one. Raises `ConfigError` where it cannot be had."""
        entry = self.entry(name)
        return None if entry.key is None else _key(entry.key, entry)

    def _exchange(self, old: Entry, new: Entry, facts: Facts) -> None:
        self._write(new if entry.name == new.name else entry for entry in self.entries())
        size, mtime = _stamp(new.path)
        found = replace(facts, path=str(new.path), size=size, mtime=mtime, digest=_digest(new.path))
        self._keep(new.name, found)
        old.path.unlink()

    def _write(self, entries: Iterable[Entry]) -> None:
        replace_file(self.file, written(entries).encode(), mode=0o600)

    def _look(self, entry: Entry) -> Facts:
        size, mtime = _stamp(entry.path)
        digest = _digest(entry.path)
        if entry.format == "csv" and not entry.sealed:
            with entry.path.open(encoding="utf-8-sig", newline="") as file:
                rows, columns = count_csv(file, str(entry.path))
        else:
            rows, columns = _inspect(entry)
        if _stamp(entry.path) != (size, mtime):
            raise DataError("the file changed while it was read", where=str(entry.path), mend="try again")
        facts = Facts(str(entry.path), rows, columns, digest, size, mtime)
        entry.check(facts)
        return facts

    def _known(self) -> dict[str, Facts]:
        """What is kept of earlier looks; a file that does not fit is as good as none, for it can be made again."""
        try:
            kept = json.loads(self._facts_file.read_bytes())
            return {name: Facts(**{**node, "columns": tuple(node["columns"])}) for name, node in kept.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def _keep(self, name: str, facts: Facts | None) -> None:
        known = {other: kept for other, kept in self._known().items() if other != name}
        if facts is not None:
            known[name] = facts
        text = json.dumps({other: asdict(kept) for other, kept in known.items()}, indent=1)
        replace_file(self._facts_file, text.encode(), mode=0o600)


def count_csv(file: Iterable[str], where: str) -> tuple[int, tuple[str, ...]]:
    """Rows and columns of a CSV text with a header; empty lines are no rows. Raises `DataError` where it is none."""
    try:
        lines = (line for line in csv.reader(file) if line)
        header = next(lines, None)
        rows = sum(1 for _ in lines)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"this is no CSV file in UTF-8: {error}", where=where, mend="export it anew") from None
    if header is None:
        raise DataError("the file is empty", where=where, mend="give a first line that names the columns")
    return rows, tuple(header)


def _inspect(entry: Entry) -> tuple[int, tuple[str, ...]]:
    """Rows and columns of a file that takes libraries or a key to read: another process does it, and is gone again."""
    secret = "" if entry.key is None else _key(entry.key, entry).secret.hex()
    asked = json.dumps({"path": str(entry.path), "format": entry.format, "name": entry.name, "key": secret})
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "comity.node.inspect"],
            input=asked,
            capture_output=True,
            text=True,
            timeout=_INSPECTION,
            check=False,
        )
        answer = json.loads(ended.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        what = f"the file could not be looked at ({type(error).__name__})"
        raise DataError(what, where=str(entry.path), mend="try to open it with pandas or NumPy") from None
    if "fault" in answer:
        raise DataError(answer["fault"], where=str(entry.path), mend=answer["mend"])
    return int(answer["rows"]), tuple(answer["columns"])


def _key(source: str, entry: Entry) -> SealKey:
    from comity.node.seal_key import SealKey

    return SealKey.of(source, apart_from=entry.path.parent)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise DataError(what, where=str(path), mend="put the file back, or register it anew") from None
    return found.st_size, found.st_mtime_ns


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise DataError(what, where=str(path), mend="let the node read it") from None
