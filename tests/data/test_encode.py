"""The encoding of tables, rule by rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core.errors import DataError
from comity.data import Encoder

pd = pytest.importorskip("pandas")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=60).filter(any))
def test_numbers_are_standardised_and_missing_ones_become_the_mean(values: list[float | None]) -> None:
    frame = pd.DataFrame({"a": pd.array(values, dtype="Float64")})
    matrix = Encoder.fit(frame).encode(frame)
    missing = np.array([value is None for value in values])
    assert np.isfinite(matrix).all()
    assert abs(matrix).max() <= 5
    assert (matrix[missing, 0] == 0).all()
    assert matrix.shape[1] == 1 + missing.any()
    if missing.any():
        assert np.array_equal(matrix[:, 1], missing)


def test_numbers_have_mean_0_and_deviation_1_and_are_cut_at_5() -> None:
    frame = pd.DataFrame({"a": [*range(200), 100_000]})
    matrix = Encoder.fit(frame[:200]).encode(frame)
    assert abs(matrix[:200].mean()) < 1e-6
    assert abs(matrix[:200].std() - 1) < 1e-6
    assert matrix[200, 0] == 5


def test_numbers_may_stay_as_they_are_and_constants_do_no_harm() -> None:
    frame = pd.DataFrame({"a": [1.5, 2.5], "b": [True, True]})
    assert Encoder.fit(frame, standardise=False).encode(frame).tolist() == [[1.5, 1.0], [2.5, 1.0]]
    assert Encoder.fit(frame).encode(frame).tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_categories_are_one_hot_and_missing_is_a_level() -> None:
    frame = pd.DataFrame({"c": ["x", None, "y", "x"]})
    encoder = Encoder.fit(frame)
    assert encoder.features == ("c=missing", "c=x", "c=y")
    assert encoder.encode(frame).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_rare_and_unknown_levels_are_all_zeros() -> None:
    frame = pd.DataFrame({"c": ["x"] * 150 + ["y"] * 150 + ["z"]})
    encoder = Encoder.fit(frame)
    assert encoder.features == ("c=x", "c=y")
    assert encoder.encode(pd.DataFrame({"c": ["z", "new", "y"]})).tolist() == [[0, 0], [0, 0], [0, 1]]


def test_categorical_dtypes_encode_like_text() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["x", "y", None], categories=["y", "x"])})
    assert Encoder.fit(frame).encode(frame).tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_columns_that_cannot_be_encoded_are_named() -> None:
    with pytest.raises(DataError, match=r"column 'id'(.|\n)*identifier"):
        Encoder.fit(pd.DataFrame({"id": [f"p{i}" for i in range(500)]}))
    with pytest.raises(DataError, match=r"column 'day': dates are not encoded"):
        Encoder.fit(pd.DataFrame({"day": pd.to_datetime(["2020-01-01"])}))
    with pytest.raises(DataError, match=r"column 'a': every value is missing"):
        Encoder.fit(pd.DataFrame({"a": [np.nan, np.nan]}))
    with pytest.raises(DataError, match=r"row 1: column 'a' is inf"):
        Encoder.fit(pd.DataFrame({"a": [1.0, np.inf]}))


def test_another_table_must_have_the_columns_and_their_kind() -> None:
    encoder = Encoder.fit(pd.DataFrame({"a": [1.0, 2.0]}))
    with pytest.raises(DataError, match=r"file 2: no column 'a'(.|\n)*the table has: b"):
        encoder.encode(pd.DataFrame({"b": [1]}), "file 2")
    with pytest.raises(DataError, match="expected numbers"):
        encoder.encode(pd.DataFrame({"a": ["x"]}))
