"""Who takes part in a round, as far as privacy may count on it.

Each policy has the neighbouring relation under which its amplification is proven, so that a figure for one sampling
cannot be claimed for another: Poisson sampling is accounted under add-or-remove, a cohort of fixed size under
replace-one, where the same noise protects far less (arXiv 2405.20769 lists the traps).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from comity.core.checks import whole
from comity.core.errors import ConfigError


class Relation(StrEnum):
    """What may differ between two data sets that must be hard to tell apart."""

    ADD_OR_REMOVE = "one unit more or fewer"
    REPLACE = "one unit's data replaced by any other"
    ZERO_OUT = "one unit's contribution replaced by nothing"

    @property
    def apart(self) -> int:
        """How far apart two neighbours' sums can lie, in units of the largest contribution (the clipping norm)."""
        return 2 if self is Relation.REPLACE else 1


@dataclass(frozen=True)
class Poisson:
    """Each unit takes part with this probability, by its own coin, in secret and anew each round.

    Nothing else may decide who takes part: neither a cap on the cohort nor "the first k that answer". Those who drop
    out lower the chance to be seen and do no harm, if the noise does not shrink with them.
    """

    probability: float

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise ConfigError(
                f"a sampling probability of {self.probability} is none",
                where="Poisson.probability",
                mend="give a number above 0, and at most 1",
            )

    @classmethod
    def of(cls, cohort: int, population: int) -> Poisson:
        """The coin that gives `cohort` of `population` on average."""
        return cls(cohort / population)

    @property
    def relation(self) -> Relation:
        return Relation.ADD_OR_REMOVE

    def __str__(self) -> str:
        return f"Poisson, each with probability {self.probability:.6g}"


@dataclass(frozen=True)
class FixedSize:
    """Exactly `cohort` of `population` units, every such set as likely, in secret and anew each round.

    There is no Poisson amplification to claim: the relation is replace-one, under which sums of contributions clipped
    to norm C lie up to 2·C apart, and the proven amplification is smaller (Wang, Balle, Kasiviswanathan 2019,
    arXiv 1808.00087).
    """

    cohort: int
    population: int

    def __post_init__(self) -> None:
        whole(self, "cohort", 1)
        whole(self, "population", self.cohort)

    @classmethod
    def of(cls, cohort: int, population: int) -> FixedSize:
        """`cohort` of `population`."""
        return cls(cohort, population)

    @property
    def relation(self) -> Relation:
        return Relation.REPLACE

    def __str__(self) -> str:
        return f"fixed size, {self.cohort} of {self.population}"


@dataclass(frozen=True)
class Full:
    """No amplification: everybody may take part every time, or who does is not random, or is not secret.

    Over-selection with the fastest kept, cohorts that a server chooses, DP-FTRL and local privacy are all of this kind.
    """

    relation: Relation = Relation.ZERO_OUT

    @classmethod
    def of(cls, cohort: int, population: int) -> Full:
        """The policy does not depend on the cohort."""
        return cls()

    def __str__(self) -> str:
        return "no sampling that could be relied on"


Sampling = Poisson | FixedSize | Full
