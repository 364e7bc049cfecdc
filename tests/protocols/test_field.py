"""Arithmetic modulo q: unbiased elements, exact products, interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.protocols.secure_sum.field import (
    GENERATOR,
    Elements,
    Q,
    canonical,
    centred,
    cut,
    interpolation,
    inverse,
    matrix_product,
    power,
    reduce,
    uniform,
)
from comity.protocols.secure_sum.keystream import Keystream

elements = st.integers(0, Q - 1)


class Words:
    """A stream of given words."""

    def __init__(self, words: list[int]) -> None:
        self.left = np.array(words, np.uint32)

    def words(self, count: int) -> Elements:
        taken, self.left = self.left[:count], self.left[count:]
        return np.concatenate([taken, np.full(count - len(taken), Q, np.uint32)])


def test_q_is_prime_and_31_generates_its_group() -> None:
    assert all(Q % divisor for divisor in range(2, int(Q**0.5) + 1))
    assert all(pow(GENERATOR, (Q - 1) // factor, Q) != 1 for factor in (2, 3, 5))


def test_uniform_skips_words_that_are_not_below_q() -> None:
    given_words = [5, Q, Q - 1, 2**31 - 1, 2**31 + 7, Q + 2**31, 0]
    assert uniform(Words(given_words), 4).tolist() == [5, Q - 1, 7, 0]  # type: ignore[arg-type]  # a stream of ours


def test_uniform_draws_again_where_too_few_are_below_q() -> None:
    many = [Q] * 200 + [3, 4]
    assert uniform(Words(many), 2).tolist() == [3, 4]  # type: ignore[arg-type]  # a stream of ours


def test_uniform_elements_pass_a_chi_squared_test() -> None:
    drawn = uniform(Keystream(b"uniform elements"), 1 << 20)
    cells = 256
    counts = np.bincount((drawn.astype(np.uint64) * cells // Q).astype(np.int64), minlength=cells)
    expected = len(drawn) / cells
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert abs(statistic - (cells - 1)) < 5 * (2 * (cells - 1)) ** 0.5


@given(st.lists(st.integers(-(2**53) + 1, 2**53 - 1), min_size=1, max_size=50))
def test_reduction_is_exact_up_to_2_to_the_53(numbers: list[int]) -> None:
    held = np.array(numbers, np.float64)
    reduce(held, np.empty_like(held))
    assert all((int(found) - number) % Q == 0 for found, number in zip(held, numbers, strict=True))
    assert np.abs(held).max() <= Q // 2 + 4


@given(st.lists(st.integers(-Q + 1, Q - 1), min_size=1, max_size=50))
def test_canonical_elements_are_remainders(numbers: list[int]) -> None:
    assert canonical(np.array(numbers, np.float64)).tolist() == [number % Q for number in numbers]


@given(st.lists(st.integers(-(2**31), 2**31), min_size=1, max_size=50))
def test_numbers_are_cut_in_halves(numbers: list[int]) -> None:
    whole = np.array(numbers, np.float64)
    high, low = np.empty_like(whole), np.empty_like(whole)
    cut(whole, high, low)
    assert np.array_equal(high * 2**16 + low, whole)
    assert np.abs(low).max() <= 2**15


def test_centred_numbers_are_the_nearest_to_zero() -> None:
    assert centred(np.array([0, 1, Q // 2, Q // 2 + 1, Q - 1], np.uint32)).tolist() == [0, 1, Q // 2, -(Q // 2), -1]


@given(st.integers(1, 5), st.integers(1, 300), st.integers(1, 5), st.sampled_from(["uniform", "greatest"]))
@settings(max_examples=40, deadline=None)
def test_matrix_products_are_exact(m: int, k: int, n: int, kind: str) -> None:
    rng = np.random.default_rng(m * k * n)
    least = Q - 1 if kind == "greatest" else 0
    left, right = rng.integers(least, Q, (m, k), dtype=np.uint32), rng.integers(least, Q, (k, n), dtype=np.uint32)
    assert np.array_equal(
        matrix_product(left, right), (left.astype(object) @ right.astype(object) % Q).astype(np.uint32)
    )


@given(elements, st.integers(0, 2**40))
@settings(deadline=None)
def test_powers(base: int, exponent: int) -> None:
    assert power(np.array([base]), exponent).tolist() == [pow(base, exponent, Q)]


@given(st.integers(1, Q - 1))
def test_inverses(element: int) -> None:
    assert int(inverse(np.array([element]))[0]) * element % Q == 1


@given(
    st.lists(elements, min_size=1, max_size=8),
    st.lists(st.integers(-20, 20), min_size=8, max_size=8, unique=True),
    st.lists(st.integers(-20, 20), min_size=1, max_size=6, unique=True),
)
def test_interpolation_takes_a_polynomial_from_points_to_targets(
    coefficients: list[int], points: list[int], targets: list[int]
) -> None:
    def value(at: int) -> int:
        return sum(coefficient * int(pow(at, degree)) for degree, coefficient in enumerate(coefficients)) % Q

    known = np.array([[value(at)] for at in points[: len(coefficients)]], np.uint32)
    found = matrix_product(interpolation(tuple(points[: len(coefficients)]), tuple(targets)), known)
    assert found[:, 0].tolist() == [value(at) for at in targets]


def test_an_interpolation_matrix_is_shared_and_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        interpolation((1, 2), (3,))[0, 0] = 1
