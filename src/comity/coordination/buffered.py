"""Buffered asynchronous training: parties train all the time, and the server moves whenever its buffer is full."""

from __future__ import annotations

from dataclasses import dataclass

from comity.coordination.policies import Tally
from comity.coordination.staleness import Polynomial, Staleness
from comity.core.checks import nonnegative, positive, whole
from comity.core.errors import ConfigError


@dataclass(frozen=True)
class Buffered:
    """`count` server updates in the manner of FedBuff (Nguyen et al. 2022, arXiv 2106.06639).

    `concurrency` parties train at any time, each on the version of the model that was current when it was asked. An
    accepted contribution joins the buffer with the factor that `staleness` gives for the versions passed since, or is
    refused where these are more than `max_staleness`. The server updates when `buffer` contributions are there; those
    that arrive while it is still at work on an update join the next.

    Parties are drawn uniformly among those that are neither busy nor have been given this version before: a party
    trains on each version at most once. Whoever answers, is lost, or lets its lease of `lease` seconds run out is
    followed by another at once. With `buffer == concurrency` a contribution keeps its slot until its buffer commits;
    every version then starts with nobody busy and draws what `Rounds(cohort=concurrency)` draws: the synchronous
    algorithm exactly.

    When nobody is outstanding and nobody is left to ask, the server updates with what the buffer holds. If that is
    nothing, every party is asked again after `pause` seconds, `attempts` tries in all; then the run fails.
    """

    count: int
    buffer: int
    concurrency: int
    staleness: Staleness = Polynomial(0.5)
    max_staleness: int | None = None
    lease: float | None = None
    attempts: int = 3
    pause: float = 0.0

    def __post_init__(self) -> None:
        whole(self, "count", 1)
        whole(self, "buffer", 1)
        whole(self, "concurrency", 1)
        whole(self, "max_staleness", 0, optional=True)
        whole(self, "attempts", 1)
        positive(self, "lease", optional=True, unit="of seconds")
        nonnegative(self, "pause", unit="of seconds")

    @property
    def carries(self) -> bool:
        return True

    @property
    def separation(self) -> int:
        return 1

    @property
    def deadline(self) -> float | None:
        return None

    def check(self, parties: int) -> None:
        for name in ("concurrency", "buffer"):
            value = getattr(self, name)
            if value > parties:
                raise ConfigError(
                    f"a {name} of {value} in a population of {parties}",
                    where=f"Buffered.{name}",
                    mend=f"give a {name} of at most {parties}",
                )

    def target(self, parties: int) -> int:
        return self.buffer

    def least(self, parties: int) -> int:
        return 1

    def wanted(self, tally: Tally, parties: int) -> int:
        held = tally.accepted if self.buffer == self.concurrency else 0
        return self.concurrency - tally.outstanding - held

    def factor(self, staleness: int) -> float | None:
        if self.max_staleness is not None and staleness > self.max_staleness:
            return None
        return self.staleness.factor(staleness)
