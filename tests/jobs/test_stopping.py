"""Early stopping: a target, or patience."""

import pytest

from comity.jobs.stopping import EarlyStopping


@pytest.mark.parametrize(
    ("values", "stops"), [([0.5, 0.89], False), ([0.5, 0.9], True), ([0.95, 0.8], False), ([], False)]
)
def test_a_target_that_is_reached(values: list[float], stops: bool) -> None:
    assert (EarlyStopping("accuracy", target=0.9).verdict(values, rising=True) is not None) == stops


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ([1.0, 0.9, 0.8], False),
        ([0.8, 0.9, 0.85], True),
        ([0.8, 0.8, 0.8], True),
        ([0.8, 0.9], False),
        ([0.9, 0.8, float("nan"), 0.7], False),
    ],
)
def test_patience_with_a_loss(values: list[float], stops: bool) -> None:
    stop = EarlyStopping("loss", patience=2)
    assert (stop.verdict(values, rising=False) is not None) == stops


def test_small_improvements_do_not_count() -> None:
    stop = EarlyStopping("loss", patience=2, min_delta=0.1)
    assert stop.verdict([1.0, 0.95, 0.92], rising=False) == "loss has not improved for 2 evaluations"
    assert stop.verdict([1.0, 0.95, 0.88], rising=False) is None
