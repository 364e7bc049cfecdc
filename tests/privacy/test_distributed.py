"""Shares of noise: as little as the fewest honest parties need, and no more than the papers' bounds ask for."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import ConfigError
from comity.privacy.accounting import Account, Accountant, Release
from comity.privacy.calibrate import Budget
from comity.privacy.discrete import discrete_gaussian
from comity.privacy.distributed import Rounded, gaussian_share, skellam_share
from comity.privacy.mechanisms import DiscreteGaussianSum, Gaussian, Mechanism, Skellam
from comity.privacy.sampling import Full, Poisson, Relation, Sampling
from comity.privacy.units import PartyLevel

BUDGET = Budget(4.0, 1e-5)
VECTOR = Rounded(norm=5000.0, dimension=10_000, bias=math.exp(-0.5))
SHARES = [gaussian_share, skellam_share]


def spent(mechanism: Mechanism, times: int = 1, sampling: Sampling | None = None) -> float:
    release = Release("a sum", PartyLevel(), mechanism, sampling or Full(), times)
    return Account.of(release).epsilon(BUDGET.delta, Accountant.RDP)


@given(seed=st.integers(0, 10**6), dimension=st.integers(1, 60), norm=st.floats(0.5, 50))
def test_a_rounded_vector_keeps_its_bounds(seed: int, dimension: int, norm: float) -> None:
    rng = np.random.default_rng(seed)
    vector = rng.standard_normal(dimension)
    vector *= norm / np.linalg.norm(vector)
    rounded = np.floor(vector + rng.random(dimension))
    bound = Rounded(norm, dimension)
    assert np.linalg.norm(rounded) <= bound.norm2 == norm + math.sqrt(dimension)
    assert np.abs(rounded).sum() <= bound.norm1


def test_conditional_rounding_adds_less_to_a_long_vector() -> None:
    """Kairouz 2021: √(c² + d/4 + √(2 ln 1/β)·(c + √d/2)); for c = 100, d = 10⁴, β = e^(−½) it is √12,650."""
    assert Rounded(100.0, 10_000, bias=math.exp(-0.5)).norm2 == pytest.approx(math.sqrt(12_650))
    assert Rounded(100.0, 10_000).norm2 == 200
    assert Rounded(1.0, 1, bias=1e-12).norm2 == 2


def test_rounded_vectors_keep_their_bound_as_often_as_is_said() -> None:
    rng = np.random.default_rng(4)
    bound = Rounded(30.0, 400, bias=0.6)
    vector = rng.standard_normal(400)
    vector *= 30.0 / np.linalg.norm(vector)
    norms = np.linalg.norm(np.floor(vector + rng.random((4000, 400))), axis=1)
    assert (norms <= bound.norm2).mean() >= 0.4


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("sampling", [Full(), Full(Relation.REPLACE), Poisson(0.1)])
def test_shares_are_enough_and_no_more_than_enough(share: type, sampling: Sampling) -> None:
    made = share(BUDGET, VECTOR, 30, times=50, sampling=sampling)
    assert spent(made.mechanism, 50, sampling) <= BUDGET.epsilon
    less = float(made.variance) * 0.996
    narrower = (
        DiscreteGaussianSum(math.sqrt(less), 30, VECTOR.norm2, VECTOR.norm1, VECTOR.dimension)
        if share is gaussian_share
        else Skellam(30 * less, VECTOR.norm2, VECTOR.norm1)
    )
    assert spent(narrower, 50, sampling) > BUDGET.epsilon


@pytest.mark.parametrize("share", SHARES)
def test_shares_on_a_fine_grid_add_up_to_central_noise(share: type) -> None:
    """As Kairouz 2021 found at 16 to 18 bits: the same total, to a thousandth, where the grid is fine."""
    fine = Rounded(norm=2e5, dimension=1000, bias=math.exp(-0.5))
    total = math.sqrt(float(share(BUDGET, fine, 100, times=10).variance) * 100)
    assert spent(Gaussian(total / 2e5), 10) == pytest.approx(BUDGET.epsilon, rel=2e-3)


@pytest.mark.parametrize("share", SHARES)
def test_the_fewer_are_honest_the_more_each_adds(share: type) -> None:
    few, many = (share(BUDGET, VECTOR, honest) for honest in (10, 40))
    assert float(few.variance / many.variance) == pytest.approx(4, rel=5e-3)


def test_more_than_the_fewest_only_lower_the_loss() -> None:
    made = gaussian_share(BUDGET, VECTOR, 10)
    std = math.sqrt(float(made.variance))
    more = DiscreteGaussianSum(std, 25, VECTOR.norm2, VECTOR.norm1, VECTOR.dimension)
    assert spent(more) < spent(made.mechanism)


def test_a_share_is_a_rational_that_can_be_drawn_exactly() -> None:
    made = gaussian_share(BUDGET, VECTOR, 30)
    assert isinstance(made.variance, Fraction)
    assert 1024 % made.variance.denominator == 0
    drawn = discrete_gaussian(200_000, made.variance)
    assert drawn.var() == pytest.approx(float(made.variance), rel=0.03)


def test_a_share_is_never_narrower_than_the_bounds_can_tell() -> None:
    """Many parties on a coarse grid: below half a step nothing is known of the sum."""
    made = gaussian_share(Budget(50.0, 1e-5), Rounded(0.01, 1), 1000)
    assert made.variance >= Fraction(1, 4)


@pytest.mark.parametrize("wrong", [{"norm": 0.0}, {"dimension": 0}, {"bias": 1.0}])
def test_bounds_that_bound_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Rounded(**{"norm": 1.0, "dimension": 1, **wrong})  # type: ignore[arg-type]  # one is wrong on purpose
