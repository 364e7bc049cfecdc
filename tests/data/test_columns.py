"""Party columns: names and codes of any kind of value; nulls are refused with their row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import DataError
from comity.data import PartyColumn
from comity.data.columns import Names


@given(values=st.lists(st.text(st.characters(exclude_characters="\0"), max_size=5), min_size=1, max_size=50))
def test_the_column_gives_back_its_values(values: list[str]) -> None:
    column = PartyColumn.of(np.array(values, dtype=object))
    assert [column.names[code] for code in column.codes] == values
    assert column.sizes.sum() == len(values)
    assert list(column.names) == sorted(set(values))


def test_whole_floats_are_named_like_integers() -> None:
    assert PartyColumn.of([3.0, 12.0, 3.0]).names == ("3", "12")
    assert PartyColumn.of([1.5]).names == ("1.5",)


@pytest.mark.parametrize("values", [["a", None, "b"], ["a", float("nan"), "b"], [1.0, np.nan, 2.0]])
def test_a_row_without_a_party_is_refused(values: list[object]) -> None:
    with pytest.raises(DataError, match=r"hospital: 1 rows name no party, the first is row 1"):
        PartyColumn.of(values, "hospital")


def test_names_look_up_and_refuse_duplicates() -> None:
    names = Names(["b", "a"])
    assert names.index("a") == 1
    assert "c" not in names
    assert names[0:1] == ("b",)
    with pytest.raises(DataError, match="two parties are named 'a'"):
        Names(["a", "b", "a"])
