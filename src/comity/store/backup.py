"""A backup: one folder with the journal as an SQLite file and the parts of all blobs, taken while the server works."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.engine import URL

from comity.core.errors import CheckpointError
from comity.core.files import replace_file
from comity.store.blobs import Blobs
from comity.store.errors import Absent, StoreError
from comity.store.journal import Journal
from comity.store.tables import AUDIT, AUDIT_HEAD, MEMBERS, METADATA, NONCES, RUNS

_JOURNAL = "journal.db"
_PARTS = "parts"
_FACTS = "backup.json"
"""Written last: a folder without it is no whole backup."""

_ROWS = 500
"""Rows that are in memory at a time."""


@dataclass(frozen=True)
class Backup:
    """What a backup holds: rows of the journal, parts of blobs, and the bytes of these."""

    rows: int
    parts: int
    size: int


def backup(journal: Journal, blobs: Blobs, into: Path) -> Backup:
    """Copy all that a server knows into a new folder, as it was at one moment.

    The server may go on: the journal is read in one snapshot, and the parts that this snapshot speaks of stay until
    they are copied (`Blobs.hold`). The database may be either kind, the blobs in a folder or a bucket. Not copied are
    nonces (a server refuses what was signed before it started), keys and configuration. Raises `StoreError`.
    """
    if into.exists() and any(into.iterdir()):
        raise StoreError("this folder is not empty", where=str(into), mend="name one that is not there yet")
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    with blobs.hold():
        rows = _copy_journal(journal, into / _JOURNAL)
        count, size = _copy_parts(blobs, Blobs.open(into / _PARTS))
    made = Backup(rows, count, size)
    try:
        replace_file(into / _FACTS, json.dumps(asdict(made)).encode())
    except CheckpointError as error:
        raise StoreError(error.what, where=error.where, mend=error.mend) from error
    return made


def restore(source: Path, journal: Journal, blobs: Blobs) -> Backup:
    """Put a backup into an empty journal, of either kind, and into `blobs`.

    Every part is verified, and the journal comes last and whole: a restore that was cut short is simply repeated.
    Raises `StoreError`, also where the backup is not whole or the journal is not empty.
    """
    facts = _facts(source)
    with journal.database.read() as connection:
        for table in (RUNS, MEMBERS, AUDIT):
            if connection.scalar(select(func.count()).select_from(table)):
                mend = "restore into a new database"
                raise StoreError(f"there are {table.name} in this journal", where=journal.database.where, mend=mend)
    count, size = _copy_parts(Blobs.open(source / _PARTS), blobs)
    if (count, size) != (facts.parts, facts.size):
        raise StoreError(f"{facts.parts} parts were saved, {count} are there", where=str(source))
    with TemporaryDirectory() as scratch:
        shutil.copyfile(source / _JOURNAL, Path(scratch) / _JOURNAL)
        try:
            _take(Path(scratch) / _JOURNAL, journal, facts.rows, str(source))
        except (ValueError, TypeError, RecursionError) as error:  # what is in a damaged file is no text, or no JSON
            mend = "restore another backup"
            raise StoreError(f"the backup's journal is damaged: {error}", where=str(source), mend=mend) from error
    journal.check_audit()
    return facts


def _take(saved_at: Path, journal: Journal, count: int, where: str) -> None:
    """Copy a saved journal of so many rows, all or none."""
    saved = _opened(saved_at)
    try:
        with saved.database.snapshot() as old, journal.database.write() as new:
            rows = _copy_rows(old, new)
            if rows != count:
                raise StoreError(f"{count} rows were saved, {rows} are there", where=where)
    finally:
        saved.close()


def _facts(source: Path) -> Backup:
    try:
        return Backup(**json.loads((source / _FACTS).read_text()))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise StoreError("this is no whole backup", where=str(source), mend="take another one") from error


def _opened(path: Path) -> Journal:
    return Journal.open(URL.create("sqlite", database=str(path)).render_as_string())


def _copy_journal(journal: Journal, path: Path) -> int:
    copy = _opened(path)
    try:
        with journal.database.snapshot() as old, copy.database.write() as new:
            return _copy_rows(old, new)
    finally:
        copy.close()


def _copy_rows(old: Connection, new: Connection) -> int:
    rows = 0
    new.execute(delete(AUDIT_HEAD))
    for table in METADATA.sorted_tables:
        if table is not NONCES:
            found = old.execution_options(yield_per=_ROWS).execute(select(table)).mappings()
            for some in found.partitions():
                new.execute(insert(table), [dict(row) for row in some])
                rows += len(some)
    return rows


def _copy_parts(old: Blobs, new: Blobs) -> tuple[int, int]:
    count = size = 0
    for part in old.each():
        try:
            data = old.part(part.owner, part.digest)
        except Absent:
            continue  # Dropped before the hold began: the snapshot does not speak of it.
        new.put_part(part.owner, part.digest, data)
        count, size = count + 1, size + len(data)
    return count, size
