"""The migrations make the tables that the code expects, from nothing, on either database."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from comity.store.database import Database
from comity.store.errors import StoreError
from comity.store.journal import Journal
from comity.store.migrate import FOLDER, migrate
from comity.store.tables import HEAD, METADATA


def test_migrated_tables_are_those_of_the_code(database: str) -> None:
    opened = Database(database)
    migrate(opened)
    with opened.write() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    opened.close()


def test_the_newest_migration_is_the_one_that_the_code_asks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_tables_of_a_newer_version_are_left_alone(database: str) -> None:
    Journal.open(database).close()
    opened = Database(database)
    with opened.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer"):
        migrate(opened)
    with opened.read() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    opened.close()


def test_a_migration_that_fails_leaves_nothing(database: str) -> None:
    opened = Database(database)
    with opened.write() as connection:
        connection.execute(text("CREATE TABLE audit (mine INTEGER)"))
    with pytest.raises(StoreError):
        migrate(opened)
    with opened.write() as connection:
        connection.execute(text("DROP TABLE audit"))
    migrate(opened)
    opened.close()
    journal = Journal.open(database)
    assert journal.check_audit().rows == 0
    journal.close()
