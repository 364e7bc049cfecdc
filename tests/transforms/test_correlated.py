"""Correlated noise in a chain: each round's is large, that of their sum is not, and the state is what cancels it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from comity.core import states
from comity.core.contribution import Aggregate, Exchange, Value
from comity.core.errors import ConfigError
from comity.core.vectors import Vectors
from comity.privacy.banded import BandedSquareRoot
from comity.privacy.tree import BinaryTree
from comity.transforms.correlated import Correlated, CorrelatedNoise

SIZE = 4000
EXCHANGE = Exchange({}, {"a": Value(SIZE, "a vector"), "b": Value(SIZE, "another")})
MATRICES: list[Any] = [
    BandedSquareRoot(16, separation=4),
    BandedSquareRoot(16, separation=16),
    BinaryTree(16, separation=4),
]


def aggregate(weight: float = 10.0, bound: float | None = 2.0) -> Aggregate:
    zeros = np.zeros(SIZE, dtype=np.float32)
    return Aggregate(Vectors(a=zeros, b=zeros), weight, {}, 10, 100, bound)


def released(noise: CorrelatedNoise, rounds: int, weight: float = 10.0) -> NDArray[np.float64]:
    """The noise of each round, `[rounds, 2 · SIZE]`."""
    state, rows = noise.init(EXCHANGE), []
    for _ in range(rounds):
        noised, state = noise.apply(aggregate(weight), state)
        rows.append(np.concatenate([noised.vectors.a, noised.vectors.b]))
    return np.array(rows, dtype=np.float64)


@pytest.mark.parametrize("matrix", MATRICES, ids=repr)
def test_the_noise_of_running_sums_is_what_the_matrix_promises(matrix: Any) -> None:
    """16 rounds of 8,000 entries: off by 10 % fewer than one time in 10¹¹."""
    running = np.cumsum(released(CorrelatedNoise(0.5, matrix), 16), axis=0)
    assert np.sqrt((running**2).mean()) == pytest.approx(0.5 * 2.0 / 10 * matrix.prefix_error, rel=0.1)


@pytest.mark.parametrize("matrix", MATRICES, ids=repr)
def test_a_round_has_no_less_noise_than_was_drawn_for_it(matrix: Any) -> None:
    alone = released(CorrelatedNoise(0.5, matrix), 16).std(axis=1)
    assert (alone > 0.09).all()


def test_the_first_round_has_the_noise_that_was_drawn() -> None:
    (first,) = released(CorrelatedNoise(0.5, MATRICES[0]), 1)
    # A standard deviation of 8,000 draws is off by 6 % one time in 10¹³.
    assert first.std() == pytest.approx(0.5 * 2.0 / 10, rel=0.06)


def test_noise_cancels_in_sums_whatever_the_number_of_parties() -> None:
    """A round of 100 parties has a tenth of the noise of one of 10, and takes back a tenth of it."""
    noise = CorrelatedNoise(1.0, BinaryTree(4))
    state, sums = noise.init(EXCHANGE), np.zeros(SIZE)
    for weight in (10.0, 100.0, 20.0, 50.0):
        noised, state = noise.apply(aggregate(weight), state)
        sums += weight * noised.vectors.a.astype(np.float64)
    assert np.allclose(sums, 2.0 * state.held[str(2)][:SIZE], atol=1e-3)


def test_a_restored_state_takes_back_what_was_drawn_before() -> None:
    noise = CorrelatedNoise(1.0, BinaryTree(4))
    first, state = noise.apply(aggregate(), noise.init(EXCHANGE))
    restored: Correlated = states.restore(noise.init(EXCHANGE), states.flatten(state))
    assert restored.step == 1
    second, state = noise.apply(aggregate(), restored)
    assert np.allclose(first.vectors.a + second.vectors.a, 0.2 * state.held["1"][:SIZE], atol=1e-5)


def test_two_vectors_have_noise_of_their_own() -> None:
    noised, _ = CorrelatedNoise(1.0, MATRICES[0]).apply(aggregate(), CorrelatedNoise(1.0, MATRICES[0]).init(EXCHANGE))
    assert abs(np.corrcoef(noised.vectors.a, noised.vectors.b)[0, 1]) < 7 / SIZE**0.5


def test_torch_tensors_have_noise_where_they_are() -> None:
    torch = pytest.importorskip("torch")
    zeros = torch.zeros(SIZE)
    noise = CorrelatedNoise(1.0, MATRICES[0])
    noised, _ = noise.apply(Aggregate(Vectors(a=zeros, b=zeros), 10.0, {}, 10, 100, 2.0), noise.init(EXCHANGE))
    assert noised.vectors.a.dtype == torch.float32
    assert float(noised.vectors.a.std()) == pytest.approx(0.2, rel=0.09)


def test_without_a_bound_there_is_nothing_to_hide_behind() -> None:
    noise = CorrelatedNoise(1.0, MATRICES[0])
    with pytest.raises(ConfigError, match=r"nothing bounds[\s\S]*CorrelatedNoise"):
        noise.apply(aggregate(bound=None), noise.init(EXCHANGE))


@pytest.mark.parametrize("fields", [{"multiplier": 0.0}, {"matrix": "tree"}])
def test_fields_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"CorrelatedNoise\.{next(iter(fields))}"):
        CorrelatedNoise(**{"multiplier": 1.0, "matrix": MATRICES[0], **fields})
