"""Parties: a view of shared columns for each party, with held-out rows of its own."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data import IID, Examples, FeatureShift, Natural, QuantityPowerLaw, from_arrays, hold_out
from comity.data.parties import held_out_sizes


def data(rows: int = 100):
    rng = np.random.default_rng(0)
    return from_arrays(rng.normal(size=(rows, 2)), rng.integers(3, size=rows), test=0.1)


@settings(max_examples=50, deadline=None)
@given(parties=st.integers(1, 30), heldout=st.floats(0, 0.95), seed=st.integers(0, 99))
def test_training_and_held_out_rows_are_apart_and_complete(parties: int, heldout: float, seed: int) -> None:
    whole = data()
    split = whole.split(QuantityPowerLaw(parties, 1.0), seed=seed, heldout=heldout)
    seen: list[int] = []
    for name, size in zip(split.ids, split.sizes, strict=True):
        party = split[name]
        assert len(party.train) + len(party.heldout) == size
        assert len(party.train) >= 1
        assert (len(party.heldout) > 0) == (heldout > 0 and size > 1)
        seen += [*party.train.rows, *party.heldout.rows]
    assert sorted(seen) == sorted(whole.train.rows)


def test_no_party_trains_on_the_common_test_set() -> None:
    whole = data()
    split = whole.split(IID(5))
    assert split.test is whole.test
    assert not set(split.pooled().rows) & set(whole.test.rows)


def test_the_same_seed_holds_out_the_same_rows() -> None:
    first, second, other = (data().split(IID(5), seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first["party-2"].heldout.rows, second["party-2"].heldout.rows)
    assert not np.array_equal(first["party-2"].heldout.rows, other["party-2"].heldout.rows)


def test_columns_are_shared_and_rows_are_views() -> None:
    whole = data()
    split = whole.split(IID(5))
    for name in split.ids:
        assert split[name].train.x is whole.train.x
        assert np.shares_memory(split[name].train.rows, split.examples.rows)


def test_a_party_is_found_by_name_or_position() -> None:
    split = data().split(IID(12))
    assert "party-03" in split
    assert "party-12" not in split
    assert list(split)[:2] == ["party-00", "party-01"]
    assert np.array_equal(split["party-03"].train.rows, split[3].train.rows)
    assert np.array_equal(split[-1].train.rows, split["party-11"].train.rows)
    with pytest.raises(DataError, match="no party is named 'party-3'"):
        split["party-3"]
    with pytest.raises(IndexError):
        split[12]


def test_pooled_examples_are_the_training_rows_of_all() -> None:
    split = data().split(QuantityPowerLaw(7, 1.0))
    expected = [row for name in split.ids for row in split[name].train.rows]
    assert split.pooled().rows.tolist() == expected
    with pytest.raises(DataError, match="in its own way"):
        data().split(FeatureShift(3)).pooled()


def test_a_party_of_one_example_keeps_it() -> None:
    split = from_arrays(np.zeros((3, 1)), [0, 1, 0], party=["a", "b", "b"]).split(Natural())
    assert len(split["a"].train) == 1
    assert len(split["a"].heldout) == 0
    assert len(split["b"].heldout) == 1


def test_held_out_sizes_are_rounded_shares() -> None:
    assert held_out_sizes(np.array([0, 1, 2, 4, 10, 101]), 0.2).tolist() == [0, 0, 1, 1, 2, 20]
    assert held_out_sizes(np.array([3, 10]), 0.99).tolist() == [2, 9]
    assert held_out_sizes(np.array([3, 10]), 0).tolist() == [0, 0]


def test_hold_out_splits_one_party() -> None:
    examples = Examples(np.arange(10.0)[:, None], np.arange(10))
    party = hold_out(examples, Seed.of(1), 0.3)
    assert len(party.heldout) == 3
    assert sorted([*party.train.labels(), *party.heldout.labels()]) == list(range(10))
    assert np.array_equal(party.train.rows, hold_out(examples, Seed.of(1), 0.3).train.rows)


@pytest.mark.parametrize("heldout", [-0.1, 1.0])
def test_a_share_out_of_range_is_refused(heldout: float) -> None:
    with pytest.raises(DataError, match="heldout is"):
        data().split(IID(2), heldout=heldout)


def test_parties_travel_to_worker_processes() -> None:
    split = data().split(FeatureShift(4))
    again = pickle.loads(pickle.dumps(split))
    assert np.array_equal(again["party-2"].train.features(), split["party-2"].train.features())
