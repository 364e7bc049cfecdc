"""Correlated noise by banded square roots: the matrix it stands for, what one party moves, and published figures."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from comity.core.errors import ConfigError
from comity.privacy.banded import BandedSquareRoot


def strategy(matrix: BandedSquareRoot) -> NDArray[np.float64]:
    """`C` itself."""
    columns = np.zeros((matrix.rounds, matrix.rounds))
    for k, coefficient in enumerate(matrix.coefficients):
        columns += np.diag(np.full(matrix.rounds - k, coefficient), -k)
    return columns


@st.composite
def matrices(draw: st.DrawFn) -> BandedSquareRoot:
    rounds = draw(st.integers(1, 9))
    return BandedSquareRoot(rounds, draw(st.integers(1, 14)), draw(st.one_of(st.none(), st.integers(1, rounds))))


def test_the_unbanded_square_root_is_one() -> None:
    root = strategy(BandedSquareRoot(20, bands=20))
    assert np.allclose(root @ root, np.tri(20))


@pytest.mark.parametrize(
    ("separation", "bands", "published"),
    [(1000, 1, 22.4), (1000, None, 3.1), (100, 1, 70.8), (100, None, 12.1)],
    ids=["once, independent", "once", "ten times, independent", "ten times"],
)
def test_errors_of_a_thousand_rounds_are_the_published_ones(
    separation: int, bands: int | None, published: float
) -> None:
    assert BandedSquareRoot(1000, separation, bands).rmse == pytest.approx(published, abs=0.06)


@given(matrices())
def test_no_participation_that_keeps_apart_moves_more_than_the_sensitivity(matrix: BandedSquareRoot) -> None:
    """Every choice of rounds at least `separation` apart, and one that reaches the bound."""
    columns = strategy(matrix)
    largest = 0.0
    for count in range(1, matrix.participations + 1):
        for rounds in combinations(range(matrix.rounds), count):
            if all(later - earlier >= matrix.separation for earlier, later in pairwise(rounds)):
                largest = max(largest, float(np.linalg.norm(columns[:, list(rounds)].sum(axis=1))))
    assert matrix.sensitivity == pytest.approx(largest)


@given(matrices(), st.integers(0, 2**32 - 1))
def test_signs_and_directions_move_no_more_than_parts_that_agree(matrix: BandedSquareRoot, seed: int) -> None:
    parts = np.random.default_rng(seed).normal(size=(matrix.rounds, 3))
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    parts[[t for t in range(matrix.rounds) if t % matrix.separation]] = 0
    assert np.linalg.norm(strategy(matrix) @ parts) <= matrix.sensitivity * (1 + 1e-12)


@given(matrices(), st.integers(0, 2**32 - 1))
def test_streamed_noise_is_that_of_the_inverse_matrix(matrix: BandedSquareRoot, seed: int) -> None:
    fresh = np.random.default_rng(seed).normal(size=(matrix.rounds, 4))
    held = tuple(np.zeros(4) for _ in range(matrix.held))
    streamed = []
    for step, row in enumerate(fresh):
        noise, held = matrix.correlated(step, row, held)
        streamed.append(noise)
        assert len(held) == matrix.held
    assert np.allclose(streamed, np.linalg.solve(strategy(matrix), fresh))


@given(matrices())
def test_the_error_is_that_of_the_matrix_which_decodes(matrix: BandedSquareRoot) -> None:
    decoder = np.tri(matrix.rounds) @ np.linalg.inv(strategy(matrix))
    assert matrix.prefix_error == pytest.approx(np.sqrt((decoder**2).sum() / matrix.rounds))


def test_noise_that_was_released_is_not_changed_by_later_rounds() -> None:
    matrix = BandedSquareRoot(6, bands=3)
    held = tuple(np.zeros(2) for _ in range(matrix.held))
    released = []
    for step in range(6):
        noise, held = matrix.correlated(step, np.full(2, step + 1.0), held)
        released.append((noise, noise.copy()))
    assert all(np.array_equal(noise, copy) for noise, copy in released)


@pytest.mark.parametrize("fields", [{"rounds": 0}, {"separation": 0}, {"bands": 0}, {"bands": 11}])
def test_what_is_no_matrix_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=rf"BandedSquareRoot\.{next(iter(fields))}"):
        BandedSquareRoot(**({"rounds": 10} | fields))
