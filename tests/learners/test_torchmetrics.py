"""Metrics of torchmetrics become additive statistics, or are refused with the mend."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core.errors import ConfigError, MissingDependency
from comity.core.manifest import decode, encode
from comity.learners.metrics import F1, Metric, Torchmetric, resolve

library = pytest.importorskip("torchmetrics")
from torchmetrics.classification import (  # noqa: E402
    BinaryAccuracy,
    BinaryAUROC,
    BinaryCalibrationError,
    MulticlassAUROC,
    MulticlassF1Score,
)
from torchmetrics.regression import MeanSquaredError, PearsonCorrCoef  # noqa: E402
from torchmetrics.text import Perplexity  # noqa: E402


def value(metric: Metric, outputs: Any, targets: Any) -> float:
    return metric.value(np.asarray(metric.statistics(outputs, targets), dtype=np.float64))


def multiclass(seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=generator) * 2, torch.randint(0, 4, (n,), generator=generator)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(2, 40), cut=st.integers(0, 40))
def test_parts_sum_to_what_torchmetrics_computes_on_the_whole(seed: int, n: int, cut: int) -> None:
    outputs, targets = multiclass(seed, n)
    adapted = Torchmetric(MulticlassF1Score, {"num_classes": 4})
    parts = adapted.statistics(outputs[:cut], targets[:cut]) + adapted.statistics(outputs[cut:], targets[cut:])
    theirs = MulticlassF1Score(num_classes=4)
    theirs.update(outputs.softmax(1), targets)
    assert parts.shape == (adapted.size,)
    assert adapted.value(parts.numpy()) == pytest.approx(float(theirs.compute()), rel=1e-6)
    assert adapted.value(parts.numpy()) == pytest.approx(value(F1(classes=4), outputs, targets), rel=1e-6)


def test_logits_within_the_unit_interval_are_still_logits() -> None:
    outputs, targets = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1, 1, 1])
    assert value(Torchmetric(BinaryAccuracy), outputs, targets) == 1
    assert value(Torchmetric(BinaryAccuracy), outputs[:, None], targets) == 1


def test_a_binned_area_sums() -> None:
    outputs, targets = multiclass(1, 200)
    adapted = Torchmetric(MulticlassAUROC, {"num_classes": 4, "thresholds": 50})
    theirs = MulticlassAUROC(num_classes=4, thresholds=50)
    theirs.update(outputs.softmax(1), targets)
    parts = adapted.statistics(outputs[:80], targets[:80]) + adapted.statistics(outputs[80:], targets[80:])
    assert adapted.value(parts.numpy()) == pytest.approx(float(theirs.compute()))


def test_regression_outputs_are_passed_as_they_are() -> None:
    outputs, targets = torch.tensor([0.0, 2.0, 5.0]), torch.tensor([1.0, 2.0, 3.0])
    adapted = Torchmetric(MeanSquaredError)
    assert value(adapted, outputs, targets) == pytest.approx(5 / 3)
    assert not adapted.higher_is_better


def test_perplexity_reads_the_logits_of_tokens() -> None:
    outputs, targets = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)), torch.ones(2, 5).long()
    expected = math.exp(torch.nn.functional.cross_entropy(outputs.reshape(-1, 7), targets.reshape(-1)))
    assert value(Torchmetric(Perplexity), outputs, targets) == pytest.approx(expected, rel=1e-5)


def test_numpy_arrays_give_numpy_statistics() -> None:
    outputs, targets = multiclass(2, 30)
    adapted = Torchmetric(MulticlassF1Score, {"num_classes": 4})
    ours = adapted.statistics(outputs.numpy(), targets.numpy())
    assert isinstance(ours, np.ndarray)
    np.testing.assert_array_equal(ours, adapted.statistics(outputs, targets).numpy())


def test_no_example_gives_nan() -> None:
    outputs, targets = multiclass(2, 0)
    assert math.isnan(value(Torchmetric(MulticlassF1Score, {"num_classes": 4}), outputs, targets))


def test_one_use_leaves_nothing_behind_for_the_next() -> None:
    outputs, targets = multiclass(3, 30)
    adapted = Torchmetric(MulticlassF1Score, {"num_classes": 4})
    first = adapted.statistics(outputs, targets)
    adapted.value(first.numpy())
    assert torch.equal(adapted.statistics(outputs, targets), first)


def test_the_name_is_the_class_in_snake_case_unless_given() -> None:
    assert Torchmetric(MeanSquaredError).name == "mean_squared_error"
    assert Torchmetric(MulticlassF1Score, {"num_classes": 4}).name == "multiclass_f1_score"
    assert Torchmetric(MeanSquaredError, name="mse").name == "mse"


def test_it_stands_among_other_metrics_and_in_the_manifest() -> None:
    adapted = Torchmetric(MulticlassF1Score, {"num_classes": 4})
    assert resolve(["accuracy", adapted])[1] is adapted
    assert decode(encode(adapted), objects=[MulticlassF1Score]) == adapted


@pytest.mark.parametrize("factory", [BinaryAUROC, BinaryCalibrationError])
def test_a_metric_that_keeps_every_score_is_refused_with_the_mend(factory: Any) -> None:
    with pytest.raises(ConfigError, match="thresholds=100"):
        Torchmetric(factory)


def test_a_metric_whose_states_do_not_sum_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not sum"):
        Torchmetric(PearsonCorrCoef)


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="makes a dict"):
        Torchmetric(dict)


def test_without_torchmetrics_the_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(MissingDependency, match=r"comity\[torchmetrics\]"):
        Torchmetric(MeanSquaredError)
