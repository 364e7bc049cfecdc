"""A database is brought to the tables of this version of Comity when it is opened."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from comity.store.database import Database
from comity.store.errors import StoreError
from comity.store.tables import HEAD

FOLDER = Path(__file__).with_name("migrations")

_LOCK = 0x636F6D697479
"""Replicas that start together migrate one after the other."""


def migrate(database: Database) -> None:
    """Run what migrations are missing, all or none. Raises `StoreError`, also for tables of a newer Comity."""
    with database.read() as connection:
        if _revision(connection) == HEAD:
            return
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _upgrade(connection, database.where)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _upgrade(connection: Connection, where: str) -> None:
    # Alembic takes 12 MB of memory: a server that finds its tables in order never loads it.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(
            f"the tables cannot be brought up to date: {error}",
            where=where,
            mend="use the version of Comity that this database was last opened with, or a newer one",
        ) from error
