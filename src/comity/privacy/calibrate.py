"""How much noise, how large a cohort or how many rounds a budget allows, and what each choice leaves of the signal.

All is for Gaussian noise on a sum of clipped contributions, once a round. Unit by unit the figures are the same: what
they protect is the unit that is sampled and clipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from comity.core.checks import positive
from comity.core.errors import ConfigError, MissingDependency
from comity.privacy.accounting import Account, Accountant, Release
from comity.privacy.mechanisms import Gaussian
from comity.privacy.sampling import FixedSize, Full, Poisson, Sampling
from comity.privacy.units import PartyLevel

PRECISION = 1e-3
"""Noise is found to one part in a thousand, on the safe side."""

_MOST = 1 << 40

Policy = type[Poisson] | type[FixedSize] | type[Full]


@dataclass(frozen=True)
class Budget:
    """The ε and δ that may be spent."""

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        positive(self, "epsilon")
        if not 0 < self.delta < 1:
            raise ConfigError(f"δ = {self.delta} is no probability", where="Budget.delta", mend="give one in (0, 1)")


@dataclass(frozen=True)
class Choice:
    """One way to spend a budget: noise of `multiplier` × the clipping norm on sums of `cohort`, `rounds` times."""

    multiplier: float
    cohort: int
    rounds: int
    sampling: Sampling
    epsilon: float
    delta: float

    def signal_to_noise(self, dimension: int) -> float:
        """The sum of a round's contributions over its noise, as L2 norms in expectation, for models of `dimension`.

        The signal is the most there can be: all contributions as long as the clipping norm, and of one mind. Over a run
        in which rounds agree it grows with the root of their number.
        """
        return self.cohort / (self.multiplier * math.sqrt(dimension))


def noise_for(budget: Budget, cohort: int, population: int, rounds: int, policy: Policy = Poisson) -> Choice:
    """The least noise for a cohort and a number of rounds.

    Raises `ConfigError` where no noise suffices.
    """
    sampling = policy.of(cohort, population)

    def epsilon(multiplier: float, by: Accountant | None) -> float:
        return _account(multiplier, sampling, rounds).epsilon(budget.delta, by)

    return _choice(least(epsilon, budget.epsilon), cohort, rounds, sampling, budget)


def cohort_for(budget: Budget, multiplier: float, population: int, rounds: int, policy: Policy = Poisson) -> Choice:
    """The largest cohort for given noise and rounds: the most signal that the budget allows.

    Raises `ConfigError` where even a cohort of one costs too much.
    """

    def epsilon(cohort: int, by: Accountant | None) -> float:
        return _account(multiplier, policy.of(cohort, population), rounds).epsilon(budget.delta, by)

    cohort = _greatest(epsilon, budget.epsilon, population, "even a cohort of one costs too much")
    return _choice(multiplier, cohort, rounds, policy.of(cohort, population), budget)


def rounds_for(budget: Budget, multiplier: float, cohort: int, population: int, policy: Policy = Poisson) -> Choice:
    """The largest number of rounds for given noise and cohort.

    Raises `ConfigError` where even one round costs too much.
    """
    sampling = policy.of(cohort, population)

    def epsilon(rounds: int, by: Accountant | None) -> float:
        return _account(multiplier, sampling, rounds).epsilon(budget.delta, by)

    rounds = _greatest(epsilon, budget.epsilon, _MOST, "even one round costs too much")
    return _choice(multiplier, cohort, rounds, sampling, budget)


def plan(
    budget: Budget, cohorts: Iterable[int], population: int, rounds: int, policy: Policy = Poisson
) -> tuple[Choice, ...]:
    """The least noise for each of several cohorts."""
    return tuple(noise_for(budget, cohort, population, rounds, policy) for cohort in cohorts)


def least(epsilon: Callable[[float, Accountant | None], float], target: float) -> float:
    """The least x with epsilon(x, None) ≤ target, for an ε that falls with x; up to `PRECISION`, on the safe side.

    It is first looked for by Rényi divergences, which cost little and are never below.
    """
    rough = _least(lambda x: epsilon(x, Accountant.RDP), target, 1.0)
    if epsilon(rough, None) == epsilon(rough, Accountant.RDP):
        return rough
    return _least(lambda x: epsilon(x, None), target, rough)


def _least(epsilon: Callable[[float], float], target: float, guess: float) -> float:
    try:
        from scipy.optimize import brentq
    except ImportError as error:
        raise MissingDependency.of("scipy", "privacy", "calibration of noise") from error

    @cache
    def gap(log_x: float) -> float:
        return math.log(min(max(epsilon(math.exp(log_x)), 1e-12), 1e12) / target)

    high = math.log(guess)
    while gap(high) > 0:
        high += math.log(2)
        if high > math.log(_MOST):
            raise ConfigError(f"no noise gives ε = {target}", where="privacy", mend="allow a larger ε or δ")
    low = high - math.log(1.5)
    while gap(low) <= 0:
        high, low = low, low - math.log(2)
        if low < -math.log(_MOST):
            raise ConfigError(f"ε = {target} needs no noise at all", where="privacy", mend="give a smaller ε")
    # What is aimed at is a little above the least, so that what is found is rarely below.
    found = PRECISION / 2 + float(brentq(gap, low, high, xtol=PRECISION / 4))
    while gap(found) > 0:
        found += PRECISION / 4
    return math.exp(found)


def _greatest(epsilon: Callable[[int, Accountant | None], float], target: float, most: int, refusal: str) -> int:
    """The greatest whole number up to `most` with epsilon(n, None) ≤ target, for an ε that grows with n."""

    def reach(start: int, fits: Callable[[int], bool]) -> int:
        good, step = start, max(1, start // 16)
        while good < most and fits(min(most, good + step)):
            good, step = min(most, good + step), 2 * step
        bad = min(most, good + step)
        while good < most and bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if fits(middle) else (good, middle)
        return good

    def fits(number: int) -> bool:
        return epsilon(number, None) <= target

    rough = reach(0, lambda number: epsilon(number, Accountant.RDP) <= target)
    found = reach(rough, fits)
    if found == 0:
        raise ConfigError(f"{refusal} for ε = {target}", where="privacy", mend="add noise, or allow a larger ε or δ")
    return found


def _account(multiplier: float, sampling: Sampling, rounds: int) -> Account[PartyLevel]:
    return Account.of(Release("a sum of contributions", PartyLevel(), Gaussian(multiplier), sampling, rounds))


def _choice(multiplier: float, cohort: int, rounds: int, sampling: Sampling, budget: Budget) -> Choice:
    spent = _account(multiplier, sampling, rounds).epsilon(budget.delta)
    return Choice(multiplier, cohort, rounds, sampling, spent, budget.delta)
