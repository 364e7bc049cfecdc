"""The terms of one attempt at one round, their hash (the context), and what a participant asks of them.

Every participant derives the context from the terms it was shown, and the context is in every key, sealed box and
signature. A coordinator that shows different models, rosters or committees to different parties therefore gets masks
that do not cancel (Pasquini et al. 2021, arXiv 2111.07380).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import comb
from typing import Annotated

from comity.protocols.secure_sum.encoding import Each, Fixed, Message, Nested, Opaque, Real, Text, Uint
from comity.protocols.secure_sum.errors import TermsError

MAX_COMMITTEE = 1024
MAX_PARTS = 64
MAX_SUBSETS = 128
"""In helper mode a party makes C(c, t) seeds: 3 for (3, 1), 10 for (5, 2), 35 for (7, 3)."""


class Ring(StrEnum):
    """What is added in: it says the mode. `HELPERS` is whole numbers mod 2³², `LATTICE` is Z_q[X]/(X^2048 + 1)."""

    HELPERS = "uint32"
    LATTICE = "q2013265921-n2048"

    @property
    def modulus(self) -> int:
        """M: two sums that differ by it look the same."""
        return 1 << 32 if self is Ring.HELPERS else 2013265921


@dataclass(frozen=True)
class Part(Message):
    """`length` consecutive coordinates that share a scale: none of them is beyond `bound` in absolute value.

    The parts of a vector stand in the order [w·Δ, w, w·metrics]: "vector", "weight", then each metric by its name.
    """

    name: Annotated[str, Text(64)]
    length: Annotated[int, Uint(8)]
    bound: Annotated[float, Real()]


@dataclass(frozen=True)
class Terms(Message):
    """All that the participants of one attempt agree on.

    Digests are SHA-256. `threshold` is t: so many helpers or members may be corrupt. `blocks` is l (1 in helper mode).
    `headroom` is kept free beside each value for noise or error, in grid steps. `clip` is the L2 norm that a party's
    vector is clipped to, `weights` the name of the weight policy, `mechanism` and `noise` the DP mechanism and its
    noise multiplier ("none", 0). `deadline` is in POSIX seconds; nothing here reads a clock. Raises `TermsError` where
    the values contradict each other.
    """

    job: Annotated[bytes, Fixed(32)]
    round: Annotated[int, Uint(8)]
    attempt: Annotated[int, Uint(4)]
    model: Annotated[bytes, Fixed(32)]
    roster: Annotated[bytes, Fixed(32)]
    committee: Annotated[bytes, Fixed(32)]
    beacon: Annotated[bytes, Opaque(64)]
    ring: Annotated[str, Text(32)]
    size: Annotated[int, Uint(4)]
    threshold: Annotated[int, Uint(4)]
    blocks: Annotated[int, Uint(4)]
    quorum: Annotated[int, Uint(4)]
    n_min: Annotated[int, Uint(4)]
    n_max: Annotated[int, Uint(4)]
    clip: Annotated[float, Real()]
    headroom: Annotated[int, Uint(4)]
    parts: Annotated[tuple[Part, ...], Each(Nested(Part), MAX_PARTS)]
    weights: Annotated[str, Text(64)]
    mechanism: Annotated[str, Text(64)]
    noise: Annotated[float, Real()]
    deadline: Annotated[float, Real()]

    def __post_init__(self) -> None:
        for fault, holds in self._requirements():
            if not holds:
                raise TermsError(fault, where="terms", mend="the coordinator announces terms that can be kept")

    def _requirements(self) -> list[tuple[str, bool]]:
        c, t, q = self.size, self.threshold, self.quorum
        subsets = self.subsets if t < c <= MAX_COMMITTEE else 0
        return [
            (f"the ring {self.ring!r} is none of {', '.join(Ring)}", self.ring in tuple(Ring)),
            (f"a committee of {c} is none of 2 to {MAX_COMMITTEE}", 2 <= c <= MAX_COMMITTEE),
            (f"{t} of {c} may be corrupt", 1 <= t < c),
            (f"a quorum of {q} does not rule out two certified sets: it is more than (c + t) / 2", 2 * q > c + t),
            (f"a quorum of {q} is more than the committee of {c}", q <= c),
            (f"{self.blocks} blocks and a threshold of {t} need more than {c} members", 1 <= self.blocks <= c - t),
            ("helpers share no blocks: l is 1", self.blocks == 1 or not self.helpers),
            (f"{subsets} seeds a party are more than {MAX_SUBSETS}", subsets <= MAX_SUBSETS),
            (f"a sum of {self.n_min} hides nobody: n_min is at least 2", self.n_min >= 2),
            (f"n_max {self.n_max} is below n_min {self.n_min}", self.n_min <= self.n_max),
            ("the vector is empty", bool(self.parts) and all(part.length > 0 for part in self.parts)),
            ("a part has no positive bound", all(part.bound > 0 for part in self.parts)),
            ("two parts have one name", len({part.name for part in self.parts}) == len(self.parts)),
            (f"the clipping norm {self.clip!r} is not positive", self.clip > 0),
            (f"the noise multiplier {self.noise!r} is negative", self.noise >= 0),
            (f"{self.n_max} parties leave no grid to round to: see n_max and headroom", self.steps >= 1),
        ]

    @property
    def helpers(self) -> bool:
        """Whether this is helper mode; otherwise it is committee mode."""
        return self.ring == Ring.HELPERS

    @property
    def modulus(self) -> int:
        return Ring(self.ring).modulus if self.ring in tuple(Ring) else 0

    @property
    def length(self) -> int:
        """The number of coordinates of a party's vector."""
        return sum(part.length for part in self.parts)

    @property
    def subsets(self) -> int:
        """How many t-subsets of the helpers have a seed: C(c, t); none in committee mode."""
        return comb(self.size, self.threshold) if self.helpers else 0

    @property
    def steps(self) -> int:
        """B, the greatest absolute value of a coordinate on the grid: n_max of them, with noise, never wrap."""
        return (self.modulus // 2 - 1) // max(1, self.n_max) - self.headroom

    @property
    def turn(self) -> tuple[int, int]:
        """(round, attempt): a participant of a job only ever goes on to a greater one."""
        return self.round, self.attempt

    @cached_property
    def context(self) -> bytes:
        """`context(self)`."""
        return context(self)


def context(terms: Terms) -> bytes:
    """ctx: SHA-256 of the canonical encoding (32 bytes), which begins with the version of the protocol."""
    return hashlib.sha256(terms.encode()).digest()


@dataclass(frozen=True)
class Floors:
    """What a participant asks at least: corruptions withstood, parties in a sum, and a noise multiplier.

    `n_max` is the most it lets be added up, which is what its resolution is fixed by. `dp` is 0 where no differential
    privacy is asked for.
    """

    t: int = 1
    n_min: int = 2
    n_max: int = 1 << 20
    dp: float = 0.0


def refusals(terms: Terms, floors: Floors) -> tuple[str, ...]:
    """Why a participant with these floors does not take part: one sentence each, none where it does."""
    lines = [
        (terms.threshold >= floors.t, f"withstands {terms.threshold} corrupt helpers or members, not {floors.t}"),
        (terms.n_min >= floors.n_min, f"allows a sum of {terms.n_min} parties, not of {floors.n_min} at least"),
        (terms.n_max <= floors.n_max, f"allows {terms.n_max} parties, not {floors.n_max} at most"),
        (terms.noise >= floors.dp, f"adds noise of multiplier {terms.noise:g}, not {floors.dp:g} at least"),
        (floors.dp == 0 or terms.mechanism != "none", "names no mechanism of differential privacy"),
        (
            floors.dp == 0 or terms.weights == "uniform",
            "weighs parties differently, which differential privacy rules out",
        ),
    ]
    return tuple(fault for holds, fault in lines if not holds)
