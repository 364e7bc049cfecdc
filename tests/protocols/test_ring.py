"""The ring of the lattice masks: transforms against schoolbook products, errors, public polynomials."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.protocols.secure_sum.encoding import statement
from comity.protocols.secure_sum.field import Elements, Q, canonical, times
from comity.protocols.secure_sum.keystream import Keystream
from comity.protocols.secure_sum.ring import (
    ERROR_BOUND,
    ERROR_STD,
    ROWS,
    Multiplier,
    N,
    coefficients,
    error_std,
    errors,
    public_polynomials,
    values,
)

seeds = st.integers(0, 2**32)
extremes = st.sampled_from([0, 1, Q // 2, Q // 2 + 1, Q - 1])


def polynomials(seed: int, rows: int) -> Elements:
    return np.random.default_rng(seed).integers(0, Q, (rows, N), dtype=np.uint32)


def schoolbook(left: Elements, right: Elements) -> Elements:
    """left · right mod X^N + 1, in whole numbers without end."""
    product = [0] * (2 * N)
    for power in np.flatnonzero(left).tolist():
        factor = int(left[power])
        for place, value in enumerate(right.tolist()):
            product[power + place] += factor * value
    return np.array([(product[k] - product[k + N]) % Q for k in range(N)], np.uint32)


def product(left: Elements, right: Elements) -> Elements:
    """left · right by transforms: what the lattice masks do."""
    return canonical(Multiplier(left).products(values(right[None, :]))).reshape(N)


@given(seeds, st.integers(1, 2 * ROWS))
@settings(max_examples=10)
def test_coefficients_undo_values(seed: int, rows: int) -> None:
    these = polynomials(seed, rows)
    assert np.array_equal(coefficients(values(these)), these)


@given(seeds, st.lists(st.tuples(st.integers(0, N - 1), st.integers(0, Q - 1)), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_products_are_negacyclic(seed: int, terms: list[tuple[int, int]]) -> None:
    left, right = np.zeros(N, np.uint32), polynomials(seed, 1)[0]
    for power, factor in terms:
        left[power] = factor
    assert np.array_equal(product(left, right), schoolbook(left, right))
    assert np.array_equal(product(right, left), schoolbook(left, right))


def test_a_dense_product_is_negacyclic() -> None:
    left, right = polynomials(1, 2)
    assert np.array_equal(product(left, right), schoolbook(left, right))


@given(extremes, extremes)
@settings(max_examples=25, deadline=None)
def test_sums_stay_exact_where_every_element_is_extreme(one: int, other: int) -> None:
    left, right = np.full(N, one, np.uint32), np.full(N, other, np.uint32)
    expected = np.array([one * other * (2 * k + 2 - N) % Q for k in range(N)], np.uint32)
    assert np.array_equal(product(left, right), expected)
    found = Multiplier(left).products(np.full((ROWS, N), other, np.uint32))
    assert np.array_equal(
        canonical(found).reshape(ROWS, N)[3], coefficients(times(values(left[None]), other).reshape(1, N))[0]
    )


@pytest.mark.parametrize(("u", "v"), [(0, 0), (31, 63), (5, 17)])
def test_places_are_those_of_the_documentation(u: int, v: int) -> None:
    these = polynomials(3, 1)
    point, value = pow(pow(31, (Q - 1) // (2 * N), Q), 2 * (u + 32 * v) + 1, Q), 0
    for coefficient in these[0, ::-1].tolist():
        value = (value * point + coefficient) % Q
    assert values(these)[0, 64 * u + v] == value


def test_a_multiplier_that_was_erased_holds_nothing() -> None:
    multiplier = Multiplier(polynomials(4, 1)[0])
    multiplier.products(polynomials(5, ROWS))
    multiplier.erase()
    assert not multiplier.products(polynomials(5, ROWS)).any()


def test_public_polynomials_come_from_the_context_and_the_block() -> None:
    first = public_polynomials(bytes(32), 0)
    assert first.shape == (ROWS, N)
    assert first.max() < Q
    assert np.array_equal(public_polynomials(bytes(32), 0, 3), first[:3])
    assert not np.array_equal(public_polynomials(bytes(32), 1), first)
    assert not np.array_equal(public_polynomials(b"\1" * 32, 0), first)


def test_public_polynomials_are_the_words_below_q() -> None:
    key = hashlib.sha256(statement("public polynomials", b"c" * 32, bytes(7) + b"\2")).digest()[:16]
    words = Keystream(key).words(ROWS * N * 2) & np.uint32(2**31 - 1)
    assert np.array_equal(public_polynomials(b"c" * 32, 2).reshape(-1), words[words < Q][: ROWS * N])


def test_errors_are_centred_binomial() -> None:
    drawn = errors(Keystream(bytes(16)), 1 << 20).astype(np.int64)
    assert np.abs(drawn).max() <= ERROR_BOUND
    assert abs(drawn.mean()) < 5 * ERROR_STD / 2**10
    assert abs(drawn.var() / 21 - 1) < 5 * (2 / 2**20) ** 0.5
    kurtosis = (drawn.astype(np.float64) ** 4).mean() / 21**2
    assert abs(kurtosis - (3 - 2 / 84)) < 5 * (96 / 2**20) ** 0.5


def test_errors_take_all_84_coins() -> None:
    class Coins:
        def words(self, count: int) -> Elements:
            return np.full(count, 2**32 - 1, np.uint32)

    assert errors(Coins(), 3).tolist() == [42, 42, 42]  # type: ignore[arg-type]  # a stream of ones


def test_the_error_of_a_sum_grows_with_the_root_of_the_parties() -> None:
    assert error_std(1) == pytest.approx(4.5826, abs=1e-4)
    assert error_std(100) == pytest.approx(45.826, abs=1e-3)
