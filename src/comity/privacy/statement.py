"""What is promised to whom: ε beside its unit, the adversary, the assumptions, and every released value's mechanism."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic

from comity.core.checks import whole
from comity.privacy.accounting import Account, Accountant, Release
from comity.privacy.mechanisms import DiscreteGaussianSum, DiscreteLaplace, Skellam
from comity.privacy.sampling import FixedSize, Poisson
from comity.privacy.units import U


class Adversary(StrEnum):
    """Against whom a guarantee holds: the weakest place at which the noise is already in."""

    RECIPIENT = "whoever sees what is released, the models of all rounds included, and not the coordinator"
    COORDINATOR = "the coordinator, which sees sums that have their noise already, and whoever sees what it releases"
    EVERYBODY = "everybody but the party itself, whose contribution leaves it with its noise"


@dataclass(frozen=True)
class Statement(Generic[U]):
    """The privacy of a run: (ε, δ) after all `rounds`, and ε after some of them.

    `str` is for people, `to_json` for programs. ε is infinite, and null as JSON, where nothing is proven.
    """

    account: Account[U]
    adversary: Adversary
    assumptions: tuple[str, ...]
    rounds: int
    epsilon: float
    delta: float
    series: tuple[tuple[int, float], ...]
    accountant: Accountant

    @classmethod
    def of(
        cls,
        account: Account[U],
        adversary: Adversary,
        *,
        delta: float,
        rounds: int,
        assumptions: tuple[str, ...] = (),
        points: int = 10,
    ) -> Statement[U]:
        """The statement for releases that a run of `rounds` makes in equal parts, with ε at up to `points` rounds.

        To `assumptions` are added those that the sampling and the noise make. Raises `ConfigError` as `Account.epsilon`
        does.
        """
        marks = sorted({-(-rounds * point // points) for point in range(1, points + 1)})
        series = tuple((mark, account.after(mark / rounds).epsilon(delta)) for mark in marks)
        made = tuple(dict.fromkeys(line for release in account.releases for line in _assumed(release)))
        return cls(account, adversary, assumptions + made, rounds, series[-1][1], delta, series, account.accountant)

    def __post_init__(self) -> None:
        whole(self, "rounds", 1)

    def to_json(self) -> str:
        """The statement as a JSON object."""
        return json.dumps(self._plain(), ensure_ascii=False, indent=2, allow_nan=False)

    def __str__(self) -> str:
        after = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        value = "ε is unbounded" if math.isinf(self.epsilon) else f"ε = {self.epsilon:.4g}"
        lines = [
            f"{value} at δ = {self.delta:.3g} after {after}",
            f"  unit: {self.account.unit}",
            f"  neighbours differ by: {self.account.relation}",
            f"  against: {self.adversary}",
            f"  composed by: {self.accountant}",
            "  released:",
            *(f"    {release}" for release in self.account.releases),
        ]
        if self.assumptions:
            lines += ["  assuming that:", *(f"    {line}" for line in self.assumptions)]
        return "\n".join(lines)

    def _plain(self) -> dict[str, Any]:
        return {
            "epsilon": _finite(self.epsilon),
            "delta": self.delta,
            "rounds": self.rounds,
            "unit": str(self.account.unit),
            "relation": self.account.relation.value,
            "adversary": self.adversary.value,
            "accountant": self.accountant.value,
            "assumptions": list(self.assumptions),
            "releases": [
                {
                    "value": release.value,
                    "times": release.times,
                    "mechanism": str(release.mechanism),
                    "sampling": str(release.sampling),
                }
                for release in self.account.releases
            ],
            "series": [{"round": mark, "epsilon": _finite(epsilon)} for mark, epsilon in self.series],
        }


def _assumed(release: Release[U]) -> list[str]:
    """What must hold beyond what is checked."""
    lines = []
    match release.sampling:
        case Poisson(probability) if probability < 1:
            lines.append("who takes part is secret, and each unit's own coin decides it and nothing else")
            lines.append("the noise does not shrink where fewer take part than were drawn")
        case FixedSize(cohort, population) if cohort < population:
            lines.append("who takes part is secret, and every cohort of that size is as likely")
            lines.append("all who were drawn take part; one who drops out is made up for by nobody")
        case _:
            pass
    match release.mechanism:
        case DiscreteGaussianSum(parties=parties) if parties > 1:
            lines.append(f"{parties} of those who are in the sum add their noise as told")
        case Skellam():
            lines.append("enough of those who are in the sum add their noise as told to reach the variance")
        case DiscreteLaplace() | DiscreteGaussianSum():
            pass
        case _:
            lines.append("noise in floating point is as good as noise of real numbers (Mironov 2012)")
    return lines


def _finite(epsilon: float) -> float | None:
    return None if math.isinf(epsilon) else epsilon
