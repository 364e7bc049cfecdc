"""Continuous noise has the distribution it names. Every bound here fails a right sampler less than once in 10⁹ runs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from comity.core.errors import ConfigError
from comity.privacy.continuous import gaussian, laplace

SAMPLES = 400_000
NEVER = 1e-9


def farthest(sample: NDArray[np.floating], cdf: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> float:
    """The greatest gap between the empirical distribution of `sample` and `cdf`."""
    expected = cdf(np.sort(sample).astype(np.float64))
    steps = np.arange(len(sample) + 1) / len(sample)
    return float(max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max()))


def allowed(samples: int) -> float:
    """The gap that a true sample exceeds with probability 10⁻⁹ at most (Dvoretzky, Kiefer, Wolfowitz; Massart 1990)."""
    return math.sqrt(math.log(2 / NEVER) / (2 * samples))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [SAMPLES, SAMPLES + 1])
def test_gaussian_noise_is_normal(size: int, dtype: type[np.floating]) -> None:
    noise = gaussian(size, 3.0, dtype)
    assert noise.dtype == dtype
    assert noise.shape == (size,)
    assert farthest(noise, stats.norm(scale=3.0).cdf) < allowed(size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_laplace_noise_is_laplace(dtype: type[np.floating]) -> None:
    noise = laplace(SAMPLES, 0.5, dtype)
    assert noise.dtype == dtype
    assert farthest(noise, stats.laplace(scale=0.5).cdf) < allowed(SAMPLES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("apart", [1, 2, 1 << 14])
def test_entries_are_independent_of_each_other(apart: int, dtype: type[np.floating]) -> None:
    """Also those that Box and Muller's transform makes together, 2¹⁴ apart."""
    noise = gaussian(8 << 14, 1.0, dtype).reshape(-1, 2, apart)
    both = (noise[:, 0] ** 2 + noise[:, 1] ** 2).ravel()
    crossed = np.arctan2(noise[:, 0], noise[:, 1]).ravel()
    assert farthest(both, stats.expon(scale=2).cdf) < allowed(len(both))
    assert farthest(crossed, stats.uniform(-math.pi, 2 * math.pi).cdf) < allowed(len(both))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tails_are_as_heavy_as_they_should_be(dtype: type[np.floating]) -> None:
    """Beyond four standard deviations, where a lack of random bits would show first."""
    size = 4_000_000
    far = np.abs(gaussian(size, 1.0, dtype)) > 4
    law = stats.binom(size, 2 * stats.norm.sf(4))
    assert law.ppf(NEVER / 2) <= far.sum() <= law.isf(NEVER / 2)


@pytest.mark.parametrize("draw", [gaussian, laplace])
def test_two_draws_are_never_the_same(draw: Callable[..., NDArray[np.floating]]) -> None:
    assert not np.array_equal(draw(8, 1.0), draw(8, 1.0))


@pytest.mark.parametrize("draw", [gaussian, laplace])
def test_noise_is_written_where_it_is_wanted(draw: Callable[..., NDArray[np.floating]]) -> None:
    room = np.zeros(70_001)
    assert draw(70_000, 1.0, out=room[1:]) is not None
    assert room[0] == 0
    assert np.count_nonzero(room) >= 69_990


@pytest.mark.parametrize("draw", [gaussian, laplace])
@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_short_vectors_and_no_width_are_fine(draw: Callable[..., NDArray[np.floating]], size: int) -> None:
    assert draw(size, 1.0).shape == (size,)
    assert not draw(size, 0.0).any()


@pytest.mark.parametrize("draw", [gaussian, laplace])
def test_what_cannot_be_drawn_is_refused(draw: Callable[..., NDArray[np.floating]]) -> None:
    for wrong in (-1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="width"):
            draw(4, wrong)
    with pytest.raises(ConfigError, match="float16"):
        draw(4, 1.0, np.float16)
    with pytest.raises(ConfigError, match="does not fit"):
        draw(4, 1.0, out=np.empty(5))
    with pytest.raises(ConfigError, match="does not fit"):
        draw(4, 1.0, out=np.empty(8)[::2])
