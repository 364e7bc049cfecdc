"""How large committees are: the specification's table."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from comity.protocols.secure_sum.errors import TermsError
from comity.protocols.secure_sum.sizing import consortium, size


@pytest.mark.parametrize(
    ("corrupt", "dropout", "expected"),
    [
        (0.05, 0.1, (59, 20, 40)),
        (0.05, 0.2, (126, 29, 78)),
        (0.1, 0.1, (76, 31, 54)),
        (0.1, 0.2, (173, 50, 112)),
    ],
)
def test_a_drawn_committee(corrupt: float, dropout: float, expected: tuple[int, int, int]) -> None:
    assert size(corrupt, dropout) == expected


def test_a_consortium_is_its_own_committee() -> None:
    assert consortium(10) == (10, 3, 7)
    assert consortium(4) == (4, 1, 3)
    with pytest.raises(TermsError, match="among 3 silos"):
        consortium(3)


@pytest.mark.parametrize("n", range(4, 60))
def test_two_sets_are_never_both_certified(n: int) -> None:
    c, t, q = consortium(n)
    assert 2 * q > c + t


def test_a_secret_is_cut_so_that_half_of_the_answers_beyond_t_are_to_spare() -> None:
    for corrupt, dropout in [(0.05, 0.1), (0.1, 0.2)]:
        found = size(corrupt, dropout)
        assert found.t + found.blocks <= found.q
        assert found.q - found.t - found.blocks >= (found.q - found.t) // 2


def test_where_most_are_corrupt_no_committee_serves() -> None:
    with pytest.raises(TermsError, match="no committee"):
        size(0.6, 0.1)


@pytest.mark.parametrize(("corrupt", "dropout"), [(0.05, 0.1), (0.1, 0.2)])
def test_the_probabilities_hold_exactly_and_t_could_not_be_less(corrupt: float, dropout: float) -> None:
    def more_than(least: int, trials: int, chance: float) -> Fraction:
        p = Fraction(chance)
        return sum(
            (comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(least + 1, trials + 1)), Fraction(0)
        )

    c, t, q = size(corrupt, dropout)
    assert more_than(t, c, corrupt) <= Fraction(1, 2**40) < more_than(t - 1, c, corrupt)
    assert more_than(c - q, c, dropout) <= Fraction(1, 2**20)
