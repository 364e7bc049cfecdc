"""A backup holds one moment, taken while the server goes on; restoring it gives that moment back."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from comity.store.backup import Backup, backup, restore
from comity.store.blobs import Blobs
from comity.store.errors import StoreError
from comity.store.journal import Journal
from comity.wire.messages import Blob, Invite
from support import postgresql
from support.journals import RUN, a_member, a_record, begun


@pytest.fixture
def target(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[Journal]:
    """An empty journal of the other kind: a backup moves a server from one database to the other, too."""
    if database.startswith("sqlite"):
        server = request.getfixturevalue("database_server")
        name = f"t{uuid.uuid4().hex}"
        journal = Journal.open(postgresql.create(server, name))
        yield journal
        journal.close()
        postgresql.drop(server, name)
    else:
        journal = Journal.open(f"sqlite:///{tmp_path}/restored.db")
        yield journal
        journal.close()


def filled(journal: Journal, blobs: Blobs) -> Blob:
    begun(journal, detail="ä\0")
    journal.append(RUN, 1, [a_record(seq, body={"x": [0.1, None, "\0"]}) for seq in range(2, 1300)])
    journal.add_member(a_member("north", tags=("eu",), seen=0.1))
    journal.invite("5e" * 32, Invite(name="south"), expires=100.0)
    journal.note(1.0, "ada", "invited", "south")
    return blobs.put(RUN, [b"state of the model"])


def everything(journal: Journal) -> list[object]:
    return [journal.runs(), journal.records(RUN), journal.members(), journal.audit()]


def test_what_was_saved_is_restored(journal: Journal, blobs: Blobs, target: Journal, tmp_path: Path) -> None:
    blob = filled(journal, blobs)
    made = backup(journal, blobs, tmp_path / "saved")
    assert (made.parts, made.size) == (1, blob.size)
    elsewhere = Blobs.open(tmp_path / "elsewhere")
    assert restore(tmp_path / "saved", target, elsewhere) == made
    assert everything(target) == everything(journal)
    assert set(elsewhere.each()) == set(blobs.each())
    assert target.check_audit().rows == 1
    assert target.append(RUN, 1299, [a_record(1300)]), "the run goes on"
    assert target.enrol("5e" * 32, 50.0, a_member("south").signing_key, "A" * 43, "south", 10.0) is not None
    target.note(2.0, "ada", "restored", None)
    assert target.check_audit().rows == 2


def test_a_backup_taken_while_the_server_works_is_of_one_moment(journal: Journal, blobs: Blobs, tmp_path: Path) -> None:
    begun(journal)
    done = threading.Event()

    def work() -> None:
        """Rounds without end: a new state, its record, and the state before it dropped."""
        last: Blob | None = None
        seq = 1
        while not done.is_set():
            state = blobs.put(RUN, [os.urandom(2000)])
            seq += 1
            assert journal.append(RUN, seq - 1, [a_record(seq, kind="aggregated", body=state.model_dump(mode="json"))])
            journal.note(float(seq), "server", "aggregated", seq)
            if last is not None:
                blobs.drop(RUN, last.parts)
            last = state

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            for number in range(3):
                while (found := journal.run(RUN)) is not None and found.version < 3 * (number + 1):
                    pass
                backup(journal, blobs, tmp_path / f"saved{number}")
        finally:
            done.set()
        working.result()
    for number in range(3):
        restored = Journal.open(f"sqlite:///{tmp_path}/restored{number}.db")
        parts = Blobs.open(tmp_path / f"restored{number}")
        restore(tmp_path / f"saved{number}", restored, parts)
        records, row, newest = restored.records(RUN), restored.run(RUN), restored.last(RUN, "aggregated")
        assert row is not None
        assert newest is not None
        assert [record.seq for record in records] == list(range(1, row.version + 1))
        assert restored.check_audit().rows >= row.version - 2
        assert isinstance(newest.body, dict)
        state = Blob.model_validate_json(json.dumps(newest.body))
        assert hashlib.sha256(parts.read(RUN, state, 0, state.size)).hexdigest() == state.digest
        restored.close()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A backup of a small server."""
    journal, blobs = Journal.open(f"sqlite:///{tmp_path}/small.db"), Blobs.open(tmp_path / "small")
    filled(journal, blobs)
    backup(journal, blobs, tmp_path / "saved")
    journal.close()
    return tmp_path / "saved"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(f"sqlite:///{tmp_path}/empty.db")
    yield journal
    journal.close()


def test_a_backup_needs_a_folder_of_its_own(saved: Path, empty: Journal, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not empty"):
        backup(empty, Blobs.open(tmp_path / "blobs"), saved)


def test_only_an_empty_journal_takes_a_backup(saved: Path, empty: Journal, tmp_path: Path) -> None:
    empty.add_member(a_member("east"))
    with pytest.raises(StoreError, match="members"):
        restore(saved, empty, Blobs.open(tmp_path / "blobs"))
    assert (empty.runs(), empty.members()) == ([], [a_member("east")])


def test_a_backup_that_was_cut_short_is_none(saved: Path, empty: Journal, tmp_path: Path) -> None:
    (saved / "backup.json").unlink()
    with pytest.raises(StoreError, match="no whole backup"):
        restore(saved, empty, Blobs.open(tmp_path / "blobs"))


@pytest.mark.parametrize("damage", [b"", b"state of the mode1"], ids=["cut", "changed"])
def test_a_damaged_part_shows_and_the_journal_stays_empty(
    saved: Path, empty: Journal, tmp_path: Path, damage: bytes
) -> None:
    (part,) = (saved / "parts" / RUN).iterdir()
    whole = part.read_bytes()
    part.write_bytes(damage)
    with pytest.raises(StoreError):
        restore(saved, empty, Blobs.open(tmp_path / "blobs"))
    assert empty.runs() == []
    part.write_bytes(whole)
    assert restore(saved, empty, Blobs.open(tmp_path / "blobs")).parts == 1, "mended, it restores"


def test_missing_parts_and_rows_show(saved: Path, empty: Journal, tmp_path: Path) -> None:
    facts = (saved / "backup.json").read_text()
    for wrong in ('"parts": 2', '"rows": 7'):
        name = wrong.partition(":")[0]
        start = facts.index(name)
        stop = min(position for mark in ",}" if (position := facts.find(mark, start)) > 0)
        (saved / "backup.json").write_text(facts[:start] + wrong + facts[stop:])
        with pytest.raises(StoreError, match="were saved"):
            restore(saved, empty, Blobs.open(tmp_path / "blobs"))
        assert empty.runs() == []


def test_an_empty_server_can_be_saved(empty: Journal, tmp_path: Path) -> None:
    made = backup(empty, Blobs.open(tmp_path / "none"), tmp_path / "saved")
    assert made == Backup(rows=1, parts=0, size=0), "the one row is the beginning of the audit"
