"""What a program is: an algorithm as four pure functions over a state that can be saved."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

from comity.core.arrays import Array
from comity.core.contribution import Aggregate, Contribution, Exchange
from comity.core.seeds import Seed
from comity.core.vectors import Vectors
from comity.learners.base import Model
from comity.programs.party import Party

S = TypeVar("S")


@runtime_checkable
class Program(Protocol[S]):
    """An algorithm: what is broadcast, what a party does with it, what the server makes of the aggregate.

    The state is a tree of frozen dataclasses, arrays and numbers. `at_party` is written once for a batch of K parties:
    broadcasts are `[D]`, what it returns is `[K, D]`.
    """

    @property
    def model(self) -> Model: ...

    def exchange(self) -> Exchange:
        """Names, lengths and meanings of all that is sent, returned and remembered."""
        ...

    def init(self, seed: Seed) -> S: ...

    def broadcast(self, state: S) -> Vectors: ...

    def at_party(self, sent: Vectors, party: Party) -> Contribution: ...

    def update(self, state: S, aggregate: Aggregate) -> S: ...

    def weights(self, state: S) -> Array:
        """The model in `state`, `[D]`."""
        ...


AnyProgram = Program[Any]
