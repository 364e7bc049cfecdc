"""Exact discrete noise against exact probabilities. A right sampler fails these less than once in 10⁹ runs."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from comity.core.errors import ConfigError
from comity.privacy.discrete import discrete_gaussian, discrete_laplace, poisson, skellam

SAMPLES = 300_000
RARE = 1e-12
"""The χ² test's threshold, three powers of ten below what is promised: its law holds in the limit of large counts."""

Draw = Callable[..., NDArray[np.int64]]


def fits(drawn: NDArray[np.int64], first: int, probabilities: NDArray[np.float64]) -> bool:
    """Pearson's test of draws against P(first), P(first + 1), …, neighbours joined to 200 counts or more."""
    expected = probabilities / probabilities.sum() * len(drawn)
    cells = np.floor(np.cumsum(expected) / max(200, len(drawn) / 400)).astype(int)
    cells[cells == cells[-1]] = max(0, cells[-1] - 1)
    wanted = np.bincount(cells, weights=expected)
    counted = np.bincount(cells[np.clip(drawn - first, 0, len(cells) - 1)], minlength=len(wanted))
    used = wanted > 0
    statistic = ((counted[used] - wanted[used]) ** 2 / wanted[used]).sum()
    return bool(statistic < stats.chi2.isf(RARE, used.sum() - 1))


def support(width: float) -> NDArray[np.int64]:
    reach = int(12 * width) + 12
    return np.arange(-reach, reach + 1)


@pytest.mark.parametrize("variance", [Fraction(1, 10), Fraction(7, 3), 100, 2**18, 2**22 + 1, 2**30])
def test_discrete_gaussian(variance: Fraction | int) -> None:
    drawn = discrete_gaussian(SAMPLES, variance)
    numbers = support(float(variance) ** 0.5)
    assert fits(drawn, int(numbers[0]), np.exp(-(numbers.astype(float) ** 2) / (2 * float(variance))))


@pytest.mark.parametrize("scale", [Fraction(1, 3), 1, Fraction(50, 7), 300, 10_000])
def test_discrete_laplace(scale: Fraction | int) -> None:
    drawn = discrete_laplace(SAMPLES, scale)
    numbers = support(3 * float(scale))
    assert fits(drawn, int(numbers[0]), np.exp(-np.abs(numbers) / float(scale)))


@pytest.mark.parametrize("mean", [Fraction(1, 5), Fraction(9, 2), 1000, 10**6 + Fraction(1, 3)])
def test_poisson(mean: Fraction | int) -> None:
    drawn = poisson(SAMPLES, mean)
    assert drawn.min() >= 0
    numbers = np.arange(max(0, int(mean - 12 * float(mean) ** 0.5 - 12)), int(mean + 12 * float(mean) ** 0.5 + 40))
    assert fits(drawn, int(numbers[0]), stats.poisson(float(mean)).pmf(numbers))


@pytest.mark.parametrize("variance", [Fraction(1, 2), 30, 4000])
def test_skellam(variance: Fraction | int) -> None:
    drawn = skellam(SAMPLES, variance)
    numbers = support(float(variance) ** 0.5)
    half = float(variance) / 2
    assert fits(drawn, int(numbers[0]), stats.skellam(half, half).pmf(numbers))


def test_the_test_can_tell_a_wrong_distribution() -> None:
    numbers = support(10)
    wrong = np.exp(-(numbers.astype(float) ** 2) / (2 * 110.0))
    assert not fits(discrete_gaussian(SAMPLES, 100), int(numbers[0]), wrong)


def test_numbers_within_a_block_are_as_likely_as_they_should_be() -> None:
    """Where blocks of 32 are drawn first, their low digits must show nothing of it."""
    drawn = discrete_gaussian(SAMPLES, 2**28)
    assert fits(drawn & 31, 0, np.ones(32))


def test_a_large_mean_is_a_sum_of_parts() -> None:
    drawn = poisson(20_000, 2**28)
    centred = (drawn - 2**28) / 2**14
    assert fits((np.floor(centred * 4)).astype(np.int64), -40, np.diff(stats.norm.cdf(np.arange(-40, 41) / 4)))


@pytest.mark.parametrize("draw", [discrete_gaussian, discrete_laplace, poisson, skellam])
@pytest.mark.parametrize("size", [0, 1, 65, (1 << 16) + 1])
def test_any_size_can_be_drawn(draw: Draw, size: int) -> None:
    drawn = draw(size, Fraction(5, 2))
    assert drawn.shape == (size,)
    assert drawn.dtype == np.int64


@pytest.mark.parametrize("draw", [discrete_gaussian, discrete_laplace, poisson, skellam])
@pytest.mark.parametrize("wrong", [0, -1, 2**90])
def test_what_cannot_be_drawn_is_refused(draw: Draw, wrong: int) -> None:
    with pytest.raises(ConfigError, match="draw from"):
        draw(1, wrong)


def test_two_draws_are_never_the_same() -> None:
    assert not np.array_equal(discrete_gaussian(64, 10**6), discrete_gaussian(64, 10**6))
