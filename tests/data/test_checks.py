"""Checks: unfit data are refused with the party, the row and the field."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import DataError
from comity.data import Examples, PartyData, check_examples, check_party


def party(x: np.ndarray, y: np.ndarray) -> PartyData:
    return PartyData(Examples(x, y), Examples(x[:0], y[:0]))


GOOD = np.ones((6, 2))
LABELS = np.array([0, 1, 2, 0, 1, 2])


def test_good_data_pass() -> None:
    check_party(party(GOOD, LABELS), classes=3)
    check_party(party(GOOD, GOOD[:, 0]))
    check_party(party(np.zeros((6, 3), np.uint8), LABELS), classes=3)


@given(row=st.integers(0, 5), column=st.integers(0, 1), value=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_feature_that_is_not_finite_is_found(row: int, column: int, value: float) -> None:
    x = GOOD.copy()
    x[row, column] = value
    with pytest.raises(DataError, match=rf"party a, row {row}: feature {column} is {value}"):
        check_party(party(x, LABELS), where="party a")


def test_rows_are_those_of_the_shared_column_and_fields_have_names() -> None:
    x = GOOD.copy()
    x[4, 1] = np.nan
    with pytest.raises(DataError, match="row 4: feature 'income' is nan"):
        check_examples(Examples(x, LABELS, np.array([5, 4])), fields=("age", "income"))
    check_examples(Examples(x, LABELS, np.array([5, 3])))


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_found(label: int) -> None:
    y = LABELS.copy()
    y[2] = label
    with pytest.raises(DataError, match=rf"party b, row 2: label {label} is outside 0 … 2(.|\n)*numpy.unique"):
        check_party(party(GOOD, y), classes=3, where="party b")


def test_labels_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(DataError, match="class labels of dtype float64"):
        check_party(party(GOOD, GOOD[:, 0]), classes=3)
    with pytest.raises(DataError, match="the label is nan"):
        check_party(party(GOOD, np.full(6, np.nan)))
    with pytest.raises(DataError, match="the features have dtype object"):
        check_party(party(np.full((6, 2), "a", object), LABELS))


def test_an_empty_party_is_refused() -> None:
    with pytest.raises(DataError, match="party c: the party has no training examples"):
        check_party(party(GOOD[:0], LABELS[:0]), where="party c")


def test_held_out_examples_are_checked_too() -> None:
    wider = PartyData(Examples(GOOD, LABELS), Examples(np.ones((2, 3)), LABELS[:2]))
    with pytest.raises(DataError, match=r"shape \(2,\) and held-out examples of shape \(3,\)"):
        check_party(wider)
    spoilt = PartyData(Examples(GOOD, LABELS), Examples(np.full((1, 2), np.inf), LABELS[:1]))
    with pytest.raises(DataError, match="party d, held-out examples, row 0"):
        check_party(spoilt, where="party d")
