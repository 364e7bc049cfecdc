"""Noise by a binary tree: running sums are made of few nodes, drawn as rounds come; what one party moves is bounded."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import ConfigError
from comity.privacy.banded import BandedSquareRoot
from comity.privacy.tree import BinaryTree

trees = st.builds(BinaryTree, st.integers(1, 10), st.integers(1, 12))


def nodes(rounds: int) -> np.ndarray:
    """One row a node, in the order in which they close: which rounds it sums."""
    rows = np.zeros((rounds, rounds))
    for t in range(1, rounds + 1):
        rows[t - 1, t - (t & -t) : t] = 1
    return rows


def test_errors_of_a_thousand_rounds() -> None:
    """Published are 7.4, which counts a level more that is never released, and 73.7, which multiplies it by ten."""
    once, often = BinaryTree(1000, separation=1000), BinaryTree(1000, separation=100)
    assert once.prefix_error * 11**0.5 == pytest.approx(7.4, abs=0.06)
    assert 10 * once.prefix_error * 11**0.5 == pytest.approx(73.7, abs=0.06)
    assert once.rmse == pytest.approx(once.prefix_error * 10**0.5)
    assert often.rmse == pytest.approx(26.1, abs=0.06)


@pytest.mark.parametrize("separation", [100, 1000])
def test_a_banded_square_root_has_less_than_half_the_error(separation: int) -> None:
    assert 2 * BandedSquareRoot(1000, separation).rmse < BinaryTree(1000, separation).rmse


@given(trees)
def test_no_participation_that_keeps_apart_moves_more_than_the_sensitivity(tree: BinaryTree) -> None:
    rows = nodes(tree.rounds)
    for count in range(1, tree.participations + 1):
        for rounds in combinations(range(tree.rounds), count):
            if all(later - earlier >= tree.separation for earlier, later in pairwise(rounds)):
                assert np.linalg.norm(rows[:, list(rounds)].sum(axis=1)) <= tree.sensitivity + 1e-12


@given(st.integers(1, 1000))
def test_one_participation_is_in_a_node_of_each_level_at_most(rounds: int) -> None:
    assert BinaryTree(rounds, rounds).sensitivity == pytest.approx(rounds.bit_length() ** 0.5)


@given(trees, st.integers(0, 2**32 - 1))
def test_running_sums_of_streamed_noise_are_the_nodes_of_the_bits_of_t(tree: BinaryTree, seed: int) -> None:
    fresh = np.random.default_rng(seed).normal(size=(tree.rounds, 3))
    held = tuple(np.zeros(3) for _ in range(tree.held))
    running = np.zeros(3)
    for step, row in enumerate(fresh):
        noise, held = tree.correlated(step, row, held)
        assert len(held) == tree.held
        running += noise
        expected, t = np.zeros(3), step + 1
        while t:
            expected, t = expected + fresh[t - 1], t & (t - 1)
        assert np.allclose(running, expected)


@pytest.mark.parametrize("fields", [{"rounds": 0}, {"rounds": 4, "separation": 0}])
def test_what_is_no_tree_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"BinaryTree\."):
        BinaryTree(**fields)
