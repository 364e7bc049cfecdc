"""Noise by a binary tree over the rounds: every running sum is made of few sums that have noise of their own.

Dwork et al. 2010 and Chan et al. 2011 (doi 10.1145/2043621.2043626); as DP-FTRL Kairouz et al. 2021, arXiv 2103.00039.
Here it streams: a round's noise is known when the round is there, and no noise is drawn that is never released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from comity.core.checks import whole

Real = TypeVar("Real", bound=np.floating)


@dataclass(frozen=True)
class BinaryTree:
    """Round t, counted from 1, closes the node over the last `t & −t` rounds; a running sum is the nodes of t's bits.

    For `rounds` rounds, of which a party takes part in any that are at least `separation` apart.
    """

    rounds: int
    separation: int = 1

    def __post_init__(self) -> None:
        whole(self, "rounds", 1)
        whole(self, "separation", 1)

    @property
    def participations(self) -> int:
        """How often one party takes part at most."""
        return -(-self.rounds // self.separation)

    @property
    def held(self) -> int:
        """How many vectors are kept between rounds: one a level."""
        return self.rounds.bit_length()

    @cached_property
    def sensitivity(self) -> float:
        """How far (L2) one party moves all nodes together, whose part in each round is at most 1 long: a bound.

        On each level a node holds no more of a party's rounds than fit into it, `separation` apart, and all nodes
        together no more than there are; the sum of squares is largest when as many nodes as can be are full. With one
        participation this is the square root of the number of levels.
        """
        total = 0
        for level in range(self.held):
            size = 1 << level
            most = min(-(-size // self.separation), self.participations)
            nodes = (self.rounds + size) // (2 * size)
            full = min(self.participations // most, nodes)
            rest = self.participations - full * most if full < nodes else 0
            total += full * most**2 + rest**2
        return float(np.sqrt(total))

    @cached_property
    def prefix_error(self) -> float:
        """Root mean square, over all rounds, of the noise in the running sum, for nodes of standard deviation 1."""
        return float(np.sqrt(np.mean([t.bit_count() for t in range(1, self.rounds + 1)])))

    @property
    def rmse(self) -> float:
        """Root mean square error of running sums for each unit of the noise multiplier and of what a party can add."""
        return self.prefix_error * self.sensitivity

    def correlated(
        self, step: int, fresh: NDArray[Real], held: Sequence[NDArray[Real]]
    ) -> tuple[NDArray[Real], tuple[NDArray[Real], ...]]:
        """The noise of round `step`, counted from 0, made of `fresh` independent noise; and what is to be kept.

        `held` are the nodes of the running sum, one a level, zeros where t has no bit: the new node replaces those
        below it, whose noise is taken back.
        """
        level = ((step + 1) & -(step + 1)).bit_length() - 1
        noise = fresh.copy()
        for node in held[:level]:
            noise -= node
        zeros = np.zeros_like(fresh)
        return noise, (*[zeros] * level, fresh, *held[level + 1 :])
