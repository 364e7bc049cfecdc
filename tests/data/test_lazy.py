"""Lazy parties: a million of them cost no more than ten."""

import gc
import tracemalloc

import numpy as np
import pytest

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data import Examples, Lazy, PartyData, hold_out


def make(party: str) -> PartyData:
    rng = Seed.of(1).child("party", party=party).rng()
    return hold_out(Examples(rng.normal(size=(20, 4)), rng.integers(3, size=20)), Seed.of(2))


def peak_bytes(count: int) -> int:
    gc.collect()
    tracemalloc.start()
    parties = Lazy(count, make, classes=3)
    ids = parties.ids
    for position in range(0, count, count // 10):
        assert len(parties[ids[position]].train) == 16
    assert ids[-1] in parties
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_parties() -> None:
    peak_bytes(10)
    assert peak_bytes(10**6) < peak_bytes(100) + 50_000


def test_a_party_is_made_when_asked_for_and_each_time_anew() -> None:
    asked: list[str] = []

    def load(party: str) -> PartyData:
        asked.append(party)
        return make(party)

    parties = Lazy(1000, load)
    assert asked == []
    first, second = parties["party-007"], parties[7]
    assert asked == ["party-007", "party-007"]
    assert np.array_equal(first.train.features(), second.train.features())


def test_parties_may_have_names_of_their_own() -> None:
    assert list(Lazy(2, make, names=("north", "south"))) == ["north", "south"]
    assert next(iter(Lazy(2, make, prefix="phone"))) == "phone-0"
    with pytest.raises(DataError, match="3 parties and 2 names"):
        Lazy(3, make, names=("north", "south"))


def test_unknown_names_and_unfit_parties_are_named() -> None:
    with pytest.raises(DataError, match="no party is named 'party-99'"):
        Lazy(10, make)["party-99"]
    with pytest.raises(DataError, match=r"party party-3, row \d+: label 2 is outside 0 … 1"):
        Lazy(10, make, classes=2)["party-3"]
    with pytest.raises(DataError, match="give 1 or more"):
        Lazy(0, make)


def test_the_report_looks_at_a_sample() -> None:
    report = Lazy(10**6, make, classes=3).describe(sample=5)
    assert report.parties == 10**6
    assert len(report.names) == 5
    assert "of which 5 were looked at" in str(report)
