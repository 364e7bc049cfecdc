"""What a round policy must say; the coordinator does the rest."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Tally(NamedTuple):
    """Where an attempt stands: parties asked and rejected in it, leases outstanding, contributions accepted."""

    asked: int
    outstanding: int
    accepted: int
    rejected: int


class Policy(Protocol):
    """When parties are asked, and when a round closes.

    `count` is the number of rounds; `attempts` bounds the tries at one round and `pause` is the wait between them;
    `deadline` and `lease` are durations (all in seconds, None: unbounded). `carries` says that work which is under way
    when a round closes counts for a later one. `separation` is how many rounds on a party may be asked again once it
    has been counted.
    """

    @property
    def count(self) -> int: ...
    @property
    def attempts(self) -> int: ...
    @property
    def pause(self) -> float: ...
    @property
    def deadline(self) -> float | None: ...
    @property
    def lease(self) -> float | None: ...
    @property
    def carries(self) -> bool: ...
    @property
    def separation(self) -> int: ...

    def check(self, parties: int) -> None:
        """Raise `ConfigError` where the policy asks for more than a population of `parties` has."""
        ...

    def target(self, parties: int) -> int:
        """How many accepted contributions close a round."""
        ...

    def least(self, parties: int) -> int:
        """How many accepted contributions a commit needs at least."""
        ...

    def wanted(self, tally: Tally, parties: int) -> int:
        """How many more parties to ask now (0 or fewer: none)."""
        ...

    def factor(self, staleness: int) -> float | None:
        """What a contribution counts whose model is `staleness` versions old; None refuses it."""
        ...
