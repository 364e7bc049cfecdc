"""The chain of the audit, without a database: what was changed, removed or moved shows at the first row concerned."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.store.chain import START, Head
from comity.store.errors import StoreError
from comity.store.rows import AuditRow

DETAILS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NOTES = st.lists(
    st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.text(), st.text(), DETAILS), min_size=1, max_size=8
)


def chained(notes: list[tuple[float, str, str, object]]) -> list[AuditRow]:
    head, rows = Head(), []
    for note in notes:
        rows.append(head.link(*note))  # type: ignore[arg-type]  # JSON, as Hypothesis draws it
        head = Head(rows[-1].seq, rows[-1].digest)
    return rows


def followed(rows: list[AuditRow]) -> Head:
    return reduce(Head.follow, rows, Head())


@given(NOTES)
def test_a_chain_holds_and_ends_with_its_last_digest_also_after_a_journey_as_json(
    notes: list[tuple[float, str, str, object]],
) -> None:
    rows = chained(notes)
    travelled = [AuditRow(**json.loads(json.dumps(asdict(row)))) for row in rows]
    assert followed(travelled) == Head(len(rows), rows[-1].digest)


def test_nothing_is_a_chain_that_ends_where_it_starts() -> None:
    assert followed([]) == Head(0, START)


@given(NOTES, st.data())
def test_a_row_that_was_changed_shows_whatever_was_changed(
    notes: list[tuple[float, str, str, object]], data: st.DataObject
) -> None:
    rows = chained(notes)
    place = data.draw(st.integers(0, len(rows) - 1))
    row = rows[place]
    changes = {
        "seq": row.seq + 1,
        "at": row.at + 1e300 if row.at < 0 else row.at - 1e300,
        "who": row.who + "x",
        "action": row.action + "x",
        "detail": [row.detail],
        "previous": "f" * 64,
        "digest": "f" * 64,
    }
    field = data.draw(st.sampled_from(sorted(changes)))
    rows[place] = replace(row, **{field: changes[field]})  # type: ignore[arg-type]  # a value of the field's own type
    with pytest.raises(StoreError, match=f"row {place + 1}"):
        followed(rows)


@given(NOTES.filter(lambda notes: len(notes) > 1), st.data())
def test_a_row_that_is_missing_or_moved_shows(notes: list[tuple[float, str, str, object]], data: st.DataObject) -> None:
    rows = chained(notes)
    place = data.draw(st.integers(0, len(rows) - 2))
    for damaged in (
        rows[:place] + rows[place + 1 :],
        [*rows[:place], rows[place + 1], rows[place], *rows[place + 2 :]],
    ):
        with pytest.raises(StoreError, match=f"row {place + 1}"):
            followed(damaged)
