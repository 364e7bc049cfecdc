"""Parts with a state: what they learn in one round is there in the next, and parties are told what they must know."""

from dataclasses import dataclass, replace

import numpy as np

from comity.aggregation.mean import Mean
from comity.core.arrays import Array
from comity.core.contribution import Aggregate, Contribution, Exchange, Value
from comity.core.vectors import Vectors
from comity.transforms.chain import Chain, Link, begin, conclude, encode, extended, tell
from comity.transforms.clip import Clip

EXCHANGE = Exchange({"weights": Value(2, "the model")}, {"weights": Value(2, "its change")})


@dataclass(frozen=True)
class Doubled:
    factor: float


@dataclass(frozen=True)
class Doubling(Link):
    """Parties multiply by a factor that doubles every round; the server divides by it."""

    note = "doubled"

    def init(self, exchange: Exchange) -> Doubled:
        return Doubled(1.0)

    def extend(self, exchange: Exchange) -> Exchange:
        return replace(exchange, broadcast={**exchange.broadcast, "factor": Value(1, "the factor")})

    def tell(self, state: Doubled) -> dict[str, Array]:
        return {"factor": np.array([state.factor], dtype=np.float32)}

    def encode(self, contribution: Contribution, sent: Vectors) -> Contribution:
        return replace(contribution, vectors=contribution.vectors.map(lambda array: array * sent.factor))

    def decode(self, aggregate: Aggregate, state: Doubled) -> tuple[Aggregate, Doubled]:
        vectors = aggregate.vectors.map(lambda array: array / state.factor)
        return replace(aggregate, vectors=vectors), Doubled(2 * state.factor)


@dataclass(frozen=True)
class Counting(Link):
    """The aggregate plus the number of the round."""

    def init(self, exchange: Exchange) -> Doubled:
        return Doubled(0.0)

    def apply(self, aggregate: Aggregate, state: Doubled) -> tuple[Aggregate, Doubled]:
        return replace(aggregate, vectors=aggregate.vectors.map(lambda a: a + state.factor)), Doubled(state.factor + 1)


def played(chain: Chain, rounds: int) -> list[list[float]]:
    """What comes out when one party contributes (3, 4) in every round."""
    states, released = begin(chain, EXCHANGE), []
    before, reducer, _ = chain.split()
    for _ in range(rounds):
        sent = Vectors(weights=np.zeros(2), **tell(chain, states))
        given = Contribution(Vectors(weights=np.array([[3.0, 4.0]], dtype=np.float32)), np.ones((1, 1)))
        accumulator = reducer.start(EXCHANGE)
        accumulator.add(encode(before, given, sent))
        aggregate, states = conclude(chain, states, accumulator, population=1)
        released.append(aggregate.vectors.weights.tolist())
    return released


def test_a_party_is_told_the_state_of_its_round() -> None:
    chain = Doubling() >> Mean()
    assert tell(chain, begin(chain, EXCHANGE))["factor"] == 1
    assert played(chain, 3) == [[3, 4]] * 3


def test_transforms_are_decoded_with_the_state_that_parties_were_told() -> None:
    assert np.allclose(played(Clip(1.0) >> Doubling() >> Mean(), 3), [[0.6, 0.8]] * 3)


def test_a_server_part_goes_on_from_what_it_learned() -> None:
    assert played(Mean() >> Counting(), 3) == [[3, 4], [4, 5], [5, 6]]


def test_two_parts_of_one_kind_have_states_of_their_own() -> None:
    chain = Mean() >> Counting() >> Counting()
    assert set(begin(chain, EXCHANGE)) == {"1", "2"}
    assert played(chain, 2) == [[3, 4], [5, 6]]


def test_what_the_chain_moves_joins_what_the_program_moves() -> None:
    chain = Doubling() >> Mean()
    assert set(extended(chain, EXCHANGE).broadcast) == {"weights", "factor"}


def test_a_chain_without_states_adds_nothing() -> None:
    chain = Clip(1.0) >> Mean() >> Clip(2.0)
    assert begin(chain, EXCHANGE) == {}
    assert tell(chain, {}) == {}
    assert extended(chain, EXCHANGE) is EXCHANGE


def test_clipping_says_what_bounds_a_contribution() -> None:
    chain = Clip(5.0) >> Clip(2.0) >> Mean()
    accumulator = Mean().start(EXCHANGE)
    accumulator.add(Contribution(Vectors(weights=np.ones((1, 2))), np.ones((1, 1))))
    aggregate, _ = conclude(chain, {}, accumulator, population=1)
    assert aggregate.bound == 2.0
