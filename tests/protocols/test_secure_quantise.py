"""The grid: unbiased, as fine as it says, within bounds, and no sum of n_max parties wraps."""

from __future__ import annotations

import secrets
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from comity.protocols.secure_sum.errors import QuantisationError
from comity.protocols.secure_sum.masks import RUN
from comity.protocols.secure_sum.quantise import Grid, Weighted
from comity.protocols.secure_sum.terms import Part, Ring
from support.secure_sums import World

TERMS = World.new().terms
GRID = Grid.of(TERMS)


def whole(grid: Grid, given: Weighted) -> NDArray[np.int32]:
    return np.concatenate(list(grid.rounded(given)))


def contribution(vector: list[float], weight: float = 1.0, loss: tuple[float, float] = (0.0, 0.0)) -> Weighted:
    return Weighted(np.asarray(vector, dtype=np.float32), weight, {"loss": np.asarray(loss)})


@pytest.mark.parametrize(
    ("ring", "n_max", "bits"),
    [
        (Ring.LATTICE, 1_000, 20.9),
        (Ring.LATTICE, 10_000, 17.6),
        (Ring.LATTICE, 100_000, 14.3),
        (Ring.HELPERS, 1_000, 22.0),
        (Ring.HELPERS, 10_000, 18.7),
        (Ring.HELPERS, 100_000, 15.4),
    ],
)
def test_the_resolution_in_bits(ring: Ring, n_max: int, bits: float) -> None:
    grid = Grid.of(replace(TERMS, ring=ring.value, n_max=n_max))
    assert round(grid.resolution, 1) == bits


def test_a_vector_a_weight_and_metrics_are_coordinates_with_scales_of_their_own() -> None:
    numbers = whole(GRID, contribution([1, -1, 0, 0.5, 0.25, 0], weight=0.5, loss=(10, 1)))
    steps = GRID.steps
    expected = [steps / 2, -steps / 2, 0, steps / 4, steps / 8, 0, steps / 2, steps / 2, steps / 20]
    assert np.abs(numbers - np.asarray(expected)).max() < 1
    sums = GRID.sums([numbers.view(np.uint32)], 1)
    np.testing.assert_allclose(sums.vector, [0.5, -0.5, 0, 0.25, 0.125, 0], atol=1 / steps)
    assert sums.weight == pytest.approx(0.5, abs=1 / steps)
    np.testing.assert_allclose(sums.metrics["loss"], [5, 0.5], atol=10 / steps)


def test_rounding_is_unbiased() -> None:
    """Each fraction is rounded up as often as it should be: 5 standard deviations of a binomial."""
    count = 200_000
    grid = Grid((Part("vector", count, 1.0), Part("weight", 1, 1.0)), steps=100, modulus=1 << 32)
    for fraction in (0.01, 0.3, 0.5, 0.977):
        vector = np.full(count, (7 + fraction) / 100)
        numbers = whole(grid, Weighted(vector, 1.0))[:count]
        assert set(np.unique(numbers)) == {7, 8}
        above = (numbers == 8).mean()
        assert abs(above - fraction) < 5 * np.sqrt(fraction * (1 - fraction) / count)
        below = whole(grid, Weighted(-vector, 1.0))[:count]
        assert abs((below == -8).mean() - fraction) < 5 * np.sqrt(fraction * (1 - fraction) / count)


def test_whole_numbers_stay_what_they_are_and_the_bound_is_never_passed() -> None:
    grid = Grid((Part("vector", 5, 2.0), Part("weight", 1, 1.0)), steps=1000, modulus=1 << 32)
    least = [2.0 * (1 - 2**-50), -2.0 * (1 - 2**-50)]
    for _ in range(50):
        numbers = whole(grid, Weighted(np.asarray([2.0, -2.0, 0.5, *least]), 1.0))
        assert list(numbers[:3]) == [1000, -1000, 250]
        assert np.abs(numbers).max() == 1000


def test_the_random_bits_come_from_the_source_that_is_given() -> None:
    given_ = contribution([0.123456789, 0.2, 0.3, 0.4, 0.5, 0.6])
    fixed = np.concatenate(list(GRID.rounded(given_, token=lambda size: bytes(size))))
    again = np.concatenate(list(GRID.rounded(given_, token=lambda size: bytes(size))))
    np.testing.assert_array_equal(fixed, again)


@given(
    st.integers(2, 40),
    st.sampled_from(list(Ring)),
    st.floats(1e-3, 1e3),
    st.lists(st.floats(-1, 1), min_size=1, max_size=8),
)
@settings(max_examples=50, deadline=None)
def test_n_max_parties_at_their_bounds_add_up_exactly(n_max: int, ring: Ring, bound: float, shape: list[float]) -> None:
    terms = replace(
        TERMS,
        n_max=n_max,
        ring=ring.value,
        parts=(Part("vector", len(shape) + 2, bound), Part("weight", 1, 1.0)),
    )
    grid = Grid.of(terms)
    vector = np.asarray([bound, -bound, *np.asarray(shape) * bound])
    parties = [whole(grid, Weighted(vector, 1.0)) for _ in range(n_max)]
    true: NDArray[np.int64] = np.stack(parties).astype(np.int64).sum(axis=0)
    masked: NDArray[np.uint32] = np.mod(true, grid.modulus).astype(np.uint32)
    sums = grid.sums([masked], n_max)
    np.testing.assert_array_equal(sums.vector, (true[:-1] / (grid.steps / bound)).astype(np.float32))
    assert sums.weight == n_max


def test_a_long_vector_is_rounded_run_by_run_and_comes_back() -> None:
    length = 2 * RUN + 3
    grid = Grid((Part("vector", length, 1.0), Part("weight", 1, 1.0), Part("a", 2, 1.0)), 1 << 20, 1 << 32)
    vector = np.linspace(-1, 1, length, dtype=np.float32)
    runs = list(grid.rounded(Weighted(vector, 1.0, {"a": np.asarray([0.25, 0.75])})))
    assert max(map(len, runs)) == RUN
    for cut in ([run.view(np.uint32) for run in runs], [np.concatenate(runs).view(np.uint32)]):
        sums = grid.sums(cut, 1)
        np.testing.assert_allclose(sums.vector, vector, atol=2**-20)
        assert (sums.weight, *sums.metrics["a"]) == (1.0, 0.25, 0.75)


@pytest.mark.parametrize(
    ("given_", "fault"),
    [
        (contribution([0, 0, 0, float("nan"), 0, 0]), "vector is not finite"),
        (contribution([0, 0, 0, float("-inf"), 0, 0]), "vector is not finite"),
        (contribution([0, float("inf"), 0, 0, 0, 0], weight=0.0), "vector is not finite"),
        (contribution([0, 0, 0, 0, 0, 1.01]), "beyond its bound 1"),
        (contribution([0] * 6, weight=1.5), "weight goes up to 1.5"),
        (contribution([0] * 6, weight=-0.5), "the weight is -0.5"),
        (contribution([0] * 6, weight=float("nan")), "the weight is nan"),
        (contribution([0] * 6, loss=(0.0, -11.0)), "loss goes up to 11"),
        (contribution([0] * 5), r"shape \(5,\)"),
        (Weighted(np.zeros(6), 1.0), "does not fit the parts"),
    ],
)
def test_what_is_not_on_the_grid_is_refused_before_there_is_a_first_run(given_: Weighted, fault: str) -> None:
    with pytest.raises(QuantisationError, match=fault):
        GRID.rounded(given_)


def test_a_sum_that_parties_cannot_have_is_refused() -> None:
    honest = whole(GRID, contribution([1] * 6)).view(np.uint32)
    GRID.sums([honest], 1)
    with pytest.raises(QuantisationError, match="beyond what 1 parties"):
        GRID.sums([honest * np.uint32(2)], 1)
    garbage = np.frombuffer(secrets.token_bytes(4 * 9), dtype=np.uint32)
    with pytest.raises(QuantisationError, match="beyond what 2 parties"):
        GRID.sums([garbage], 2)
    with pytest.raises(QuantisationError, match="lacks 4 of 9"):
        GRID.sums([honest[:5]], 1)
    with pytest.raises(QuantisationError, match="more than 9"):
        GRID.sums([honest, honest], 1)
