"""The node's own log: what it was asked, what it decided, what left. Each entry pins all entries before it.

A line is one JSON object `{seq, at, kind, facts, before, hash}`: `before` is the hash of the entry before (64 zeros for
the first), `hash` the SHA-256 of the canonical rest. Nobody can change, remove or exchange an entry without changing
every hash after it; who knows the head (`Checked.head`) can also tell that entries are missing at the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from comity.core.errors import ComityError
from comity.core.files import sync

START = "0" * 64
_TAIL = 1 << 16


class LogError(ComityError):
    """A log that cannot be written, or whose end is no entry of it."""


@dataclass(frozen=True)
class Entry:
    """One entry: its number from 0, when (seconds since 1970), what kind of thing, the facts, and its two hashes."""

    seq: int
    at: float
    kind: str
    facts: Mapping[str, Any]
    before: str
    hash: str


@dataclass(frozen=True)
class Checked:
    """The outcome of `verify`: entries that hold, the hash of the last of them, and the first line that does not.

    `line` counts from 1 and is None where all hold; `fault` says what is wrong with it.
    """

    entries: int
    head: str
    line: int | None = None
    fault: str = ""

    @property
    def sound(self) -> bool:
        return self.line is None

    def __str__(self) -> str:
        if self.sound:
            return f"{self.entries:,} entries hold; the last is {self.head}"
        return f"line {self.line}: {self.fault}; the {self.entries:,} entries before it hold"


class NodeLog:
    """Appends to a log. An entry is on the disk when `append` returns; several processes may append in turn.

    What a crash left of a last line is moved to a file beside the log (`node.log.torn-17`), and an entry `torn` says
    so.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self.path = path
        self._now = now

    def append(self, kind: str, facts: Mapping[str, Any]) -> Entry:
        """Write one entry. Raises `LogError` where the disk refuses it: then what was to be logged must not happen."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path) as file:
                last = self._mend(file)
                entry = _entry(last, self._now(), kind, facts)
                _write(file, entry)
            return entry
        except OSError as error:
            raise LogError(
                f"the log cannot be written: {error.strerror or error}",
                where=str(self.path),
                mend="free some space; the node does nothing that it cannot log",
            ) from error

    def _mend(self, file: IO[bytes]) -> Entry | None:
        """The last entry, after a torn line at the end has been set aside."""
        whole, torn = _end(file)
        last = _read_last(file, whole, self.path)
        if not torn:
            return last
        number = 0 if last is None else last.seq + 1
        aside = self.path.with_name(f"{self.path.name}.torn-{number}")
        with aside.open("ab") as copy:
            copy.write(torn)
            copy.flush()
            os.fsync(copy.fileno())
        file.truncate(whole)
        file.seek(whole)
        facts = {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest(), "file": aside.name}
        entry = _entry(last, self._now(), "torn", facts)
        _write(file, entry)
        return entry


def entries(path: Path) -> Iterator[Entry]:
    """The entries of a log in order, up to the first line that is none; whether they hold together is for `verify`."""
    for line in _lines(path):
        entry = _parse(line)
        if isinstance(entry, str):
            return
        yield entry


def verify(path: Path, head: str | None = None) -> Checked:
    """Check every line. With `head`, the hash of an entry known from before, that entry must be there as well.

    A log that does not exist has no entries, and holds.
    """
    before, count, seen = START, 0, head is None or head == START
    for number, line in enumerate(_lines(path), start=1):
        entry = _parse(line)
        fault = entry if isinstance(entry, str) else _fault(entry, before, count)
        if fault or isinstance(entry, str):
            return Checked(count, before, number, fault)
        before, count, seen = entry.hash, count + 1, seen or entry.hash == head
    if not seen:
        return Checked(count, before, count + 1, f"the entry {head} is missing: the log was cut or written anew")
    return Checked(count, before)


def _entry(last: Entry | None, at: float, kind: str, facts: Mapping[str, Any]) -> Entry:
    # Facts are compared as they will be read back: tuples as lists, keys as text.
    plain = json.loads(json.dumps(facts, allow_nan=False))
    before, seq = (START, 0) if last is None else (last.hash, last.seq + 1)
    return Entry(seq, at, kind, plain, before, _hash(seq, at, kind, plain, before))


def _hash(seq: int, at: float, kind: str, facts: Mapping[str, Any], before: str) -> str:
    return hashlib.sha256(
        _canonical({"seq": seq, "at": at, "kind": kind, "facts": facts, "before": before})
    ).hexdigest()


def _canonical(node: Mapping[str, Any]) -> bytes:
    return json.dumps(node, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _write(file: IO[bytes], entry: Entry) -> None:
    file.write(_canonical(vars(entry)) + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _parse(line: bytes) -> Entry | str:
    """The entry of a line, or what is wrong with it."""
    if not line.endswith(b"\n"):
        return "the line is not complete: a crash, or the end was cut off"
    try:
        node = json.loads(line)
        # One entry has one text, so that no two lines that read differently pass for the same.
        canonical = _canonical(node) + b"\n" == line
    except (ValueError, RecursionError):
        return "this is no JSON of the log"
    if not isinstance(node, dict) or set(node) != set(Entry.__dataclass_fields__):
        return "this is no entry"
    entry = Entry(**node)
    plain = isinstance(entry.seq, int) and isinstance(entry.kind, str) and isinstance(entry.facts, dict)
    if not plain or isinstance(entry.seq, bool) or not isinstance(entry.at, int | float):
        return "this is no entry"
    return entry if canonical else "the entry is not written as the node writes it"


def _fault(entry: Entry, before: str, seq: int) -> str:
    if entry.hash != _hash(entry.seq, entry.at, entry.kind, entry.facts, entry.before):
        return "the entry was changed: its hash does not fit it"
    if entry.seq != seq or entry.before != before:
        return f"entry {entry.seq} does not follow the one before: entries were removed, added or exchanged"
    return ""


def _lines(path: Path) -> Iterator[bytes]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        yield from file


def _end(file: IO[bytes]) -> tuple[int, bytes]:
    """Where the last complete line ends, and the bytes after it."""
    size = file.seek(0, os.SEEK_END)
    tail = b""
    start = size
    while start > 0 and b"\n" not in tail:
        start = max(0, start - _TAIL)
        file.seek(start)
        tail = file.read(size - start)
    cut = tail.rfind(b"\n") + 1
    return start + cut, tail[cut:]


def _read_last(file: IO[bytes], whole: int, path: Path) -> Entry | None:
    """The entry whose line ends at `whole`."""
    if whole == 0:
        return None
    start, text = whole, b""
    while start > 0 and b"\n" not in text[:-1]:
        start = max(0, start - _TAIL)
        file.seek(start)
        text = file.read(whole - start)
    entry = _parse(text[text[:-1].rfind(b"\n") + 1 :])
    file.seek(whole)
    if isinstance(entry, str):
        raise LogError(
            f"the last line is no entry of the log: {entry}",
            where=str(path),
            mend="find out with `comity node log verify` what happened, then move the log away; a new one begins",
        )
    return entry


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """The log, for this process alone; the lock goes with the file handle, whatever becomes of the process."""
    new = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+b") as file:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
            if new:
                sync(path.parent)
        yield file
