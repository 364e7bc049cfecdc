"""An append at one replica wakes those who wait at another."""

from __future__ import annotations

from pathlib import Path
from queue import Empty, Queue

import pytest
from sqlalchemy import text

from comity.store.journal import Journal
from support.journals import RUN, a_record, begun
from support.live import until


def test_another_replica_hears_of_what_begins_and_of_each_append(postgresql_url: str) -> None:
    one, two = Journal.open(postgresql_url), Journal.open(postgresql_url)
    heard: Queue[str] = Queue()
    two.listen(heard.put)
    begun(one)
    assert heard.get(timeout=10) == RUN
    one.append(RUN, 1, [a_record(2)])
    assert heard.get(timeout=10) == RUN
    assert [record.seq for record in two.records(RUN)] == [1, 2], "what is announced can be read"
    assert not one.append(RUN, 1, [a_record(2)])
    one.close()
    two.close()
    assert heard.empty(), "an append that came second changes nothing and wakes nobody"


def test_a_listener_whose_connection_broke_says_so_and_goes_on(postgresql_url: str) -> None:
    one, two = Journal.open(postgresql_url), Journal.open(postgresql_url)
    heard: Queue[str] = Queue()
    two.listen(heard.put)
    begun(one)
    assert heard.get(timeout=10) == RUN
    with one.database.write() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        assert connection.execute(text(others)).rowcount == 1
    assert heard.get(timeout=10) == "", "anything may have happened meanwhile"
    one.append(RUN, 1, [a_record(2)])
    assert heard.get(timeout=10) == RUN
    one.close()
    two.close()


def test_a_listener_that_fails_is_logged_and_hears_what_comes_next(
    postgresql_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = Journal.open(postgresql_url), Journal.open(postgresql_url)
    heard: Queue[str] = Queue()

    def fails_once(run: str) -> None:
        heard.put(run)
        if heard.qsize() == 1:
            raise RuntimeError("the loop is closed")

    two.listen(fails_once)
    begun(one)
    one.append(RUN, 1, [a_record(2)])
    until(lambda: heard.qsize() == 2, 10)
    one.close()
    two.close()
    assert "the loop is closed" in caplog.text


def test_sqlite_has_no_replicas_to_hear(tmp_path: Path) -> None:
    journal = Journal.open(f"sqlite:///{tmp_path}/journal.db")
    heard: Queue[str] = Queue()
    journal.listen(heard.put)
    begun(journal)
    with pytest.raises(Empty):
        heard.get_nowait()
    journal.close()
