"""Draws are exact: bounds hold the true probabilities, and what 64 bits leave open is settled by more of them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf  # type: ignore[import-untyped]  # it has no types
from scipy import stats

from comity.privacy import discrete, exact
from comity.privacy.entropy import Bits
from comity.privacy.exact import WORD, Inversion, Weights, below_exp, exp_minus

NEVER = 1e-9


def rational(power: Fraction) -> mpf:
    return mpf(power.numerator) / power.denominator


def halves(precision: int) -> Weights:
    """P(k) = 2^(−k−1): the boundaries are dyadic, so one lies exactly at the edge of a word."""
    return Weights(0, [1 << precision - k for k in range(1, precision + 1)] + [0])


def thirds(precision: int) -> Weights:
    """P(0) = 1/3, P(1) = 2/3."""
    return Weights(0, [1 << precision, 2 << precision])


@given(
    power=st.fractions(min_value=0, max_value=200, max_denominator=10**12),
    bits=st.integers(16, 400),
)
def test_exponentials_are_within_one_unit(power: Fraction, bits: int) -> None:
    with mp.workprec(bits + 400):
        assert abs(exp_minus(power, bits) - mp.exp(-rational(power)) * mpf(2) ** bits) < 1


@pytest.mark.parametrize("name", ["gaussian", "laplace", "poisson"])
def test_bounds_hold_the_true_probabilities(name: str) -> None:
    """And so closely that all but two words for each boundary settle a draw."""
    tables: dict[str, tuple[Inversion, Callable[[int], Any]]] = {
        "gaussian": (discrete._gaussian_table(Fraction(7, 3), 0)[0], lambda k: mp.exp(-(mpf(k) ** 2) * 3 / 14)),
        "laplace": (discrete._geometric_table(Fraction(2, 5), None), lambda k: mp.exp(-mpf(k) * 2 / 5)),
        "poisson": (discrete._poisson_table(Fraction(7, 2)), lambda k: mpf(7) ** k / mpf(2) ** k / mp.factorial(k)),
    }
    table, weight = tables[name]
    low, high = table._weights(WORD + 128).bounds(WORD)
    with mp.workprec(600):
        parts = [weight(k) for k in range(2000)]
        total, reached = sum(parts), mpf(0)
        for below, above, part in zip(low, high, parts, strict=False):
            reached += part
            assert below <= reached / total * 2**WORD <= above
            assert above - below <= 2


def test_what_64_bits_leave_open_is_settled_by_more() -> None:
    """⌊2⁶⁴/3⌋ is the word in which the boundary between 0 and 1 lies, a third of the way."""
    table, bits, tries = Inversion(thirds), Bits(), 4000
    word = (1 << WORD) // 3
    ones = sum(table.settle(word, bits) for _ in range(tries))
    law = stats.binom(tries, 2 / 3)
    assert law.ppf(NEVER / 2) <= ones <= law.isf(NEVER / 2)
    assert {table.settle(word - 1, bits) for _ in range(20)} == {0}
    assert {table.settle(word + 1, bits) for _ in range(20)} == {1}


class Fixed(Bits):
    """Bits that are known beforehand, then zeros."""

    def __init__(self, *words: int) -> None:
        self._words = list(words)

    def fill(self, out: np.ndarray) -> np.ndarray:
        for place in range(len(out)):
            out[place] = self._words.pop(0) if self._words else 0
        return out


def test_words_choose_by_cumulative_probability() -> None:
    words = [0, 1 << 62, (1 << 63) - 2, (1 << 63) + 1, (3 << 62) - 2, (3 << 62) + 2, (7 << 61) + 2]
    assert Inversion(halves).draw(Fixed(*words), len(words)).tolist() == [0, 0, 0, 1, 1, 2, 3]


def test_a_word_at_a_boundary_asks_for_more_bits() -> None:
    edge = (1 << WORD) // 3
    under, over = edge, edge + 1
    assert Inversion(thirds).draw(Fixed(edge, under, 0), 1).tolist() == [0]
    assert Inversion(thirds).draw(Fixed(edge, over, 0), 1).tolist() == [1]


@given(power=st.fractions(min_value=0, max_value=30, max_denominator=1000), width=st.sampled_from([8, 32, 64]))
def test_coins_with_the_chance_of_an_exponential_are_decided_by_their_first_bits(power: Fraction, width: int) -> None:
    with mp.workprec(200):
        edge = int(mp.exp(-rational(power)) * 2**width)
    bits = Bits()
    if edge > 2:
        assert below_exp(edge - 3, width, power, bits)
    if edge + 3 < 1 << width:
        assert not below_exp(edge + 3, width, power, bits)


def test_coins_at_the_edge_have_the_chance_that_is_left() -> None:
    """exp(−1)·2⁴ = 5.886…: of the uniform numbers that begin with 5 as 4 bits, 0.886… are below."""
    tries, bits = 4000, Bits()
    heads = sum(below_exp(5, 4, Fraction(1), bits) for _ in range(tries))
    law = stats.binom(tries, float(mp.exp(-1)) * 16 - 5)
    assert law.ppf(NEVER / 2) <= heads <= law.isf(NEVER / 2)


@pytest.mark.parametrize("module", [exact, discrete])
def test_nothing_is_ever_a_float(module: object) -> None:
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]  # both are modules
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not [constant for constant in constants if isinstance(constant, float)]
    assert not names & {"float", "float32", "float64", "exp", "log", "sqrt", "random", "ldexp"}
