"""What a budget allows: the least noise, the largest cohort, the most rounds, and nothing beyond."""

from __future__ import annotations

import pytest

from comity.core.errors import ConfigError
from comity.privacy.accounting import Account, Release
from comity.privacy.calibrate import Budget, Policy, cohort_for, noise_for, plan, rounds_for
from comity.privacy.mechanisms import Gaussian
from comity.privacy.sampling import FixedSize, Full, Poisson, Sampling
from comity.privacy.units import PartyLevel


def epsilon(multiplier: float, sampling: Sampling, rounds: int, delta: float) -> float:
    release = Release("a sum", PartyLevel(), Gaussian(multiplier), sampling, rounds)
    return Account.of(release).epsilon(delta)


@pytest.mark.long
def test_the_noise_of_a_published_value_is_found_again() -> None:
    """Poisson, q = 0.01, 1,000 rounds, ε = 1.8282 at δ = 10⁻⁵: the multiplier is 1."""
    choice = noise_for(Budget(1.8283, 1e-5), cohort=10, population=1000, rounds=1000)
    assert choice.multiplier == pytest.approx(1.0, rel=1e-3)
    assert choice.epsilon <= 1.8283


@pytest.mark.parametrize("policy", [Poisson, FixedSize, Full])
def test_noise_is_enough_and_no_more_than_enough(policy: Policy) -> None:
    budget = Budget(2.0, 1e-5)
    choice = noise_for(budget, 20, 100, 8, policy)
    assert choice.sampling == policy.of(20, 100)
    assert choice.epsilon == epsilon(choice.multiplier, choice.sampling, 8, budget.delta) <= 2.0
    assert epsilon(choice.multiplier * 0.998, choice.sampling, 8, budget.delta) > 2.0


@pytest.mark.long
def test_a_cohort_of_fixed_size_needs_more_noise_than_a_poisson_sample() -> None:
    """Full participation, too, once replacing is what neighbours differ by."""
    budget = Budget(2.0, 1e-5)
    poisson, fixed, full = (noise_for(budget, 20, 100, 2, policy).multiplier for policy in (Poisson, FixedSize, Full))
    assert poisson < full
    assert fixed > 2 * poisson


def test_as_many_rounds_as_the_budget_allows() -> None:
    choice = rounds_for(Budget(3.0, 1e-5), multiplier=10.0, cohort=50, population=50, policy=Full)
    assert epsilon(10.0, Full(), choice.rounds, 1e-5) == choice.epsilon <= 3.0
    assert epsilon(10.0, Full(), choice.rounds + 1, 1e-5) > 3.0


@pytest.mark.parametrize("policy", [Poisson, FixedSize])
def test_as_large_a_cohort_as_the_budget_allows(policy: Policy) -> None:
    choice = cohort_for(Budget(1.0, 1e-5), multiplier=3.0, population=200, rounds=20, policy=policy)
    assert 1 <= choice.cohort < 200
    assert choice.epsilon <= 1.0 < epsilon(3.0, policy.of(choice.cohort + 1, 200), 20, 1e-5)


def test_everybody_may_take_part_where_the_budget_allows_it() -> None:
    assert cohort_for(Budget(8.0, 1e-5), multiplier=10.0, population=40, rounds=2).cohort == 40


@pytest.mark.long
def test_larger_cohorts_have_more_signal_for_the_same_budget() -> None:
    choices = plan(Budget(2.0, 1e-5), [10, 40, 160], population=1000, rounds=10)
    assert [choice.cohort for choice in choices] == [10, 40, 160]
    signals = [choice.signal_to_noise(10_000) for choice in choices]
    assert signals == sorted(signals)
    assert signals[0] == pytest.approx(10 / (choices[0].multiplier * 100))


def test_what_no_choice_can_give_is_refused() -> None:
    with pytest.raises(ConfigError, match="even one round"):
        rounds_for(Budget(0.1, 1e-6), multiplier=0.5, cohort=5, population=5, policy=Full)
    with pytest.raises(ConfigError, match="cohort of one"):
        cohort_for(Budget(0.01, 1e-6), multiplier=0.3, population=5, rounds=100)


@pytest.mark.parametrize(("spent", "failure"), [(0.0, 1e-5), (-1.0, 1e-5), (1.0, 0.0), (1.0, 1.0)])
def test_a_budget_is_a_bound_above_nothing(spent: float, failure: float) -> None:
    with pytest.raises(ConfigError):
        Budget(spent, failure)
