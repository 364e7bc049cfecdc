"""Chains: transforms, then exactly one reducer, then what the server does to the aggregate.

`Clip(1.0) >> Mean()` reads in the order in which values travel. A transform's two halves sit in one file: `encode`
runs at the party, `decode` at the server on the aggregate. What the server can see follows from the reducer.

A part that learns from round to round has a state of its own, which is part of the run's saved state. The server gives
it to the part's server half, which returns the next one; what parties must know of it travels with the broadcast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from comity.core.arrays import Array
from comity.core.contribution import Aggregate, Contribution, Exchange
from comity.core.errors import ConfigError
from comity.core.vectors import Vectors

ChainState: TypeAlias = Mapping[str, Any]
"""The states of the parts that have one, each a tree as a program's state is, under its place in the chain: `"0"`."""

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


@runtime_checkable
class AdaptiveTransform(Protocol):
    """A transform with a state.

    `extend` adds to what the program moves: vectors that are broadcast, and statistics, which are summed as metrics
    are.
    """

    @property
    def note(self) -> str: ...

    def init(self, exchange: Exchange) -> Any:
        """The state of the first round."""
        ...

    def extend(self, exchange: Exchange) -> Exchange: ...

    def tell(self, state: Any) -> Mapping[str, Array]:
        """What is broadcast of the state, `[D]` each, under the names that `extend` has added."""
        ...

    def encode(self, contribution: Contribution, sent: Vectors) -> Contribution: ...

    def decode(self, aggregate: Aggregate, state: Any) -> tuple[Aggregate, Any]: ...


@runtime_checkable
class AdaptiveServerTransform(Protocol):
    """A server transform with a state."""

    def init(self, exchange: Exchange) -> Any:
        """The state of the first round."""
        ...

    def apply(self, aggregate: Aggregate, state: Any) -> tuple[Aggregate, Any]: ...


AnyTransform: TypeAlias = Transform | AdaptiveTransform
AnyServerTransform: TypeAlias = ServerTransform | AdaptiveServerTransform


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

    def split(self) -> tuple[tuple[AnyTransform, ...], Reducer, tuple[AnyServerTransform, ...]]:
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


def extended(chain: Chain, exchange: Exchange) -> Exchange:
    """All that a job moves: what its program does, and what its chain adds to it."""
    for part in chain.split()[0]:
        if isinstance(part, AdaptiveTransform):
            exchange = part.extend(exchange)
    return exchange


def begin(chain: Chain, exchange: Exchange) -> ChainState:
    """The states of a run's first round; empty where no part has one."""
    return {
        str(place): part.init(exchange)
        for place, part in enumerate(chain.parts)
        if isinstance(part, AdaptiveTransform | AdaptiveServerTransform)
    }


def tell(chain: Chain, states: ChainState) -> dict[str, Array]:
    """What goes to the parties beside what the program broadcasts."""
    told: dict[str, Array] = {}
    for place, part in enumerate(chain.split()[0]):
        if isinstance(part, AdaptiveTransform):
            told |= part.tell(states[str(place)])
    return told


def encode(transforms: Sequence[AnyTransform], contribution: Contribution, sent: Vectors) -> Contribution:
    """The party's half of a chain, given what was broadcast."""
    for transform in transforms:
        if isinstance(transform, AdaptiveTransform):
            contribution = transform.encode(contribution, sent)
        else:
            contribution = transform.encode(contribution)
    return contribution


def conclude(
    chain: Chain, states: ChainState, accumulator: Accumulator, population: int
) -> tuple[Aggregate, ChainState]:
    """The server's half of a chain, once everything is in: finish, decode the transforms, apply what comes after.

    Returns the states of the next round beside the aggregate.
    """
    before, _, after = chain.split()
    renewed = dict(states)
    aggregate = accumulator.finish(population)
    for place, transform in reversed(list(enumerate(before))):
        if isinstance(transform, AdaptiveTransform):
            aggregate, renewed[str(place)] = transform.decode(aggregate, states[str(place)])
        else:
            aggregate = transform.decode(aggregate)
    for place, step in enumerate(after, len(before) + 1):
        if isinstance(step, AdaptiveServerTransform):
            aggregate, renewed[str(place)] = step.apply(aggregate, states[str(place)])
        else:
            aggregate = step.apply(aggregate)
    return aggregate, renewed


def _misplaced(part: object, names: str, side: str, wanted: str) -> ConfigError:
    return ConfigError(
        f"{type(part).__name__} cannot stand {side} the reducer in {names}",
        where="job.aggregator",
        mend=f"only {wanted} can",
    )


def as_chain(link: Link) -> Chain:
    """A single reducer as a chain of one; a chain as it is."""
    return link if isinstance(link, Chain) else Chain((link,))
