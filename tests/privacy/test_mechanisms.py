"""The cost of noise: bounds on divergences, held against divergences that are summed up term by term."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from comity.core.errors import ConfigError
from comity.privacy.mechanisms import ClippingSplit, DiscreteGaussianSum, Skellam

WHOLE = np.array([2.0, 3.0, 5.0, 8.0, 16.0])
SUPPORT = np.arange(-4000, 4001)


def divergence(order: float, log_p: NDArray[np.float64], shift: int) -> float:
    """The Rényi divergence between a distribution on the integers and itself, moved by `shift`."""
    here, there = log_p[shift:], log_p[: len(log_p) - shift]
    return float(np.logaddexp.reduce(order * here + (1 - order) * there) / (order - 1))


def log_discrete_gaussian(std: float) -> NDArray[np.float64]:
    raw = -(SUPPORT.astype(float) ** 2) / (2 * std**2)
    return np.asarray(raw - np.logaddexp.reduce(raw))


@pytest.mark.parametrize("shift", [1, 3])
@pytest.mark.parametrize("std", [0.7, 2.0, 40.0])
def test_one_discrete_gaussian_costs_what_the_continuous_one_does(std: float, shift: int) -> None:
    bound = DiscreteGaussianSum(std, 1, shift, shift, 1).renyi(WHOLE, 1)
    true = [divergence(order, log_discrete_gaussian(std)[3000:-3000], shift) for order in WHOLE]
    np.testing.assert_allclose(bound, true, rtol=1e-9)


def test_the_sum_of_discrete_gaussians_is_as_close_to_one_as_tau_says() -> None:
    std, parties = 0.8, 3
    narrow = np.exp(log_discrete_gaussian(std)[3980:-3980])
    total = narrow
    for _ in range(parties - 1):
        total = np.convolve(total, narrow)
    one = np.exp(log_discrete_gaussian(std * math.sqrt(parties)))
    middle = len(total) // 2
    near = slice(middle - 6, middle + 7)
    gap = np.abs(np.log(total[near]) - np.log(one[3994:4007])).max()
    tau = DiscreteGaussianSum(std, parties, 1.0, 1.0, 1).tau
    assert 0 < gap <= tau
    assert tau == pytest.approx(10 * (math.exp(-(math.pi**2) * 0.64) + math.exp(-(math.pi**2) * 4 / 3 * 0.64)))


def test_the_bound_on_a_sum_of_discrete_gaussians_is_the_papers() -> None:
    """Kairouz, Liu, Steinke 2021, proposition 14, by hand: each of the three terms is the least somewhere."""
    far = DiscreteGaussianSum(2.0, 25, 30.0, 300.0, 400)
    assert far.tau < 1e-15
    np.testing.assert_allclose(far.renyi(WHOLE, 1), WHOLE / 2 * 9.0, rtol=1e-9)
    np.testing.assert_allclose(far.renyi(WHOLE, 2), WHOLE / 2 * 36.0, rtol=1e-9)
    coarse = DiscreteGaussianSum(0.5, 100, 10.0, 10.0, 4)
    tau, l2, l1 = coarse.tau, 2.0, 2.0
    expected = [
        min(a / 2 * l2**2 + tau * 4, a / 2 * (l2**2 + 2 * l1 * tau + 4 * tau**2), a / 2 * (l2 + 2 * tau) ** 2)
        for a in WHOLE
    ]
    np.testing.assert_allclose(coarse.renyi(WHOLE, 1), expected, rtol=1e-12)


@pytest.mark.parametrize(("variance", "shift"), [(4.0, 1), (50.0, 5), (5000.0, 20)])
def test_skellam_noise_costs_no_more_than_its_bound(variance: float, shift: int) -> None:
    log_p = stats.skellam(variance / 2, variance / 2).logpmf(SUPPORT)
    log_p = log_p[np.isfinite(log_p) & (log_p > -600)]
    bound = Skellam(variance, shift, shift).renyi(WHOLE[:4], 1)
    true = np.array([divergence(order, log_p, shift) for order in WHOLE[:4]])
    assert np.all(true <= bound)
    assert np.all(true >= WHOLE[:4] * shift**2 / (2 * variance) * 0.7)


def test_the_bound_on_skellam_noise_is_the_papers_for_whole_orders() -> None:
    noise = Skellam(variance=100.0, norm=4.0, norm1=10.0)
    assert noise.renyi(np.array([2.0]), 1)[0] == pytest.approx(2 * 16 / 200 + min((3 * 16 + 60) / 40_000, 30 / 200))
    assert noise.renyi(np.array([2.5]), 1)[0] == math.inf
    large = Skellam(1e8, 4e3, 1e4)
    np.testing.assert_allclose(large.renyi(WHOLE, 1), WHOLE * 16e6 / 2e8, rtol=1e-3)


def test_adaptive_clipping_splits_one_gaussian_in_two() -> None:
    """Andrew 2021: the accountant sees z; σ_b = m/20 for m = 100 is 5, so σ_Δ = (z⁻² − 10⁻²)^(−½)."""
    split = ClippingSplit.of(multiplier=1.0, cohort=100)
    assert split.count == 5.0
    assert split.value == pytest.approx((1 - 0.01) ** -0.5)
    assert split.value**-2 + (2 * split.count) ** -2 == pytest.approx(split.total**-2)
    assert ClippingSplit.of(1.0, 100, count=0.625).value == pytest.approx((1 - 0.64) ** -0.5)


def test_the_noise_on_the_count_must_leave_some_for_the_updates() -> None:
    with pytest.raises(ConfigError, match="leaves nothing"):
        ClippingSplit.of(multiplier=1.0, cohort=10)


def test_too_narrow_discrete_gaussians_are_refused() -> None:
    with pytest.raises(ConfigError, match="refine the grid"):
        DiscreteGaussianSum(0.4, 2, 1.0, 1.0, 1)
