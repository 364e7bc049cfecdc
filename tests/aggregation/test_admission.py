"""Admission refuses one party's update with a named reason, and lets the others through."""

from typing import Any

import numpy as np
import pytest

from comity.aggregation.admission import Admission
from comity.core.contribution import Contribution, Exchange, Value
from comity.core.errors import ConfigError, Reason
from comity.core.vectors import Vectors

EXCHANGE = Exchange(broadcast={}, contribution={"w": Value(3, "weights")})


def check(w: Any, weight: Any = None, metrics: Any = None, **bounds: float) -> list[Reason | None]:
    w = np.asarray(w, dtype=np.float32) if isinstance(w, list) else w
    weight = np.ones((len(w), 1)) if weight is None else np.asarray(weight)[:, None]
    verdicts = Admission(**bounds).check(Contribution(Vectors(w=w), weight, metrics or {}), EXCHANGE)
    return [None if verdict is None else verdict[0] for verdict in verdicts]


def test_sound_contributions_pass() -> None:
    assert check([[1, 2, 3], [0, 0, 0]]) == [None, None]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_only_the_party_whose_values_are_not_finite_is_refused(bad: float) -> None:
    assert check([[1, 2, 3], [1, bad, 3], [4, 5, 6]]) == [None, Reason.NOT_FINITE, None]


def test_the_words_say_how_many_entries_of_what() -> None:
    contribution = Contribution(Vectors(w=np.array([[np.nan, np.inf, 1]], dtype=np.float32)), np.ones((1, 1)))
    assert Admission().check(contribution, EXCHANGE)[0] == (
        Reason.NOT_FINITE,
        "2 of 3 entries of w are NaN or infinite",
    )


def test_values_whose_norm_overflows_are_refused() -> None:
    assert check([[3e38, 3e38, 3e38]]) == [Reason.NOT_FINITE]


def test_a_wrong_shape_is_refused() -> None:
    assert check([[1, 2]]) == [Reason.SHAPE]
    assert check(np.zeros((1, 3, 1), dtype=np.float32)) == [Reason.SHAPE]


def test_other_vectors_than_declared_are_refused() -> None:
    contribution = Contribution(Vectors(w=np.zeros((1, 3)), extra=np.zeros((1, 3))), np.ones((1, 1)))
    assert Admission().check(contribution, EXCHANGE)[0] == (Reason.SHAPE, "vectors ['extra', 'w']; expected ['w']")


def test_integers_are_refused() -> None:
    assert check(np.zeros((1, 3), dtype=np.int32)) == [Reason.DTYPE]


def test_weights_must_be_finite_and_above_zero() -> None:
    assert check([[1, 1, 1]] * 4, weight=[1, 0, -1, np.nan]) == [
        None,
        Reason.WEIGHT,
        Reason.WEIGHT,
        Reason.NOT_FINITE,
    ]


def test_metrics_must_be_finite() -> None:
    assert check([[1, 1, 1]] * 2, metrics={"loss": np.array([[1, 2], [np.nan, 2]])}) == [None, Reason.NOT_FINITE]


def test_metrics_that_were_not_declared_are_refused() -> None:
    assert check([[1, 1, 1]], metrics={"age": np.array([[1.0, 2.0]])}) == [Reason.SHAPE]
    assert check([[1, 1, 1]], metrics={"loss": np.array([[1.0, 2.0, 3.0]])}) == [Reason.SHAPE]


def test_bounds_on_norm_and_weight() -> None:
    assert check([[3, 4, 0], [3, 4, 1]], max_norm=5.0) == [None, Reason.NORM]
    assert check([[1, 1, 1]] * 2, weight=[100, 101], max_weight=100) == [None, Reason.WEIGHT]


def test_a_bound_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Admission\.max_norm"):
        Admission(max_norm=0)
