"""Clipping bounds the joint norm of a contribution, and changes nothing that is within the bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from comity.core.contribution import Aggregate, Contribution, norms
from comity.core.errors import ConfigError
from comity.core.vectors import Vectors
from comity.transforms.clip import Clip

rows = arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))


def contribution(a: np.ndarray, b: np.ndarray) -> Contribution:
    return Contribution(Vectors(a=a, b=b), np.ones((len(a), 1)))


@given(rows, rows, st.floats(0.1, 50))
def test_no_party_is_above_the_bound(a: np.ndarray, b: np.ndarray, bound: float) -> None:
    clipped = Clip(bound).encode(contribution(a, b))
    assert (norms(clipped.vectors) <= bound * (1 + 1e-5)).all()


@given(rows, rows)
def test_what_is_within_the_bound_stays_bit_for_bit(a: np.ndarray, b: np.ndarray) -> None:
    clipped = Clip(1e4).encode(contribution(a, b))
    assert np.array_equal(clipped.vectors.a, a)
    assert np.array_equal(clipped.vectors.b, b)


def test_all_vectors_are_scaled_by_one_factor() -> None:
    clipped = Clip(5.0).encode(contribution(np.array([[6.0, 0.0]]), np.array([[0.0, 8.0]])))
    assert clipped.vectors.a.tolist() == [[3.0, 0.0]]
    assert clipped.vectors.b.tolist() == [[0.0, 4.0]]


def test_zeros_stay_zeros() -> None:
    assert not Clip(1.0).encode(contribution(np.zeros((1, 2)), np.zeros((1, 2)))).vectors.a.any()


def test_after_the_reducer_the_aggregate_is_clipped() -> None:
    aggregate = Aggregate(Vectors(a=np.array([3.0, 4.0])), 1.0, {}, 1, 1)
    assert np.allclose(Clip(1.0).apply(aggregate).vectors.a, [0.6, 0.8])


@pytest.mark.parametrize("norm", [0, -1, float("nan")])
def test_a_bound_that_is_none_is_refused(norm: float) -> None:
    with pytest.raises(ConfigError, match=r"Clip\.norm"):
        Clip(norm)
