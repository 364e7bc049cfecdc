"""Synchronous rounds: a cohort is selected, and the round closes when it has answered or time is up."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from comity.coordination.policies import Tally
from comity.core.checks import nonnegative, positive, whole
from comity.core.errors import ConfigError


@dataclass(frozen=True)
class Rounds:
    """`count` synchronous rounds over cohorts drawn uniformly without replacement, as in FedAvg (arXiv 1602.05629).

    A round asks `cohort` parties (everyone when None) and `over_select` more as a share of the cohort, and closes

    - when `cohort` contributions are accepted;
    - at `deadline` seconds, if `quorum` of them are;
    - when nobody is outstanding and nobody is left to ask, if `quorum` of them are.

    `quorum=None` is whatever is there, at least one. A round that cannot reach its quorum is abandoned and tried again
    with a fresh cohort after `pause` seconds, `attempts` tries in all; then the run fails.

    A party that is lost, or whose lease of `lease` seconds runs out, is replaced by one not yet asked in this attempt,
    as soon as fewer than `cohort` parties have answered or still may. A party whose contribution is rejected has
    answered: its seat stays empty, so that a faulty party cannot draw others in.

    With a `separation` of s a party that was counted in a round is not asked again before s rounds later, so that it is
    counted in ⌈count / s⌉ rounds at most: what DP-FTRL rests on (`CorrelatedNoise`). It needs `cohort` × s parties.

    Bonawitz et al. 2019 (arXiv 1902.01046) select 130 % of the cohort: `over_select=0.3`.
    """

    count: int
    cohort: int | None = None
    over_select: float = 0.0
    quorum: int | None = None
    deadline: float | None = None
    lease: float | None = None
    attempts: int = 3
    pause: float = 0.0
    separation: int = 1

    def __post_init__(self) -> None:
        whole(self, "count", 1)
        whole(self, "cohort", 1, optional=True)
        whole(self, "quorum", 1, optional=True)
        whole(self, "attempts", 1)
        whole(self, "separation", 1)
        positive(self, "deadline", "lease", optional=True, unit="of seconds")
        nonnegative(self, "pause", unit="of seconds")
        if not 0 <= self.over_select < float("inf"):
            raise ConfigError(
                f"over_select is {self.over_select!r}",
                where="Rounds.over_select",
                mend="give the extra share as 0 or more, for example 0.3 for 130 % of the cohort",
            )
        if self.over_select and self.cohort is None:
            raise ConfigError(
                "over_select with a cohort of everyone",
                where="Rounds.over_select",
                mend="give a cohort smaller than the population, or leave over_select at 0",
            )
        if self.separation > 1 and self.cohort is None:
            raise ConfigError(
                f"a separation of {self.separation} with a cohort of everyone",
                where="Rounds.separation",
                mend="give a cohort, so that others can take part while some rest",
            )
        if self.quorum is not None and self.cohort is not None and self.quorum > self.cohort:
            raise ConfigError(
                f"a quorum of {self.quorum} in a cohort of {self.cohort}",
                where="Rounds.quorum",
                mend=f"give a quorum of at most {self.cohort}, or a larger cohort",
            )

    @property
    def carries(self) -> bool:
        return False

    def check(self, parties: int) -> None:
        for name in ("cohort", "quorum"):
            value = getattr(self, name)
            if value is not None and value > parties:
                raise ConfigError(
                    f"a {name} of {value} in a population of {parties}",
                    where=f"Rounds.{name}",
                    mend=f"give a {name} of at most {parties}, or None",
                )

        if self.cohort is not None and self.cohort * self.separation > parties:
            raise ConfigError(
                f"cohorts of {self.cohort}, {self.separation} rounds apart, in a population of {parties}",
                where="Rounds.separation",
                mend=f"give a separation of at most {parties // self.cohort}, or a smaller cohort",
            )

    def target(self, parties: int) -> int:
        return parties if self.cohort is None else self.cohort

    def least(self, parties: int) -> int:
        return 1 if self.quorum is None else self.quorum

    def wanted(self, tally: Tally, parties: int) -> int:
        cohort = self.target(parties)
        if not tally.asked:
            return min(ceil(round(cohort * (1 + self.over_select), 9)), parties)
        return cohort - tally.accepted - tally.outstanding - tally.rejected

    def factor(self, staleness: int) -> float | None:
        return 1.0
