"""The roster's root stands for its entries in order, and anybody draws the same committee from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.protocols.secure_sum.errors import RosterError
from comity.protocols.secure_sum.roster import Entry, Roster, committee, roster_of
from support.secure_sums import Keys

ENTRIES = tuple(Keys.of(f"silo-{index:02}").entry for index in range(12))


@given(st.permutations(ENTRIES))
@settings(max_examples=20)
def test_everybody_orders_a_roster_alike(shuffled: list[Entry]) -> None:
    assert roster_of(shuffled).root == roster_of(ENTRIES).root


@pytest.mark.parametrize("field", ["name", "signing", "agreement"])
def test_the_root_changes_with_every_field(field: str) -> None:
    other: dict[str, Any] = {field: "somebody" if field == "name" else bytes(32)}
    changed = replace(ENTRIES[3], **other)
    assert Roster((*ENTRIES[:3], changed, *ENTRIES[4:])).root != Roster(ENTRIES).root


@pytest.mark.parametrize(("field", "words"), [("name", "name"), ("signing", "signing key"), ("agreement", "agreement")])
def test_nobody_stands_twice(field: str, words: str) -> None:
    double = replace(Keys.of("other").entry, **{field: getattr(ENTRIES[0], field)})
    with pytest.raises(RosterError, match=words):
        Roster((*ENTRIES, double))


@given(st.permutations(ENTRIES), st.binary(max_size=32), st.integers(1, 12))
def test_a_committee_depends_on_the_beacon_and_not_on_the_order(shuffled: list[Entry], beacon: bytes, c: int) -> None:
    drawn = committee(Roster(tuple(shuffled)), beacon, c)
    assert drawn == committee(Roster(ENTRIES), beacon, c)
    assert set(drawn.entries) <= set(ENTRIES)
    assert committee(Roster(ENTRIES), beacon, 12).entries[:c] == drawn.entries


def test_beacons_draw_different_committees() -> None:
    drawn = {committee(Roster(ENTRIES), bytes([beacon]), 3).root for beacon in range(30)}
    assert len(drawn) > 20


def test_a_committee_is_no_larger_than_its_candidates() -> None:
    with pytest.raises(RosterError, match="cannot be drawn from 12"):
        committee(Roster(ENTRIES), b"", 13)


def test_positions_lead_to_entries_and_back() -> None:
    roster = Roster(ENTRIES)
    assert [roster.position(entry.signing) for entry in ENTRIES] == list(range(12))
    with pytest.raises(RosterError, match="not in the roster"):
        roster.position(bytes(32))
    with pytest.raises(RosterError, match="nobody stands at 12"):
        roster.entry(12)
