"""Vectors: named arrays that are read as attributes and never change."""

import copy

import numpy as np
import pytest

from comity.core.vectors import Vectors

SENT = Vectors(weights=np.arange(3.0), control=np.zeros(3))


def test_arrays_are_read_as_attributes_and_by_name() -> None:
    assert SENT.weights is SENT["weights"]
    assert list(SENT) == ["weights", "control"]


def test_a_name_that_is_not_there_says_which_are() -> None:
    with pytest.raises(AttributeError, match="'momentum' here; there are: weights, control"):
        _ = SENT.momentum


def test_vectors_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        SENT.weights = np.zeros(3)


def test_a_function_is_mapped_over_every_array() -> None:
    assert SENT.map(lambda array: array + 1)["weights"].tolist() == [1, 2, 3]


def test_vectors_can_be_copied() -> None:
    assert copy.deepcopy(SENT).weights.tolist() == [0, 1, 2]
