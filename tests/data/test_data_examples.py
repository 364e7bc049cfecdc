"""Examples: rows of shared columns, taken without copying the columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import DataError
from comity.data import Affine, Examples, PartyNames


def examples(rows: np.ndarray | None = None) -> Examples:
    return Examples(np.arange(20, dtype=np.uint8).reshape(10, 2), np.arange(10), rows, Affine(0.5))


@given(start=st.integers(-12, 12), stop=st.integers(-12, 12), chosen=st.booleans())
def test_taking_a_slice_is_slicing_the_features(start: int, stop: int, chosen: bool) -> None:
    whole = examples(np.array([9, 3, 3, 0, 7]) if chosen else None)
    part = whole.take(slice(start, stop))
    assert np.array_equal(part.features(), whole.features()[start:stop])
    assert np.array_equal(part.labels(), whole.labels()[start:stop])
    assert part.x is whole.x


def test_taking_positions_twice_follows_the_rows() -> None:
    part = examples().take(np.array([8, 6, 4])).take(np.array([2, 0]))
    assert part.labels().tolist() == [4, 8]
    assert part.features().tolist() == [[4.0, 4.5], [8.0, 8.5]]


def test_features_without_an_affine_change_keep_their_dtype() -> None:
    assert Examples(np.zeros((2, 3), np.uint8), np.zeros(2)).features().dtype == np.uint8


def test_a_label_for_each_row() -> None:
    with pytest.raises(DataError, match="3 rows of features and 2 labels"):
        Examples(np.zeros((3, 1)), np.zeros(2))


@given(count=st.integers(1, 10**9), data=st.data())
def test_party_names_are_found_again(count: int, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, count - 1))
    names = PartyNames(count)
    assert names.index(names[position]) == position
    assert names[position] in names
    assert f"party-{count}" not in names
