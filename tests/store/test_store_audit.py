"""The audit is a chain: a row that was changed, removed or moved shows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from comity.store.chain import START
from comity.store.errors import StoreError
from comity.store.journal import Journal


def noted(journal: Journal) -> None:
    journal.note(1, "ada", "invited", {"name": "north", "tags": ["eu"]})
    journal.note(2.5, "north", "enrolled", "as node\0")
    journal.note(4.0, "ada", "revoked", {"name": "north"})


def execute(journal: Journal, *statements: str) -> None:
    with journal.database.write() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_rows_are_read_back_in_order_each_with_the_digest_of_the_one_before(journal: Journal) -> None:
    noted(journal)
    rows = journal.audit()
    assert [(row.seq, row.at, row.who, row.action) for row in rows] == [
        (1, 1.0, "ada", "invited"),
        (2, 2.5, "north", "enrolled"),
        (3, 4.0, "ada", "revoked"),
    ]
    assert [row.detail for row in rows] == [{"name": "north", "tags": ["eu"]}, "as node\0", {"name": "north"}]
    assert [row.previous for row in rows] == [START, rows[0].digest, rows[1].digest]
    assert journal.audit(after=2) == rows[2:]
    assert journal.check_audit().rows == 3


def test_an_empty_audit_is_whole(journal: Journal) -> None:
    assert journal.check_audit().rows == 0


SWAP = tuple(f"UPDATE audit SET seq = {new} WHERE seq = {old}" for old, new in ((1, 9), (2, 1), (9, 2)))


@pytest.mark.parametrize(
    "statements",
    [
        ("UPDATE audit SET at = 2.0 WHERE seq = 2",),
        ("UPDATE audit SET who = 'eve' WHERE seq = 1",),
        ("UPDATE audit SET action = 'invited' WHERE seq = 3",),
        ("UPDATE audit SET detail = '\"other\"' WHERE seq = 2",),
        ("UPDATE audit SET previous = digest WHERE seq = 2",),
        ("UPDATE audit SET digest = previous WHERE seq = 3",),
        ("DELETE FROM audit WHERE seq = 1",),
        ("DELETE FROM audit WHERE seq = 2",),
        ("DELETE FROM audit WHERE seq = 3",),
        ("DELETE FROM audit",),
        ("DELETE FROM audit WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 3"),
        ("DELETE FROM audit_head",),
        SWAP,
    ],
    ids="; ".join,
)
def test_what_was_done_to_the_rows_shows(journal: Journal, statements: tuple[str, ...]) -> None:
    noted(journal)
    execute(journal, *statements)
    with pytest.raises(StoreError, match="audit"):
        journal.check_audit()


def test_notes_taken_at_once_make_one_chain(journal: Journal) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: journal.note(float(number), "ada", "did", number), range(40)))
    assert journal.check_audit().rows == 40
    assert sorted(str(row.detail) for row in journal.audit()) == sorted(map(str, range(40)))
