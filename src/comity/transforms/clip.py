"""Clipping: a bound on how far one party, or the aggregate, can move the model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from comity.core.arrays import Array, namespace
from comity.core.checks import positive
from comity.core.contribution import Aggregate, Contribution, norms
from comity.transforms.chain import Link


@dataclass(frozen=True)
class Clip(Link):
    """Scale down to an L2 norm of at most `norm`, taken over all vectors of a contribution together.

    Before the reducer each party's contribution is clipped, at the party; after it the aggregate is, at the server
    (McMahan et al. 2018, arXiv 1710.06963).
    """

    norm: float

    def __post_init__(self) -> None:
        positive(self, "norm")

    @property
    def note(self) -> str:
        return f"clipped to a norm of {self.norm:g}"

    def encode(self, contribution: Contribution) -> Contribution:
        factor = shrinking(norms(contribution.vectors), self.norm)
        return replace(contribution, vectors=contribution.vectors.map(lambda array: array * factor))

    def decode(self, aggregate: Aggregate) -> Aggregate:
        return bounded(aggregate, self.norm)

    def apply(self, aggregate: Aggregate) -> Aggregate:
        factor = shrinking(norms(aggregate.vectors.map(lambda array: array[None, :])), self.norm)[0]
        return replace(aggregate, vectors=aggregate.vectors.map(lambda array: array * factor))


def shrinking(norm: Array, bound: float) -> Array:
    """The factors that bring vectors of these norms within `bound`."""
    xp = namespace(norm)
    one = xp.ones_like(norm)
    within = norm <= bound
    factor = xp.where(within, one, bound / xp.where(within, one, norm))
    # A norm that overflows says nothing about the direction: let admission refuse it rather than send zeros.
    return xp.where(xp.isfinite(norm), factor, one * float("nan"))


def bounded(aggregate: Aggregate, norm: float) -> Aggregate:
    """The aggregate of contributions that were clipped to `norm`; a tighter bound stays."""
    return replace(aggregate, bound=norm if aggregate.bound is None else min(norm, aggregate.bound))
