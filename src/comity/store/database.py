"""A database behind a URL: transactions, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from comity.store.errors import StorageFull, StoreError

_SQLITE_FULL = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"}
_POSTGRESQL_FULL = {"53100"}
_PATIENCE = 30.0
"""Seconds that a writer waits for another to finish."""


class Database:
    """SQLite or PostgreSQL. A transaction is short, and is whole or was not."""

    def __init__(self, url: str) -> None:
        self.url = _parsed(url)
        self.where = self.url.render_as_string(hide_password=True)
        with translated(self.where):
            self.engine = _engine(self.url)
        self._reading = self.engine.execution_options(begin="BEGIN")

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed at the end, or never was. Raises `StoreError`."""
        with translated(self.where), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with; on SQLite it sees one moment. Raises `StoreError`."""
        with translated(self.where), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Reads that all see one moment, on either database, while others write. Raises `StoreError`."""
        engine = self._reading if self.is_sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ")
        with translated(self.where), engine.connect() as connection:
            yield connection

    @contextmanager
    def listening(self) -> Iterator[Connection]:
        """A connection to PostgreSQL that is closed at the end, not used again. Raises `StoreError`."""
        engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with translated(self.where), engine.connect() as connection:
            connection.detach()
            yield connection

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def translated(where: str) -> Iterator[None]:
    """The errors of databases as Comity's."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip()
        if _code(error.orig) in _SQLITE_FULL | _POSTGRESQL_FULL:
            raise StorageFull(
                f"the database takes no more: {reason}", where=where, mend="free some space, then try again"
            ) from error
        raise StoreError(f"the database refused: {reason}", where=where) from error
    except SQLAlchemyError as error:
        raise StoreError(f"the database cannot be used: {error}", where=where) from error


def _code(error: BaseException | None) -> str | None:
    return getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)


def _parsed(url: str) -> URL:
    mend = "give sqlite:///path/to/journal.db or postgresql+psycopg://user@host/database"
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError("this is no URL of a database", mend=mend) from None
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise StoreError(f"{parsed.drivername!r} is no database that is known here", mend=mend)
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    engine = create_engine(url, connect_args={"timeout": _PATIENCE})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, _record: Any) -> None:
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: Connection) -> None:
    # Python's sqlite3 begins late and as a reader; a writer that starts as one can never lose its turn half-way.
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN IMMEDIATE"))
