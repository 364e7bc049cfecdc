"""Runs and their records: what the journal has taken is there, in order, and exactly once."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.store.errors import StoreError
from comity.store.journal import Journal
from support.journals import RUN, a_record, a_run, begun

OTHER = "00000000000000bb"


def test_a_run_is_read_back_as_it_was_begun(journal: Journal) -> None:
    row = a_run(source='{"files": {}}', source_digest="ef" * 32, detail="Umlaute äöü, NUL \0, and a line\nmore")
    journal.begin(row, [a_record(1), a_record(2)])
    assert journal.run(RUN) == replace(row, version=2)
    assert journal.records(RUN) == [a_record(1), a_record(2)]
    assert journal.run(OTHER) is None
    assert journal.records(OTHER) == []


def test_a_run_begins_once(journal: Journal) -> None:
    row = begun(journal)
    with pytest.raises(StoreError, match="already"):
        journal.begin(a_run(job="12" * 32), [a_record(1)])
    assert journal.run(RUN) == replace(row, version=1)


def test_runs_are_listed_newest_first_by_submitter_and_by_state(journal: Journal) -> None:
    begun(journal, "0" * 16, created=1.0)
    begun(journal, "1" * 16, created=3.0, submitter="sam")
    begun(journal, "2" * 16, created=2.0, state="failed")
    assert [row.id[0] for row in journal.runs()] == ["1", "2", "0"]
    assert [row.id[0] for row in journal.runs("rae")] == ["2", "0"]
    assert [row.id[0] for row in journal.runs(state="running")] == ["1", "0"]
    assert journal.runs("nobody") == []


def test_append_adds_records_and_changes_the_state_in_one_step(journal: Journal) -> None:
    row = begun(journal)
    assert journal.append(RUN, 1, [a_record(2), a_record(3)])
    assert journal.run(RUN) == replace(row, version=3)
    assert journal.append(RUN, 3, [a_record(4)], ("completed", "all rounds"))
    assert journal.run(RUN) == replace(row, version=4, state="completed", detail="all rounds")
    assert [record.seq for record in journal.records(RUN)] == [1, 2, 3, 4]
    assert [record.seq for record in journal.records(RUN, after=2)] == [3, 4]


def test_who_comes_second_appends_nothing(journal: Journal) -> None:
    row = begun(journal)
    assert journal.append(RUN, 1, [a_record(2, body="first")])
    assert not journal.append(RUN, 1, [a_record(2, body="second"), a_record(3)], ("failed", "no"))
    assert [record.body for record in journal.records(RUN, 1)] == ["first"]
    assert journal.run(RUN) == replace(row, version=2)


def test_runs_do_not_get_in_each_others_way(journal: Journal) -> None:
    begun(journal)
    begun(journal, OTHER)
    assert journal.append(RUN, 1, [a_record(2)])
    assert journal.append(OTHER, 1, [a_record(2, OTHER)])
    assert [record.run for record in journal.records(OTHER)] == [OTHER, OTHER]


@pytest.mark.parametrize(
    ("run", "after", "records"),
    [
        (RUN, 2, [a_record(3)]),
        (RUN, 1, [a_record(3)]),
        (RUN, 1, [a_record(2), a_record(2)]),
        (RUN, 1, [a_record(2, OTHER)]),
        (OTHER, 0, [a_record(1, OTHER)]),
    ],
    ids=["gap", "wrong number", "number twice", "another run's", "no such run"],
)
def test_a_record_out_of_place_is_refused(journal: Journal, run: str, after: int, records: list[object]) -> None:
    begun(journal)
    with pytest.raises(StoreError):
        journal.append(run, after, records)  # type: ignore[arg-type]
    assert [record.seq for record in journal.records(RUN)] == [1]


def test_a_body_that_is_no_json_is_refused_and_nothing_of_its_append_is_kept(journal: Journal) -> None:
    row = begun(journal)
    with pytest.raises(StoreError):
        journal.append(RUN, 1, [a_record(2), a_record(3, body=float("nan"))], ("failed", "no"))
    assert journal.run(RUN) == replace(row, version=1)
    assert [record.seq for record in journal.records(RUN)] == [1]


def test_the_last_of_a_kind(journal: Journal) -> None:
    begun(journal)
    journal.append(RUN, 1, [a_record(2, kind="aggregated"), a_record(3), a_record(4, kind="aggregated"), a_record(5)])
    assert journal.last(RUN, "aggregated") == a_record(4, kind="aggregated")
    assert journal.last(RUN, "started") == a_record(1, kind="started")
    assert journal.last(RUN, "never") is None


def test_what_was_appended_is_there_after_opening_again(database: str) -> None:
    first = Journal.open(database)
    begun(first)
    first.append(RUN, 1, [a_record(2)])
    first.close()
    second = Journal.open(database)
    assert [record.seq for record in second.records(RUN)] == [1, 2]
    second.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON, at=st.floats(allow_nan=False, allow_infinity=False))
def test_bodies_and_times_come_back_exactly(journal: Journal, body: object, at: float) -> None:
    if journal.run(RUN) is None:
        begun(journal)
    version = len(journal.records(RUN))
    record = replace(a_record(version + 1, body=[body]), at=at)
    assert journal.append(RUN, version, [record])
    assert journal.records(RUN, version) == [record]


def test_of_many_threads_that_append_at_one_place_one_wins(journal: Journal) -> None:
    begun(journal)
    threads, rounds = 6, 8
    start = threading.Barrier(threads)

    def compete(number: int) -> int:
        won = 0
        for seq in range(2, rounds + 2):
            start.wait()
            won += journal.append(RUN, seq - 1, [a_record(seq, body=number)], ("running", str(number)))
        return won

    with ThreadPoolExecutor(threads) as pool:
        wins = list(pool.map(compete, range(threads)))
    records = journal.records(RUN, 1)
    assert sum(wins) == rounds
    assert [record.seq for record in records] == list(range(2, rounds + 2))
    assert [[record.body for record in records].count(number) for number in range(threads)] == wins
    found = journal.run(RUN)
    assert found is not None
    assert (found.version, found.detail) == (rounds + 1, str(records[-1].body))


def count_up(database: str, number: int, goal: int) -> None:
    journal = Journal.open(database)
    added = 0
    while added < goal:
        version = len(journal.records(RUN))
        added += journal.append(RUN, version, [a_record(version + 1, body=number)])
    journal.close()


@pytest.mark.long
def test_processes_that_read_and_append_lose_nothing(database: str) -> None:
    journal = Journal.open(database)
    begun(journal)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=count_up, args=(database, number, 25)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    records = journal.records(RUN, 1)
    journal.close()
    assert [record.seq for record in records] == list(range(2, 77))
    assert sorted(record.body for record in records) == [0] * 25 + [1] * 25 + [2] * 25  # type: ignore[type-var]


def test_processes_that_open_an_empty_database_together_all_find_its_tables(database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: Journal.open(database), range(4)))
    assert [journal.runs() for journal in opened] == [[], [], [], []]
    for journal in opened:
        journal.close()


def test_the_sqlite_file_is_written_ahead_and_synced(tmp_path: Path) -> None:
    journal = Journal.open(f"sqlite:///{tmp_path}/journal.db")
    with journal.database.read() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS]
    journal.close()
    assert dict(zip(PRAGMAS, found, strict=True)) == PRAGMAS


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.parametrize("url", ["", "journal.db", "mysql://host/db", "sqlite:////no/such/folder/journal.db"])
def test_a_url_that_leads_nowhere_is_an_error_that_mends(url: str) -> None:
    with pytest.raises(StoreError):
        Journal.open(url)


def test_an_error_does_not_show_the_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Journal.open(f"postgresql+psycopg://user:sesame@/db?host={tmp_path}")
    assert "sesame" not in str(caught.value)
