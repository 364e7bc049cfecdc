"""States: any tree of dataclasses, mappings and arrays as named arrays, and back."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from comity.core.errors import CheckpointError
from comity.core.states import flatten, restore
from comity.core.vectors import Vectors
from comity.programs.optim import Moments


@dataclass(frozen=True, eq=False)
class State:
    weights: Any
    moments: Moments
    kept: dict[str, Any]
    step: int
    done: bool


STATE = State(np.arange(3.0), Moments(first=np.ones(3)), {"a": np.zeros((2, 2))}, 7, True)


def test_leaves_have_dotted_paths() -> None:
    assert sorted(flatten(STATE, "s")) == ["s.done", "s.kept.a", "s.moments.first", "s.step", "s.weights"]


def test_what_is_flattened_is_restored() -> None:
    blank = State(np.zeros(3), Moments(first=np.zeros(3)), {"a": np.ones((2, 2))}, 0, False)
    again = restore(blank, flatten(STATE))
    assert again.weights.tolist() == [0, 1, 2]
    assert again.moments.first.tolist() == [1, 1, 1]
    assert again.moments.second is None
    assert again.kept["a"].tolist() == [[0, 0], [0, 0]]
    assert again.step == 7
    assert again.done is True


def test_vectors_are_restored_as_vectors() -> None:
    sent = Vectors(weights=np.arange(2.0))
    assert restore(Vectors(weights=np.zeros(2)), flatten(sent)).weights.tolist() == [0, 1]


def test_a_missing_leaf_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"'moments\.first'.*missing"):
        restore(STATE, {name: array for name, array in flatten(STATE).items() if name != "moments.first"})


def test_a_leaf_of_another_shape_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"'weights'.*shape \(4,\), expected \(3,\)"):
        restore(STATE, flatten(STATE) | {"weights": np.zeros(4)})


@pytest.mark.parametrize("stored", [np.ones(3), Moments(first=np.ones(3))])
def test_what_starts_as_none_and_was_stored_is_refused_rather_than_dropped(stored: Any) -> None:
    arrays = flatten(replace(STATE, moments=Moments(second=stored)))
    with pytest.raises(CheckpointError, match=r"'moments\.second'.*None at the start[\s\S]*start it as zeros"):
        restore(replace(STATE, moments=Moments()), arrays)


def test_none_is_not_confused_with_a_longer_name() -> None:
    assert restore({"a": None, "ab": 0}, {"ab": np.asarray(3)}) == {"a": None, "ab": 3}
