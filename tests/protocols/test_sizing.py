"""The sizes of committees: the specification's table, and what each number stands for."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.protocols.secure_sum.errors import TermsError
from comity.protocols.secure_sum.sizing import Size, consortium, size

TABLE = [
    (0.05, 0.1, Size(59, 20, 40)),
    (0.05, 0.2, Size(126, 29, 78)),
    (0.1, 0.1, Size(76, 31, 54)),
    (0.1, 0.2, Size(173, 50, 112)),
]


def more_than(least: int, trials: int, chance: float) -> Fraction:
    """In whole numbers: the probability of more than `least` of `trials` events."""
    p = Fraction(chance)
    return sum((comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(least + 1, trials + 1)), Fraction(0))


@pytest.mark.parametrize(("corrupt", "dropout", "expected"), TABLE)
def test_the_table_of_the_specification(corrupt: float, dropout: float, expected: Size) -> None:
    assert size(corrupt, dropout) == expected


@pytest.mark.parametrize(("corrupt", "dropout", "expected"), TABLE)
def test_privacy_and_completion_hold_and_t_could_not_be_less(corrupt: float, dropout: float, expected: Size) -> None:
    c, t, q = expected
    assert more_than(t, c, corrupt) <= Fraction(1, 2**40) < more_than(t - 1, c, corrupt)
    assert more_than(c - q, c, dropout) <= Fraction(1, 2**20)


def test_weaker_demands_make_smaller_committees() -> None:
    assert size(0.05, 0.1, privacy=2**-20, completion=2**-10).c < 59


@given(st.integers(4, 1000))
def test_a_consortium_is_all_of_it(n: int) -> None:
    c, t, q = consortium(n)
    assert (c, t, q) == (n, (n - 1) // 3, (n + (n - 1) // 3) // 2 + 1)
    assert 2 * q > c + t
    assert t + consortium(n).blocks <= q <= c


def test_ten_silos() -> None:
    assert consortium(10) == Size(10, 3, 7)


@pytest.mark.parametrize(("given", "blocks"), [(Size(59, 20, 40), 8), (Size(10, 3, 7), 2), (Size(4, 1, 3), 1)])
def test_blocks_leave_answers_to_spare(given: Size, blocks: int) -> None:
    assert given.blocks == blocks


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(TermsError, match="no committee"):
        size(0.4, 0.4)
    with pytest.raises(TermsError, match="none may be corrupt"):
        consortium(3)
