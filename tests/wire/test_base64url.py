"""base64url: each value has one text, and what is not that text is nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.wire.base64url import decode, encode


@given(st.binary(max_size=100))
def test_a_value_comes_back_from_its_text(value: bytes) -> None:
    assert decode(encode(value)) == value


@given(st.text(alphabet="ABCDEFabcdef0123_-", max_size=50))
def test_a_text_is_refused_or_the_only_one_of_its_value(text: str) -> None:
    try:
        value = decode(text)
    except ValueError:
        return
    assert encode(value) == text


@pytest.mark.parametrize("text", ["A", "AA==", "A A", "AA\n", "AB", "A+/A", "é", "AAAA*"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64url|ASCII"):
        decode(text)
