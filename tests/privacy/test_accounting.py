"""ε(δ) of what is released: published figures, and what the types refuse to claim."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core.errors import ConfigError
from comity.privacy.accounting import ORDERS, Account, Accountant, Release, amplified, renyi
from comity.privacy.mechanisms import BandedMatrix, DiscreteGaussianSum, DiscreteLaplace, Gaussian, Laplace, Mechanism
from comity.privacy.mechanisms import Skellam as SkellamNoise
from comity.privacy.sampling import FixedSize, Full, Poisson, Relation, Sampling
from comity.privacy.units import PartyLevel, PartySampleLevel, RecordLevel

PARTY = PartyLevel()
DELTA_3400 = 3400**-1.1
PUBLISHED = [
    (1.0, 0.01, 1000, 1e-5, 1.8282, 2.1014),
    (1.1, 100 / 3400, 1500, DELTA_3400, 5.2973, 5.8915),
    (0.8, 0.001, 5000, 1e-6, 0.7336, 1.5923),
    (5.0, 0.2, 500, 1e-5, 3.9393, 4.2690),
    (1.0, 1.0, 20, 1e-5, 28.3735, 30.1266),
]
"""Noise multiplier, sampling probability, rounds, δ; ε by loss distributions and by Rényi divergences."""


def account(mechanism: Mechanism, sampling: Sampling, times: int = 1) -> Account[PartyLevel]:
    return Account.of(Release("the sum of updates", PARTY, mechanism, sampling, times))


@pytest.mark.parametrize(("multiplier", "probability", "rounds", "delta", "pld", "rdp"), PUBLISHED)
def test_published_values(
    multiplier: float, probability: float, rounds: int, delta: float, pld: float, rdp: float
) -> None:
    run = account(Gaussian(multiplier), Poisson(probability), rounds)
    assert run.accountant is Accountant.PLD
    assert run.epsilon(delta) == pytest.approx(pld, abs=5e-5)
    assert run.epsilon(delta, Accountant.RDP) == pytest.approx(rdp, abs=5e-5)


def test_a_fixed_cohort_is_not_a_poisson_sample() -> None:
    """Noise of 1.1 times the sensitivity: ε = 12.81 and not 5.30. A replacement moves a sum by twice the norm."""
    fixed = FixedSize(100, 3400)
    assert account(Gaussian(2 * 1.1), fixed, 1500).epsilon(DELTA_3400) == pytest.approx(12.81, abs=5e-3)
    assert account(Gaussian(1.1), fixed, 1500).epsilon(DELTA_3400) == pytest.approx(76.71, abs=5e-3)
    assert account(Gaussian(1.1), Poisson.of(100, 3400), 1500).epsilon(DELTA_3400) == pytest.approx(5.30, abs=5e-3)


def test_a_fixed_cohort_has_only_the_amplification_that_is_proven_for_it() -> None:
    fixed = account(Gaussian(1.1), FixedSize(100, 3400))
    assert fixed.relation is Relation.REPLACE
    assert fixed.accountant is Accountant.RDP
    with pytest.raises(ConfigError, match="no loss distribution"):
        fixed.epsilon(1e-5, Accountant.PLD)
    with pytest.raises(ConfigError, match="no amplification is proven"):
        account(Laplace(1.0), FixedSize(100, 3400)).epsilon(1e-5)
    everybody = account(Gaussian(1.1), FixedSize(3400, 3400), 7)
    assert everybody.epsilon(1e-5) == account(Gaussian(1.1), Full(Relation.REPLACE), 7).epsilon(1e-5)


def test_units_do_not_mix() -> None:
    for other in (RecordLevel(), PartySampleLevel()):
        with pytest.raises(ConfigError, match="units"):
            Account.of(Release("a", PARTY, Gaussian(1.0), Full()), Release("b", other, Gaussian(1.0), Full()))  # type: ignore[misc]  # the types refuse it too
    with pytest.raises(ConfigError, match="units"):
        account(Gaussian(1.0), Full()) + Account.of(Release("b", RecordLevel(), Gaussian(1.0), Full()))  # type: ignore[arg-type]  # the types refuse it too


def test_neighbouring_relations_do_not_mix() -> None:
    with pytest.raises(ConfigError, match="neighbouring relations"):
        account(Gaussian(1.0), Poisson(0.1)) + account(Gaussian(1.0), FixedSize(1, 10))
    with pytest.raises(ConfigError, match="no releases"):
        Account[PartyLevel](())


@pytest.mark.parametrize("by", list(Accountant))
def test_losses_add_up_over_releases(by: Accountant) -> None:
    """√(1/3² + 1/4²) = 5/12: two Gaussians are one."""
    both = account(Gaussian(3.0), Full()) + account(Gaussian(4.0), Full())
    assert both.epsilon(1e-5, by) == pytest.approx(account(Gaussian(2.4), Full()).epsilon(1e-5, by), rel=1e-6)


def test_one_gaussian_has_the_epsilon_of_its_closed_form() -> None:
    """δ(ε) = Φ(1/2σ − εσ) − e^ε Φ(−1/2σ − εσ) (Balle and Wang 2018, arXiv 1805.06530)."""
    epsilon = account(Gaussian(2.0), Full()).epsilon(1e-6)

    def phi(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    assert phi(0.25 - 2 * epsilon) - math.exp(epsilon) * phi(-0.25 - 2 * epsilon) == pytest.approx(1e-6, rel=1e-3)
    assert account(Gaussian(2.0), Full()).delta(epsilon) == pytest.approx(1e-6, rel=1e-3)


def test_a_whole_run_of_correlated_noise_is_one_gaussian() -> None:
    run = account(BandedMatrix(4.0, sensitivity=2.0), Full())
    assert run.epsilon(1e-5) == account(Gaussian(2.0), Full()).epsilon(1e-5)
    assert run.after(0.1) == run


def test_replacing_a_contribution_needs_twice_the_noise_of_removing_it() -> None:
    replaced = account(Gaussian(2.0), Full(Relation.REPLACE)).epsilon(1e-5)
    assert replaced == account(Gaussian(1.0), Full(Relation.ZERO_OUT)).epsilon(1e-5)


@pytest.mark.parametrize("mechanism", [Laplace(2.0), DiscreteLaplace(2.0, 1)])
def test_laplace_noise_is_purely_private(mechanism: Mechanism) -> None:
    run = account(mechanism, Full())
    assert run.epsilon(1e-12) == pytest.approx(0.5, abs=2e-4)
    assert run.epsilon(1e-12, Accountant.RDP) == pytest.approx(0.5, abs=0.02)
    assert run.epsilon(1e-2) < run.epsilon(1e-12)


def test_the_divergence_of_laplace_noise_is_that_of_the_library() -> None:
    from dp_accounting import LaplaceDpEvent
    from dp_accounting.rdp import RdpAccountant

    theirs = RdpAccountant(list(ORDERS)).compose(LaplaceDpEvent(0.7)).rdp
    np.testing.assert_allclose(Laplace(0.7).renyi(ORDERS, 1), theirs, rtol=1e-9)


@settings(max_examples=10, deadline=None)
@given(multiplier=st.floats(0.5, 20), probability=st.floats(0.001, 0.5))
def test_the_general_amplification_is_never_below_that_of_gaussian_noise(multiplier: float, probability: float) -> None:
    """Which is exact: any mechanism's bound must be above it, and not above no amplification."""
    exact = renyi(Release("a", PARTY, Gaussian(multiplier), Poisson(probability)))
    full = Gaussian(multiplier).renyi(ORDERS, 1)
    general = amplified(full, probability)
    known = np.isfinite(general)
    assert known.sum() > 50
    assert np.all(general[known] >= exact[known] * (1 - 1e-6) - 1e-12)
    assert np.all(general[known] <= full[known])


@pytest.mark.parametrize("mechanism", [Laplace(4.0), DiscreteLaplace(4.0, 1)])
def test_sampling_amplifies_pure_privacy(mechanism: Mechanism) -> None:
    """ln(1 + q·(e^ε − 1)) at most for each of ten rounds; Rényi divergences are not made for it."""
    sampled, full = account(mechanism, Poisson(0.05), 10), account(mechanism, Full(), 10)
    assert sampled.epsilon(1e-6) == pytest.approx(10 * math.log1p(0.05 * math.expm1(0.25)), rel=0.2)
    assert sampled.epsilon(1e-6) < sampled.epsilon(1e-6, Accountant.RDP) < full.epsilon(1e-6) / 5


def test_the_closed_form_is_what_loss_distributions_come_to() -> None:
    """A Laplace release of next to nothing keeps the sum from being one Gaussian."""
    closed = account(Gaussian(3.0), Full(), 7)
    summed = closed + account(Laplace(1e6), Full())
    assert summed.epsilon(1e-5) == pytest.approx(closed.epsilon(1e-5), abs=2e-4)


@pytest.mark.parametrize("mechanism", [DiscreteGaussianSum(8.0, 4, 2.0, 4.0, 100), SkellamNoise(1e4, 20.0, 100.0)])
def test_sampling_amplifies_sums_of_discrete_noise(mechanism: Mechanism) -> None:
    sampled = account(mechanism, Poisson(0.05), 10)
    assert sampled.accountant is Accountant.RDP
    assert 0 < sampled.epsilon(1e-5) < account(mechanism, Full(), 10).epsilon(1e-5) / 2


@settings(max_examples=20, deadline=None)
@given(part=st.floats(0.01, 1), multiplier=st.floats(0.5, 10))
def test_epsilon_grows_over_a_run(part: float, multiplier: float) -> None:
    run = account(Gaussian(multiplier), Poisson(0.01), 200)
    assert run.after(part).epsilon(1e-5, Accountant.RDP) <= run.epsilon(1e-5, Accountant.RDP)
    assert run.after(1.0) == run


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, math.nan])
def test_delta_is_a_probability(delta: float) -> None:
    with pytest.raises(ConfigError, match="δ"):
        account(Gaussian(1.0), Full()).epsilon(delta)


@pytest.mark.parametrize("wrong", [0.0, -0.1, 1.1, math.nan])
def test_a_sampling_probability_is_one(wrong: float) -> None:
    with pytest.raises(ConfigError, match="sampling probability"):
        Poisson(wrong)


def test_a_cohort_is_not_larger_than_its_population() -> None:
    with pytest.raises(ConfigError):
        FixedSize(11, 10)
