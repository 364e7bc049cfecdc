"""Metrics agree with scikit-learn, add up over any split of the examples, and are the same on torch tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, softmax

from comity.core.errors import ConfigError, LearnerError
from comity.core.manifest import decode, encode
from comity.learners import metrics

BINARY = [
    metrics.Accuracy(),
    metrics.LogLoss(),
    metrics.Perplexity(),
    metrics.AUROC(bins=64),
    metrics.F1(classes=2, average="binary"),
    metrics.Precision(classes=2),
    metrics.Recall(classes=2, average="micro"),
]
MULTICLASS = [
    metrics.Accuracy(),
    metrics.LogLoss(),
    metrics.Perplexity(),
    metrics.TopK(k=2),
    metrics.AUROC(classes=4, bins=64),
    metrics.F1(classes=4),
    metrics.Precision(classes=4, average="micro"),
    metrics.Recall(classes=4),
]
REGRESSION = [metrics.RMSE(), metrics.MAE(), metrics.R2()]


def examples(kind: str, seed: int, n: int, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Random outputs and targets; `labels` below the number of classes leaves some of them out."""
    rng = np.random.default_rng(seed)
    if kind == "binary":
        return rng.normal(0, 3, n).astype(np.float32), rng.integers(0, min(labels, 2), n)
    if kind == "multiclass":
        return rng.normal(0, 3, (n, 4)).astype(np.float32), rng.integers(0, labels, n)
    return rng.normal(1, 3, n).astype(np.float32), rng.normal(0, 2, n).astype(np.float32)


def value(metric: metrics.Metric, outputs: Any, targets: Any) -> float:
    return metric.value(np.asarray(metric.statistics(outputs, targets), dtype=np.float64))


CASES = [
    pytest.param(kind, metric, id=f"{kind}-{metric.name}")
    for kind, group in (("binary", BINARY), ("multiclass", MULTICLASS), ("regression", REGRESSION))
    for metric in group
]
seeds = st.integers(0, 2**32 - 1)


class TestStatistics:
    @pytest.mark.parametrize(("kind", "metric"), CASES)
    @settings(max_examples=20, deadline=None)
    @given(seed=seeds, n=st.integers(2, 40), labels=st.integers(1, 4), data=st.data())
    def test_any_split_of_the_examples_sums_to_the_whole(
        self, kind: str, metric: metrics.Metric, seed: int, n: int, labels: int, data: st.DataObject
    ) -> None:
        outputs, targets = examples(kind, seed, n, labels)
        part = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
        whole = metric.statistics(outputs, targets)
        pieces = [metric.statistics(outputs[part == i], targets[part == i]) for i in range(4)]
        assert whole.shape == (metric.size,)
        np.testing.assert_allclose(sum(pieces), whole, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize(("kind", "metric"), CASES)
    def test_torch_tensors_give_tensors_with_the_same_numbers(self, kind: str, metric: metrics.Metric) -> None:
        outputs, targets = examples(kind, 3, 50)
        ours = metric.statistics(torch.from_numpy(outputs), torch.from_numpy(targets))
        assert isinstance(ours, torch.Tensor)
        assert ours.dtype == torch.float64
        np.testing.assert_allclose(ours.numpy(), metric.statistics(outputs, targets), rtol=1e-6)

    @pytest.mark.parametrize(("kind", "metric"), CASES)
    def test_no_example_gives_nan(self, kind: str, metric: metrics.Metric) -> None:
        outputs, targets = examples(kind, 0, 0)
        assert math.isnan(value(metric, outputs, targets))

    @pytest.mark.parametrize("metric", BINARY, ids=lambda metric: metric.name)
    def test_one_logit_may_be_a_column_or_a_vector_or_a_pair(self, metric: metrics.Metric) -> None:
        outputs, targets = examples("binary", 5, 30)
        expected = metric.statistics(outputs, targets)
        pair = np.stack([np.zeros_like(outputs), outputs], axis=1)
        np.testing.assert_array_equal(metric.statistics(outputs[:, None], targets), expected)
        np.testing.assert_allclose(metric.statistics(pair, targets), expected, rtol=1e-6)

    def test_half_precision_logits_are_counted_in_full(self) -> None:
        outputs = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
        targets = torch.zeros(4000, dtype=torch.int64)
        expected = value(metrics.LogLoss(), outputs.to(torch.float64), targets)
        assert value(metrics.LogLoss(), outputs, targets) == pytest.approx(expected, rel=1e-5)
        assert metrics.Accuracy().statistics(outputs, targets)[1] == 4000

    @pytest.mark.parametrize("metric", [*MULTICLASS, *REGRESSION], ids=lambda metric: metric.name)
    def test_shapes_that_do_not_fit_are_refused(self, metric: metrics.Metric) -> None:
        with pytest.raises(LearnerError, match="beside targets"):
            metric.statistics(np.zeros((3, 4)), np.zeros(4, dtype=np.int64))


class TestClassification:
    @settings(max_examples=40, deadline=None)
    @given(seed=seeds, n=st.integers(1, 60), labels=st.integers(1, 4))
    def test_as_in_scikit_learn(self, seed: int, n: int, labels: int) -> None:
        outputs, targets = examples("multiclass", seed, n, labels)
        predicted, every = outputs.argmax(axis=1), list(range(4))
        assert value(metrics.Accuracy(), outputs, targets) == pytest.approx(oracle.accuracy_score(targets, predicted))
        loss = oracle.log_loss(targets, softmax(outputs.astype(np.float64), axis=1), labels=every)
        assert value(metrics.LogLoss(), outputs, targets) == pytest.approx(loss, rel=1e-5, abs=1e-6)
        assert value(metrics.Perplexity(), outputs, targets) == pytest.approx(math.exp(loss), rel=1e-4)
        top = oracle.top_k_accuracy_score(targets, outputs, k=2, labels=every)
        assert value(metrics.TopK(k=2), outputs, targets) == pytest.approx(top)
        for average in ("macro", "micro"):
            options = {"average": average, "zero_division": 0}
            for kind, expected in (
                (metrics.Precision, oracle.precision_score),
                (metrics.Recall, oracle.recall_score),
                (metrics.F1, oracle.f1_score),
            ):
                ours = value(kind(classes=4, average=average), outputs, targets)
                assert ours == pytest.approx(expected(targets, predicted, **options))

    @settings(max_examples=40, deadline=None)
    @given(seed=seeds, n=st.integers(1, 60), labels=st.integers(1, 2))
    def test_two_classes_as_in_scikit_learn(self, seed: int, n: int, labels: int) -> None:
        outputs, targets = examples("binary", seed, n, labels)
        predicted, options = (outputs > 0).astype(int), {"average": "binary", "zero_division": 0}
        assert value(metrics.Accuracy(), outputs, targets) == pytest.approx(oracle.accuracy_score(targets, predicted))
        loss = oracle.log_loss(targets, expit(outputs.astype(np.float64)), labels=[0, 1])
        assert value(metrics.LogLoss(), outputs, targets) == pytest.approx(loss, rel=1e-5, abs=1e-6)
        f1 = value(metrics.F1(classes=2, average="binary"), outputs, targets)
        assert f1 == pytest.approx(oracle.f1_score(targets, predicted, **options))

    def test_tokens_count_one_by_one_and_padding_does_not(self) -> None:
        rng = np.random.default_rng(0)
        outputs, targets = rng.normal(size=(5, 7, 11)), rng.integers(0, 11, (5, 7))
        targets[:, 5:] = -100
        flat = outputs[:, :5].reshape(-1, 11), targets[:, :5].reshape(-1)
        for metric in (metrics.Accuracy(), metrics.LogLoss(), metrics.Perplexity(), metrics.F1(classes=11)):
            np.testing.assert_allclose(metric.statistics(outputs, targets), metric.statistics(*flat), rtol=1e-12)
        nll = -np.take_along_axis(log_softmax(flat[0], axis=1), flat[1][:, None], axis=1).mean()
        assert value(metrics.Perplexity(), outputs, targets) == pytest.approx(math.exp(nll))

    def test_extreme_logits_do_not_overflow(self) -> None:
        outputs = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype=np.float32)
        assert value(metrics.LogLoss(), outputs, np.array([0, 1])) == 0
        assert value(metrics.LogLoss(), outputs[:, 1], np.array([0, 0])) == pytest.approx(5e3)
        assert value(metrics.Perplexity(), outputs, np.array([1, 0])) == math.inf

    @pytest.mark.parametrize("labels", [[0, 4], [0, -1]])
    def test_a_label_that_is_no_class_makes_the_log_loss_nan(self, labels: list[int]) -> None:
        assert math.isnan(value(metrics.LogLoss(), np.zeros((2, 4)), np.array(labels)))
        assert math.isnan(value(metrics.LogLoss(), np.zeros(2), np.array(labels)))

    def test_a_diverged_model_is_not_top_k_accurate(self) -> None:
        assert value(metrics.TopK(k=1), np.full((3, 4), np.nan), np.zeros(3, dtype=int)) == 0

    @pytest.mark.parametrize(
        ("make", "field"),
        [
            (lambda: metrics.F1(classes=1), "F1.classes"),
            (lambda: metrics.F1(classes=3, average="binary"), "F1.average"),
            (lambda: metrics.Recall(classes=3, average="weighted"), "Recall.average"),  # type: ignore[arg-type]
            (lambda: metrics.AUROC(bins=1), "AUROC.bins"),
            (lambda: metrics.TopK(k=0), "TopK.k"),
            (lambda: metrics.F1(classes=3).statistics(np.zeros((2, 4)), np.zeros(2)), "F1.classes"),
            (lambda: metrics.AUROC().statistics(np.zeros((2, 4)), np.zeros(2)), "AUROC.classes"),
        ],
    )
    def test_bad_parameters_name_the_field(self, make: Any, field: str) -> None:
        with pytest.raises(ConfigError, match=field):
            make()


class TestAUROC:
    @settings(max_examples=60, deadline=None)
    @given(
        seed=seeds, n=st.integers(2, 80), bins=st.sampled_from([2, 16, 512]), scale=st.sampled_from([0.1, 1.0, 20.0])
    )
    def test_within_its_bound_of_the_exact_area(self, seed: int, n: int, bins: int, scale: float) -> None:
        rng = np.random.default_rng(seed)
        targets = np.concatenate([[0, 1], rng.integers(0, 2, n - 2)])
        outputs = np.round(rng.normal(size=n) * scale + targets, 1)
        metric = metrics.AUROC(bins=bins)
        statistics = metric.statistics(outputs, targets)
        exact = oracle.roc_auc_score(targets, outputs)
        assert abs(metric.value(statistics) - exact) <= metric.error(statistics) + 1e-12

    @settings(max_examples=30, deadline=None)
    @given(seed=seeds, n=st.integers(4, 80), bins=st.sampled_from([8, 512]))
    def test_one_against_the_rest_within_its_bound(self, seed: int, n: int, bins: int) -> None:
        rng = np.random.default_rng(seed)
        targets = np.concatenate([np.arange(4), rng.integers(0, 4, n - 4)])
        outputs = rng.normal(size=(n, 4)) * 4 + np.eye(4)[targets]
        metric = metrics.AUROC(classes=4, bins=bins)
        statistics = metric.statistics(outputs, targets)
        exact = oracle.roc_auc_score(targets, softmax(outputs, axis=1), multi_class="ovr", average="macro")
        assert abs(metric.value(statistics) - exact) <= metric.error(statistics) + 1e-12

    def test_evenly_spread_scores_have_a_bound_of_half_a_bin(self) -> None:
        places = (np.arange(6400) + 0.5) / 6400 * 2 - 1
        outputs = np.tile(places / (1 - np.abs(places)), 2)
        targets = np.repeat([0, 1], 6400)
        metric = metrics.AUROC(bins=64)
        assert metric.error(metric.statistics(outputs, targets)) == pytest.approx(1 / 128)

    def test_the_default_bins_are_within_a_thousandth_on_a_usual_model(self) -> None:
        rng = np.random.default_rng(1)
        targets = rng.integers(0, 2, 20_000)
        outputs = rng.normal(size=20_000) * 2 + 2 * targets
        assert value(metrics.AUROC(), outputs, targets) == pytest.approx(
            oracle.roc_auc_score(targets, outputs), abs=1e-3
        )

    def test_confident_scores_are_told_apart(self) -> None:
        outputs = np.array([[50.0, 0, 0], [40.0, 0, 0], [30.0, 0, 0], [0, 0, 0]])
        targets = np.array([0, 0, 1, 2])
        curve = metrics.AUROC(classes=3, bins=512).statistics(outputs, targets).reshape(3, 2, 512)[0]
        assert np.flatnonzero(curve[1]).min() > np.flatnonzero(curve[0]).max()

    def test_one_kind_of_label_has_no_area(self) -> None:
        assert math.isnan(value(metrics.AUROC(), np.array([0.1, 0.2]), np.array([1, 1])))
        assert math.isnan(metrics.AUROC().error(metrics.AUROC().statistics(np.array([0.1]), np.array([1]))))

    def test_a_score_that_is_no_number_shows(self) -> None:
        assert math.isnan(value(metrics.AUROC(), np.array([0.1, np.nan]), np.array([0, 1])))


class TestRegression:
    @settings(max_examples=40, deadline=None)
    @given(seed=seeds, n=st.integers(2, 60))
    def test_as_in_scikit_learn(self, seed: int, n: int) -> None:
        outputs, targets = (array.astype(np.float64) for array in examples("regression", seed, n))
        assert value(metrics.RMSE(), outputs, targets) == pytest.approx(
            oracle.root_mean_squared_error(targets, outputs)
        )
        assert value(metrics.MAE(), outputs, targets) == pytest.approx(oracle.mean_absolute_error(targets, outputs))
        assert value(metrics.R2(), outputs[:, None], targets) == pytest.approx(oracle.r2_score(targets, outputs))

    @pytest.mark.parametrize("level", [0.0, 0.1, 3e7])
    def test_targets_without_variance(self, level: float) -> None:
        targets = np.full(7, level)
        assert value(metrics.R2(), targets, targets) == 1
        assert value(metrics.R2(), targets + 1, targets) == 0

    def test_targets_without_variance_as_in_scikit_learn(self) -> None:
        targets = np.full(8, 2.0)
        assert value(metrics.R2(), targets, targets) == oracle.r2_score(targets, targets)
        assert value(metrics.R2(), targets + 1, targets) == oracle.r2_score(targets, targets + 1)

    def test_r2_is_for_one_output(self) -> None:
        with pytest.raises(LearnerError, match="one output"):
            metrics.R2().statistics(np.zeros((3, 2)), np.zeros((3, 2)))


class TestResolve:
    def test_names_and_objects_in_their_order(self) -> None:
        f1 = metrics.F1(classes=10)
        found = metrics.resolve(["accuracy", f1, "auroc", "rmse"])
        assert found == (metrics.Accuracy(), f1, metrics.AUROC(), metrics.RMSE())

    @pytest.mark.parametrize("name", ["accuracy", "log_loss", "perplexity", "auroc", "rmse", "mae", "r2"])
    def test_a_metric_has_the_name_it_is_found_by(self, name: str) -> None:
        assert metrics.resolve([name])[0].name == name

    def test_a_name_that_needs_parameters_says_which(self) -> None:
        with pytest.raises(ConfigError, match=r"use ct\.metrics\.F1\(classes=10\)"):
            metrics.resolve(["f1"])

    def test_an_unknown_name_suggests_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
            metrics.resolve(["acuracy"])

    def test_duplicates_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="two metrics are named 'f1'"):
            metrics.resolve([metrics.F1(classes=2), metrics.F1(classes=2, average="binary")])

    def test_what_is_no_metric_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"metrics\[0\]"):
            metrics.resolve([metrics.Accuracy])  # type: ignore[list-item]
        with pytest.raises(ConfigError, match="give a list"):
            metrics.resolve("accuracy")

    def test_macro_and_micro_stand_side_by_side(self) -> None:
        assert [m.name for m in metrics.resolve([metrics.F1(classes=3), metrics.F1(classes=3, average="micro")])] == [
            "f1",
            "f1_micro",
        ]

    @pytest.mark.parametrize("metric", [*BINARY, *MULTICLASS, *REGRESSION], ids=lambda metric: metric.name)
    def test_a_metric_survives_the_manifest(self, metric: metrics.Metric) -> None:
        assert decode(encode(metric)) == metric
