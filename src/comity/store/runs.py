"""Runs and their records, on a connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from comity.store.errors import StoreError
from comity.store.rows import Record, RunRow
from comity.store.tables import RECORDS, RUNS

CHANNEL = "comity_runs"
"""Where PostgreSQL announces the run that has new records."""


def begin(connection: Connection, run: RunRow, records: Sequence[Record]) -> None:
    """A new run with its first records. Raises `StoreError` where there is one of this id."""
    _check(run.id, 0, records)
    try:
        connection.execute(insert(RUNS), asdict(replace(run, version=len(records))))
    except IntegrityError as error:
        raise StoreError("there is a run of this id already", where=f"run {run.id}") from error
    _add(connection, run.id, records)


def append(
    connection: Connection, run: str, after: int, records: Sequence[Record], state: tuple[str, str] | None
) -> bool:
    """Add records after `after`, the last one; False where another was first."""
    _check(run, after, records)
    values: dict[str, Any] = {"version": after + len(records)}
    if state is not None:
        values |= {"state": state[0], "detail": state[1]}
    changed = connection.execute(update(RUNS).where(RUNS.c.id == run, RUNS.c.version == after).values(values)).rowcount
    if changed == 0:
        version = connection.scalar(select(RUNS.c.version).where(RUNS.c.id == run))
        if version is None:
            raise StoreError("there is no such run", where=f"run {run}")
        if version < after:
            raise StoreError(f"record {after + 1} cannot follow record {version}", where=f"run {run}")
        return False
    _add(connection, run, records)
    return True


def find(connection: Connection, run: str) -> RunRow | None:
    row = connection.execute(select(RUNS).where(RUNS.c.id == run)).mappings().first()
    return None if row is None else _run(row)


def listed(connection: Connection, submitter: str | None, state: str | None) -> list[RunRow]:
    """Newest first."""
    query = select(RUNS).order_by(RUNS.c.created.desc(), RUNS.c.id)
    if submitter is not None:
        query = query.where(RUNS.c.submitter == submitter)
    if state is not None:
        query = query.where(RUNS.c.state == state)
    return [_run(row) for row in connection.execute(query).mappings()]


def states(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(RUNS.c.state, func.count()).group_by(RUNS.c.state))
    return {str(state): count for state, count in rows}


def records(connection: Connection, run: str, after: int) -> list[Record]:
    query = select(RECORDS).where(RECORDS.c.run == run, RECORDS.c.seq > after).order_by(RECORDS.c.seq)
    return [Record(**row) for row in connection.execute(query).mappings()]


def last(connection: Connection, run: str, kind: str) -> Record | None:
    query = select(RECORDS).where(RECORDS.c.run == run, RECORDS.c.kind == kind).order_by(RECORDS.c.seq.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return None if row is None else Record(**row)


def _run(row: RowMapping) -> RunRow:
    return RunRow(**{**row, "parties": tuple(row["parties"])})


def _add(connection: Connection, run: str, records: Sequence[Record]) -> None:
    if records:
        connection.execute(insert(RECORDS), [asdict(record) for record in records])
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_notify(:channel, :run)"), {"channel": CHANNEL, "run": run})


def _check(run: str, after: int, records: Sequence[Record]) -> None:
    expected = [(run, after + 1 + i) for i in range(len(records))]
    if [(record.run, record.seq) for record in records] != expected:
        raise StoreError(f"the records must be numbers {after + 1} and on of this run", where=f"run {run}")
