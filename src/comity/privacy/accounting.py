"""ε(δ) of all that was released: `dp-accounting` composes, by privacy loss distributions or Rényi divergences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from comity.core.checks import whole
from comity.core.errors import ConfigError
from comity.privacy.mechanisms import Mechanism, Orders, library
from comity.privacy.sampling import FixedSize, Poisson, Relation, Sampling
from comity.privacy.units import U

ORDERS = np.array([x / 10 for x in range(20, 110)] + list(range(11, 64)) + [80, 96, 128, 192, 256, 512, 1024])
"""The Rényi orders that are tried: lower ones are the best only where ε is beyond all use.

Bounds that hold for whole orders only are infinite at the others.
"""

INTERVAL = 1e-4
"""The step to which privacy losses are rounded up, in units of ε: sums of thousands stay right to three digits."""


class Accountant(StrEnum):
    """How losses are composed: both are upper bounds."""

    PLD = "privacy loss distributions"
    RDP = "Rényi divergences"


@dataclass(frozen=True)
class Release(Generic[U]):
    """One value that is released `times` times, each time of a new sample, with what hides a unit in it."""

    value: str
    unit: U
    mechanism: Mechanism
    sampling: Sampling
    times: int = 1

    def __post_init__(self) -> None:
        whole(self, "times", 1)

    def __str__(self) -> str:
        return f"{self.value}, {self.times} ×: {self.mechanism}; sampling: {self.sampling}"


@dataclass(frozen=True)
class Account(Generic[U]):
    """Releases over one unit and one neighbouring relation, whose losses add up.

    Raises `ConfigError` where units or relations are mixed, or where nothing is released.
    """

    releases: tuple[Release[U], ...]

    @classmethod
    def of(cls, *releases: Release[U]) -> Account[U]:
        return cls(releases)

    def __post_init__(self) -> None:
        if not self.releases:
            raise ConfigError("an account of no releases", where="privacy", mend="name what is released")
        _same("units", {str(release.unit) for release in self.releases})
        _same("neighbouring relations", {release.sampling.relation.value for release in self.releases})

    def __add__(self, other: Account[U]) -> Account[U]:
        return Account(self.releases + other.releases)

    @property
    def unit(self) -> U:
        return self.releases[0].unit

    @property
    def relation(self) -> Relation:
        return self.releases[0].sampling.relation

    @property
    def accountant(self) -> Accountant:
        """Loss distributions where each release has one, which is tighter; else Rényi divergences."""
        return Accountant.PLD if all(_has_loss(release) for release in self.releases) else Accountant.RDP

    def epsilon(self, delta: float, by: Accountant | None = None) -> float:
        """The least ε that is proven for this δ; infinity where none is.

        Raises `ConfigError` for a δ outside (0, 1), or an accountant that cannot take a release.
        """
        _probability(delta)
        if self._chosen(by) is Accountant.PLD:
            multiplier = _one_gaussian(self.releases)
            if multiplier is not None:
                return float(library().get_epsilon_gaussian(multiplier, delta))
            return float(_distribution(self.releases).get_epsilon_for_delta(delta))
        return _rdp_epsilon(sum(renyi(release) for release in self.releases), delta)

    def delta(self, epsilon: float, by: Accountant | None = None) -> float:
        """The least δ that is proven for this ε."""
        if self._chosen(by) is Accountant.PLD:
            return float(_distribution(self.releases).get_delta_for_epsilon(epsilon))
        divergence = sum(renyi(release) for release in self.releases)
        return float(library().rdp.rdp_privacy_accountant.compute_delta(ORDERS, divergence, epsilon)[0])

    def after(self, part: float) -> Account[U]:
        """The account when this part of the run, in (0, 1], is done; what is released once has been from the start."""
        return Account(tuple(replace(release, times=max(1, round(part * release.times))) for release in self.releases))

    def _chosen(self, by: Accountant | None) -> Accountant:
        if by is Accountant.PLD and self.accountant is not by:
            unfit = next(release for release in self.releases if not _has_loss(release))
            raise ConfigError(
                "there is no loss distribution for this release",
                where=str(unfit),
                mend="account by Rényi divergences (Accountant.RDP)",
            )
        return by or self.accountant


def renyi(release: Release[U]) -> NDArray[np.float64]:
    """A bound on the Rényi divergence at each of `ORDERS` of all the times of one release."""
    sampling, apart, mechanism = release.sampling, release.sampling.relation.apart, release.mechanism
    event = mechanism.event(apart)
    normal = event is not None and isinstance(event, library().GaussianDpEvent)
    match sampling:
        case Poisson(probability) if probability < 1:
            if normal:
                once = _library_rdp(library().PoissonSampledDpEvent(probability, event), Relation.ADD_OR_REMOVE)
            else:
                once = amplified(mechanism.renyi(ORDERS, apart), probability)
        case FixedSize(cohort, population) if cohort < population:
            if not normal:
                raise ConfigError(
                    "no amplification is proven here for a cohort of fixed size under this noise",
                    where=str(release),
                    mend="use Gaussian noise, Poisson sampling, or Full(Relation.REPLACE), which claims none",
                )
            chosen = library().SampledWithoutReplacementDpEvent(population, cohort, event)
            once = _library_rdp(chosen, Relation.REPLACE)
        case _:
            once = mechanism.renyi(ORDERS, apart)
    return release.times * once


def amplified(divergence: NDArray[np.float64], probability: float) -> NDArray[np.float64]:
    """The Rényi divergence at whole `ORDERS` after Poisson sampling of any mechanism with this one at `ORDERS`.

    Zhu and Wang 2019 (Poisson subsampled Rényi differential privacy), theorem 5; infinite at other orders. Sums run
    over all whole orders from 2, so it is finite for orders up to 63.
    """
    known = {int(order): value for order, value in zip(ORDERS, divergence, strict=True) if order == int(order)}
    result = np.full(len(ORDERS), np.inf)
    stay, go = math.log1p(-probability), math.log(probability)
    for place, order in enumerate(ORDERS):
        alpha = int(order)
        if alpha != order or alpha >= 64:
            continue
        terms = [(alpha - 1) * stay + math.log(alpha * probability - probability + 1)]
        for chosen in range(2, alpha + 1):
            ways = math.log(math.comb(alpha, chosen)) + (alpha - chosen) * stay + chosen * go
            factor = 0.0 if chosen == 2 else math.log(3)
            terms.append(factor + ways + (chosen - 1) * known[chosen])
        # Divergences are jointly convex: those of a sample's release are never above those of everybody's.
        result[place] = min(np.logaddexp.reduce(terms) / (alpha - 1), known[alpha])
    return result


def _one_gaussian(releases: Iterable[Release[U]]) -> float | None:
    """The multiplier of the one Gaussian that all releases together are, where they are: its ε has a closed form."""
    square = 0.0
    for release in releases:
        event = release.mechanism.event(release.sampling.relation.apart)
        if _probability_of(release) < 1 or not isinstance(event, library().GaussianDpEvent):
            return None
        square += release.times / event.noise_multiplier**2
    return 1 / math.sqrt(square)


def _probability_of(release: Release[U]) -> float:
    return release.sampling.probability if isinstance(release.sampling, Poisson) else 1.0


def _distribution(releases: Iterable[Release[U]]) -> Any:
    """The loss distribution of all releases together."""
    dp = library()
    total = dp.pld.privacy_loss_distribution.identity(INTERVAL)
    for release in releases:
        event, times = release.mechanism.event(release.sampling.relation.apart), release.times
        probability = _probability_of(release)
        if isinstance(event, dp.GaussianDpEvent) and probability == 1:
            # Gaussians add up to a Gaussian, which is exact and saves the convolution.
            event, times = dp.GaussianDpEvent(event.noise_multiplier / math.sqrt(times)), 1
        once = _loss(event, probability)
        total = total.compose(once.self_compose(times) if times > 1 else once)
    return total


@lru_cache(maxsize=8)
def _loss(event: Any, probability: float) -> Any:
    """The loss distribution of one event, of a Poisson sample: most of the time goes here, so it is kept."""
    dp = library()
    losses = dp.pld.privacy_loss_distribution
    options = {"value_discretization_interval": INTERVAL, "sampling_prob": probability}
    if isinstance(event, dp.GaussianDpEvent):
        return losses.from_gaussian_mechanism(event.noise_multiplier, **options)
    if isinstance(event, dp.LaplaceDpEvent):
        return losses.from_laplace_mechanism(event.noise_multiplier, **options)
    return losses.from_discrete_laplace_mechanism(event.noise_parameter, event.sensitivity, **options)


def _has_loss(release: Release[U]) -> bool:
    sampling = release.sampling
    amplified_otherwise = isinstance(sampling, FixedSize) and sampling.cohort < sampling.population
    return not amplified_otherwise and release.mechanism.event(sampling.relation.apart) is not None


def _library_rdp(event: Any, relation: Relation) -> Orders:
    dp = library()
    replaced = relation is Relation.REPLACE
    meant = dp.NeighboringRelation.REPLACE_ONE if replaced else dp.NeighboringRelation.ADD_OR_REMOVE_ONE
    composed: Callable[[Any], Any] = dp.rdp.RdpAccountant(ORDERS, meant).compose
    return np.asarray(composed(event).rdp)


def _rdp_epsilon(divergence: Any, delta: float) -> float:
    return float(library().rdp.rdp_privacy_accountant.compute_epsilon(ORDERS, divergence, delta)[0])


def _same(what: str, named: set[str]) -> None:
    if len(named) > 1:
        raise ConfigError(
            f"losses over different {what} do not add up: {'; '.join(sorted(named))}",
            where="privacy",
            mend="keep one account for each",
        )


def _probability(delta: float) -> None:
    if not 0 < delta < 1:
        raise ConfigError(f"δ = {delta} is no probability of failure", where="privacy", mend="give a δ in (0, 1)")
