"""Published rosters: the newest counts, and none that is older is ever taken."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import insert

from comity.store.database import Database
from comity.store.journal import Journal
from comity.store.migrate import FOLDER
from comity.store.tables import MEMBERS
from support.journals import a_member


def test_there_is_none_at_first(journal: Journal) -> None:
    assert journal.roster() is None


@pytest.mark.parametrize("later", [5.0, 9.999, 10.0])
def test_only_a_newer_one_is_kept(journal: Journal, later: float) -> None:
    assert journal.publish_roster(10.0, "first")
    assert not journal.publish_roster(later, "second")
    assert journal.roster() == "first"
    assert journal.publish_roster(10.001, "third")
    assert journal.roster() == "third"


def test_a_journal_of_before_there_were_any_keeps_what_it_has(database: str) -> None:
    opened, config = Database(database), Config()
    config.set_main_option("script_location", str(FOLDER))
    member = a_member("north")
    with opened.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(insert(MEMBERS), member.model_dump() | {"thumbprint": "t" * 43})
    opened.close()
    journal = Journal.open(database)
    assert journal.members() == [member]
    assert journal.publish_roster(1.0, "first")
    journal.close()
