"""Chains: transforms, then exactly one reducer, then what the server does to the aggregate.

`Clip(1.0) >> Mean()` reads in the order in which values travel. A transform's two halves sit in one file: `encode`
runs at the party, `decode` at the server on the aggregate. What the server can see follows from the reducer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from comity.core.contribution import Aggregate, Contribution, Exchange
from comity.core.errors import ConfigError

Reads: TypeAlias = Literal["individual", "group", "sum"]
"""What a reducer lets the server see: every contribution, sums over groups, or one sum."""


@runtime_checkable
class Transform(Protocol):
    """A step that a contribution goes through at the party, and its counterpart on the aggregate at the server."""

    @property
    def note(self) -> str:
        """What it does to a contribution, as the end of a sentence: `clipped to a norm of 1`."""
        ...

    def encode(self, contribution: Contribution) -> Contribution: ...

    def decode(self, aggregate: Aggregate) -> Aggregate: ...


@runtime_checkable
class ServerTransform(Protocol):
    """A step on the aggregate, after the reducer."""

    def apply(self, aggregate: Aggregate) -> Aggregate: ...


class Accumulator(Protocol):
    """One round's running total; its size does not depend on how many parties are added."""

    def add(self, contribution: Contribution, factor: float = 1.0) -> None:
        """Add K parties; `factor` scales what each adds (staleness: Nguyen et al. 2022, arXiv 2106.06639)."""
        ...

    def finish(self, population: int) -> Aggregate: ...


@runtime_checkable
class Reducer(Protocol):
    """How contributions become one."""

    @property
    def reads(self) -> Reads: ...

    def start(self, exchange: Exchange) -> Accumulator: ...


class Link:
    """Anything that can stand in a chain: `a >> b`."""

    def __rshift__(self, other: Link) -> Chain:
        return Chain((*_parts(self), *_parts(other)))


def _parts(link: Link) -> tuple[Link, ...]:
    return link.parts if isinstance(link, Chain) else (link,)


@dataclass(frozen=True)
class Chain(Link):
    """The parts of an aggregator in order. Whether it is whole is checked by `split`, when a job is built."""

    parts: tuple[Link, ...]

    def split(self) -> tuple[tuple[Transform, ...], Reducer, tuple[ServerTransform, ...]]:
        """Party transforms, the reducer, server transforms. Raises `ConfigError` where the chain contradicts itself."""
        reducers = [i for i, part in enumerate(self.parts) if isinstance(part, Reducer)]
        names = " >> ".join(type(part).__name__ for part in self.parts)
        if len(reducers) != 1:
            raise ConfigError(
                f"{len(reducers) or 'no'} reducer{'s' if len(reducers) > 1 else ''} in the chain {names}",
                where="job.aggregator",
                mend="end the party's transforms in exactly one reducer, for example `Clip(1.0) >> Mean()`",
            )
        at = reducers[0]
        before, after = self.parts[:at], self.parts[at + 1 :]
        for part in before:
            if not isinstance(part, Transform):
                raise _misplaced(part, names, "before", "a transform with `encode` and `decode`")
        for part in after:
            if not isinstance(part, ServerTransform):
                raise _misplaced(part, names, "after", "a server transform with `apply`")
        return before, self.parts[at], after  # type: ignore[return-value]  # narrowed by the loops above


def conclude(chain: Chain, accumulator: Accumulator, population: int) -> Aggregate:
    """The server's half of a chain, once everything is in: finish, decode the transforms, apply what comes after."""
    before, _, after = chain.split()
    aggregate = accumulator.finish(population)
    for transform in reversed(before):
        aggregate = transform.decode(aggregate)
    for step in after:
        aggregate = step.apply(aggregate)
    return aggregate


def _misplaced(part: object, names: str, side: str, wanted: str) -> ConfigError:
    return ConfigError(
        f"{type(part).__name__} cannot stand {side} the reducer in {names}",
        where="job.aggregator",
        mend=f"only {wanted} can",
    )


def as_chain(link: Link) -> Chain:
    """A single reducer as a chain of one; a chain as it is."""
    return link if isinstance(link, Chain) else Chain((link,))
