"""Staleness weights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.coordination.staleness import Constant, Hinge, Polynomial, Staleness
from comity.core.errors import ConfigError

weights = st.one_of(
    st.just(Constant()),
    st.floats(0, 4).map(Polynomial),
    st.builds(Hinge, slope=st.floats(0, 20), grace=st.integers(0, 9)),
)


@given(weights, st.integers(0, 200))
def test_a_weight_is_one_when_fresh_and_never_grows(weight: Staleness, staleness: int) -> None:
    assert weight.factor(0) == 1.0
    assert 0 < weight.factor(staleness + 1) <= weight.factor(staleness) <= 1


def test_the_published_forms() -> None:
    assert Polynomial(0.5).factor(3) == 0.5
    assert Hinge(slope=10, grace=4).factor(4) == 1.0
    assert Hinge(slope=10, grace=4).factor(6) == pytest.approx(1 / 21)


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: Polynomial(-1.0), "Polynomial.exponent"),
        (lambda: Polynomial(float("nan")), "Polynomial.exponent"),
        (lambda: Hinge(slope=-1.0), "Hinge.slope"),
        (lambda: Hinge(grace=-1), "Hinge.grace"),
    ],
)
def test_weights_that_would_grow_are_refused(build: object, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build()  # type: ignore[operator]
    assert caught.value.where == field
