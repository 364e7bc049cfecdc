"""Data sets: a test set drawn fairly, normalisation without copies, held-out rows that do not overlap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data import IID, Affine, Card, Dataset, Examples, PartyColumn, from_arrays
from comity.data.dataset import draw_test

CARD = Card(name="toy", title="toy", task="classification", features=(1,), examples=4, classes=2)


@settings(max_examples=50, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=200),
    fraction=st.floats(0.05, 0.9),
    seed=st.integers(0, 99),
)
def test_every_label_gives_its_share_to_the_test_set(labels: list[int], fraction: float, seed: int) -> None:
    y = np.array(labels)
    mask = draw_test(y, {}, Seed.of(seed), fraction)
    for label in np.unique(y):
        assert abs(mask[y == label].sum() - fraction * (y == label).sum()) <= 1


@settings(max_examples=50, deadline=None)
@given(
    codes=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), min_size=1, max_size=200),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
def test_the_test_set_takes_no_partys_last_row(codes: list[tuple[int, int]], fraction: float, seed: int) -> None:
    columns = {"first": PartyColumn.of([a for a, _ in codes]), "second": PartyColumn.of([b for _, b in codes])}
    mask = draw_test(np.zeros(len(codes)), columns, Seed.of(seed), fraction)
    for column in columns.values():
        assert (column.take(~mask).sizes > 0).all()


def test_the_test_set_depends_on_the_seed_alone() -> None:
    y = np.arange(100) % 3
    assert np.array_equal(draw_test(y, {}, Seed.of(1), 0.2), draw_test(y, {}, Seed.of(1), 0.2))
    assert not np.array_equal(draw_test(y, {}, Seed.of(1), 0.2), draw_test(y, {}, Seed.of(2), 0.2))


def test_images_are_normalised_by_channel_without_touching_the_column() -> None:
    x = np.random.default_rng(0).integers(0, 256, (500, 3, 4, 4)).astype(np.uint8)
    x[:, 1] //= 4
    data = from_arrays(x, np.arange(500) % 2, test=0.2)
    seen = data.normalised().train.features()
    assert np.allclose(seen.mean(axis=(0, 2, 3)), 0, atol=1e-4)
    assert np.allclose(seen.std(axis=(0, 2, 3)), 1, atol=1e-4)
    assert data.normalised().train.x is data.train.x
    assert data.normalised().test.affine.scale.shape == (3, 1, 1)


def test_tables_are_normalised_by_feature_and_constants_stay_finite() -> None:
    x = np.stack([np.arange(50.0) * 1000, np.full(50, 7.0)], axis=1)
    seen = from_arrays(x, np.zeros(50, int)).normalised().train.features()
    assert np.allclose(seen.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(seen.std(axis=0), [1, 0], atol=1e-4)


def test_token_ids_are_not_normalised() -> None:
    with pytest.raises(DataError, match="token ids"):
        from_arrays(np.zeros((5, 3), np.int64), np.zeros(5, int)).normalised()


def test_ordered_rows_hold_out_the_last_ones() -> None:
    train = Examples(np.arange(40.0)[:, None], np.arange(40) % 2)
    data = Dataset(CARD, train, party={}, ordered=True)
    party = data.split(IID(1))["party-0"]
    assert party.heldout.rows.tolist() == list(range(32, 40))


def test_an_empty_data_set_and_a_short_party_column_are_refused() -> None:
    with pytest.raises(DataError, match="no training examples"):
        Dataset(CARD, Examples(np.zeros((0, 1)), np.zeros(0)))
    with pytest.raises(DataError, match="1 entries for 2 examples"):
        Dataset(CARD, Examples(np.zeros((2, 1)), np.zeros(2)), party={"p": PartyColumn.of(["a"])})


@given(scale=st.floats(-3, 3, width=32), offset=st.floats(-3, 3, width=32), second=st.floats(-3, 3, width=32))
def test_affine_changes_compose(scale: float, offset: float, second: float) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    first, then = Affine(scale, offset), Affine(second, 1.0)
    assert np.allclose(first.then(then).features(x), then.features(first.features(x)), atol=1e-3)
    assert np.allclose(first.features(x), first(x), atol=1e-5)
    assert first.features(x).dtype == np.float32
    assert x[0, 1] == 1
