"""Schedules: how the learning rate changes over the rounds."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import Protocol

from comity.core.checks import nonnegative, positive, whole


class Schedule(Protocol):
    """A factor on the learning rate that depends on the round (counted from 0)."""

    def factor(self, round: int) -> float: ...


@dataclass(frozen=True)
class Constant:
    """The same learning rate in every round."""

    def factor(self, round: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Exponential:
    """`decay ** round`."""

    decay: float

    def __post_init__(self) -> None:
        positive(self, "decay")

    def factor(self, round: int) -> float:
        return float(self.decay**round)


@dataclass(frozen=True)
class Step:
    """Multiply by `decay` every `every` rounds."""

    every: int
    decay: float = 0.1

    def __post_init__(self) -> None:
        whole(self, "every", 1)
        positive(self, "decay")

    def factor(self, round: int) -> float:
        return float(self.decay ** (round // self.every))


@dataclass(frozen=True)
class Cosine:
    """From 1 down to `floor` along half a cosine over `rounds` rounds, after a linear warm-up.

    Loshchilov and Hutter 2017, arXiv 1608.03983.
    """

    rounds: int
    floor: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        whole(self, "rounds", 1)
        nonnegative(self, "floor")
        whole(self, "warmup", 0)

    def factor(self, round: int) -> float:
        if round < self.warmup:
            return (round + 1) / self.warmup
        done = min((round - self.warmup) / max(self.rounds - self.warmup, 1), 1.0)
        return self.floor + (1 - self.floor) * (1 + cos(pi * done)) / 2
