"""Estimators of scikit-learn train by a plan's steps or by refitting, and answer as scikit-learn does."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.metrics import log_loss
from sklearn.naive_bayes import MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor

from comity.core.errors import ConfigError, DataError, LearnerError, MissingDependency
from comity.core.manifest import decode, encode
from comity.core.seeds import Seed
from comity.data.examples import Examples
from comity.learners.base import Correction, Hardware, Model, Trained, Work
from comity.learners.metrics import AUROC
from comity.learners.plan import LocalAdam, LocalAdamW, LocalSGD
from comity.learners.schedules import Cosine, Exponential
from comity.learners.sklearn import Estimator

SINGLE = LocalSGD(lr=0.1, batch_size=1)
SOFT = {"loss": "log_loss", "penalty": None}


def dataset(seed: int = 0, n: int = 40, features: int = 5, classes: int | None = 3) -> Examples:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)).astype(np.float32)
    truth = rng.normal(size=(features, classes or 1))
    scores = x @ truth + rng.normal(size=(n, classes or 1))
    return Examples(x, scores[:, 0].astype(np.float32) if classes is None else scores.argmax(axis=1))


def train(model: Estimator, examples: Examples, plan: Any = SINGLE, **options: Any) -> Trained:
    options.setdefault("weights", model.init(Seed.of(1)))
    options.setdefault("seeds", [Seed.of(2)])
    return model.build(Hardware()).train(Work(examples=[examples], plan=plan, **options))


def outputs(model: Estimator, weights: Any, x: Any) -> Any:
    return model.coefficients.outputs(model.export(weights), x)


class Softmax:
    """Plain NumPy gradients of one layer: log-loss of C classes, or half the squared error of one output."""

    def __init__(self, classes: int | None, features: int) -> None:
        self.classes, self.features = classes, features

    def gradient(self, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        rows = self.classes or 1
        coef = weights[: rows * self.features].reshape(self.features, rows)
        scores = x @ coef + weights[rows * self.features :]
        error = softmax(scores, axis=1) - np.eye(rows)[y] if self.classes else scores - y[:, None]
        return np.concatenate([(x.T @ error).reshape(-1), error.sum(axis=0)]) / len(y)


class TestDescription:
    def test_it_is_a_model(self) -> None:
        assert isinstance(Estimator(SGDClassifier(), features=3, classes=2), Model)

    def test_an_estimator_and_its_class_with_parameters_are_the_same(self) -> None:
        ours = Estimator(SGDClassifier(alpha=0.5, random_state=3), features=3, classes=2)
        assert ours == Estimator(SGDClassifier, {"alpha": 0.5}, features=3, classes=2)
        assert ours.parameters["alpha"] == 0.5
        assert "random_state" not in ours.parameters

    @pytest.mark.parametrize(
        "model",
        [
            Estimator(SGDClassifier(**SOFT), features=3, classes=4, metrics=["accuracy", AUROC(classes=4)]),
            Estimator(MLPClassifier(hidden_layer_sizes=[4, np.int64(3)]), features=3, classes=2),
            Estimator(Ridge(alpha=2.0), features=3, outputs=2, mode="refit"),
        ],
        ids=lambda model: model.title,
    )
    def test_the_manifest_brings_it_back(self, model: Estimator) -> None:
        assert decode(encode(model), objects=[model.estimator]) == model

    @pytest.mark.parametrize(
        ("model", "shapes"),
        [
            (Estimator(SGDClassifier(), features=3, classes=2), {"coef_": (1, 3), "intercept_": (1,)}),
            (Estimator(Perceptron(), features=3, classes=4), {"coef_": (4, 3), "intercept_": (4,)}),
            (Estimator(SGDRegressor(fit_intercept=False), features=3), {"coef_": (1, 3)}),
            (
                Estimator(MLPRegressor(hidden_layer_sizes=(5,)), features=3, outputs=2),
                {"coefs_.0": (3, 5), "coefs_.1": (5, 2), "intercepts_.0": (5,), "intercepts_.1": (2,)},
            ),
        ],
        ids=["binary", "multiclass", "no intercept", "network"],
    )
    def test_the_coefficients_have_scikit_learns_names(self, model: Estimator, shapes: dict[str, Any]) -> None:
        weights = model.init(Seed.of(0))
        exported = model.export(torch.from_numpy(weights))
        assert {name: array.shape for name, array in exported.items()} == shapes
        assert weights.dtype == np.float32
        assert weights.shape == (model.layout.size,)
        assert model.init_local(Seed.of(0)).shape == (0,)

    def test_a_network_starts_from_the_seed(self) -> None:
        model = Estimator(MLPClassifier(), features=30, classes=2)
        np.testing.assert_array_equal(model.init(Seed.of(1)), model.init(Seed.of(1)))
        assert not np.array_equal(model.init(Seed.of(1)), model.init(Seed.of(2)))
        assert np.abs(model.export(model.init(Seed.of(1)))["coefs_.0"]).max() == pytest.approx(
            np.sqrt(6 / 130), rel=0.01
        )

    @pytest.mark.parametrize(
        ("make", "match"),
        [
            (lambda: Estimator(SGDClassifier(), features=3), "classes"),
            (lambda: Estimator(SGDRegressor(), features=3, classes=2), "regressor with classes"),
            (lambda: Estimator(SGDRegressor(), features=3, outputs=2), "outputs is 2"),
            (lambda: Estimator(SGDClassifier(), features=0, classes=2), "features is 0"),
            (lambda: Estimator(LogisticRegression(), features=3, classes=2), 'mode="refit"'),
            (lambda: Estimator(MLPClassifier(solver="lbfgs"), features=3, classes=2), "no partial_fit"),
            (lambda: Estimator(MLPClassifier(), features=3, classes=2, mode="refit"), "cannot be refitted"),
            (lambda: Estimator(MLPRegressor(loss="poisson"), features=3), "Poisson"),
            (lambda: Estimator(MultinomialNB(), features=3, classes=2), "learning rate cannot be set"),
            (lambda: Estimator(SGDClassifier(average=True), features=3, classes=2), "average=True"),
            (lambda: Estimator(SGDClassifier(early_stopping=True), features=3, classes=2), "early_stopping"),
            (
                lambda: Estimator(SGDClassifier(class_weight={0: 2}), features=3, classes=2),
                "SGDClassifier.class_weight",
            ),
            (lambda: Estimator(SGDClassifier, {"alpa": 1}, features=3, classes=2), "alpa"),
            (
                lambda: Estimator(SGDClassifier(), {"alpha": 1}, features=3, classes=2),
                "both an estimator and parameters",
            ),
            (lambda: Estimator(dict, features=3, classes=2), "dict is no estimator"),
            (lambda: Estimator(SGDClassifier(), features=3, classes=2, mode="other"), "mode is 'other'"),  # type: ignore[arg-type]
        ],
    )
    def test_what_does_not_fit_is_refused_with_the_field(self, make: Any, match: str) -> None:
        with pytest.raises(ConfigError, match=match):
            make()

    @pytest.mark.parametrize(
        "model",
        [
            Estimator(PoissonRegressor(), features=3, mode="refit"),
            Estimator(MiniBatchKMeans(), features=3, mode="refit"),
            Estimator(SGDClassifier(alpha=-1), features=3, classes=2),
        ],
        ids=["log link", "no coefficients", "bad parameter"],
    )
    def test_what_is_not_linear_in_its_coefficients_is_refused_when_built(self, model: Estimator) -> None:
        with pytest.raises(ConfigError, match=model.title.replace("(", r"\(").replace(")", r"\)")):
            model.build(Hardware())

    def test_devices_and_batches_of_parties_are_refused(self) -> None:
        model = Estimator(SGDClassifier(), features=3, classes=2)
        reason = model.batchable(SINGLE)
        assert reason is not None
        with pytest.raises(LearnerError, match=reason):
            model.build(Hardware(), batched=True)
        with pytest.raises(LearnerError, match="on the CPU"):
            model.build(Hardware(device="cuda"))

    def test_the_package_is_imported_without_scikit_learn(self) -> None:
        code = "import sys, comity.learners.sklearn; sys.exit('sklearn' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    def test_without_scikit_learn_the_install_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sklearn.base", None)
        with pytest.raises(MissingDependency, match=r"comity\[sklearn\]"):
            Estimator(SGDClassifier, features=3, classes=2)


class TestSteps:
    @settings(max_examples=15, deadline=None)
    @given(seed=st.integers(0, 2**31), n=st.integers(2, 20), epochs=st.integers(1, 3), mu=st.sampled_from([0.0, 0.5]))
    def test_a_linear_model_takes_one_corrected_step_an_example(
        self, seed: int, n: int, epochs: int, mu: float
    ) -> None:
        examples = dataset(seed, n, classes=None)
        model = Estimator(SGDRegressor(penalty=None), features=5)
        rng = np.random.default_rng(seed)
        start, drift = rng.normal(size=(2, 6)).astype(np.float32) * 0.1
        correction = Correction(mu, start * 0, drift if mu else None)
        plan = LocalSGD(lr=0.01, epochs=epochs, batch_size=1)
        trained = train(model, examples, plan, weights=start, correction=correction)
        order, expected = Seed.of(2).child("order").rng(), start.astype(np.float64)
        for _ in range(epochs):
            for row in order.permutation(n):
                gradient = Softmax(None, 5).gradient(expected, examples.x[[row]], examples.y[[row]])
                expected = expected - 0.01 * (gradient + mu * expected + (drift if mu else 0))
        np.testing.assert_allclose(trained.weights[0], expected, atol=1e-4)
        assert trained.steps.tolist() == [[epochs * n]]
        assert trained.examples.tolist() == [[n]]

    @settings(max_examples=15, deadline=None)
    @given(
        seed=st.integers(0, 2**31),
        n=st.integers(3, 30),
        size=st.sampled_from([None, 4, 7]),
        mu=st.sampled_from([0.0, 0.5]),
    )
    def test_a_network_takes_one_corrected_step_a_batch(self, seed: int, n: int, size: int | None, mu: float) -> None:
        examples = dataset(seed, n)
        model = Estimator(MLPClassifier(hidden_layer_sizes=(), alpha=0), features=5, classes=3)
        start = model.init(Seed.of(seed))
        correction = Correction(mu, start * 0, start * 2 if mu else None)
        plan = LocalSGD(lr=0.1, steps=6, batch_size=size)
        trained = train(model, examples, plan, weights=start, correction=correction)
        expected, done, order = start.astype(np.float64), 0, Seed.of(2).child("order").rng()
        while done < 6:
            rows = order.permutation(n)
            for first in range(0, n, size or n)[: 6 - done]:
                batch = rows[first : first + (size or n)]
                gradient = Softmax(3, 5).gradient(expected, examples.x[batch], examples.y[batch])
                expected = expected - 0.1 * (gradient + mu * expected + (2 * start if mu else 0))
                done += 1
        np.testing.assert_allclose(trained.weights[0], expected, atol=1e-4)
        assert trained.steps.tolist() == [[6]]

    @pytest.mark.parametrize(
        ("plan", "optimizer"),
        [
            (LocalSGD(lr=0.1, momentum=0.9, epochs=3, batch_size=40), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
            (
                LocalSGD(lr=0.1, momentum=0.9, nesterov=True, epochs=3, batch_size=40),
                lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
            ),
            (
                LocalAdam(lr=0.01, betas=(0.8, 0.9), epochs=3),
                lambda p: torch.optim.Adam(p, 0.01, betas=(0.8, 0.9)),
            ),
        ],
        ids=["momentum", "nesterov", "adam"],
    )
    def test_a_networks_optimizers_are_those_of_pytorch(self, plan: Any, optimizer: Any) -> None:
        examples = dataset(4)
        model = Estimator(MLPClassifier(hidden_layer_sizes=(6,), activation="tanh", alpha=0), features=5, classes=3)
        start = model.init(Seed.of(3))
        first, second, b1, b2 = (torch.tensor(a, requires_grad=True) for a in model.export(start).values())
        stepper = optimizer([first, second, b1, b2])
        for _ in range(3):
            stepper.zero_grad()
            logits = torch.tanh(torch.from_numpy(examples.x) @ first + b1) @ second + b2
            torch.nn.functional.cross_entropy(logits, torch.from_numpy(examples.y)).backward()
            stepper.step()
        expected = torch.cat([p.detach().reshape(-1) for p in (first, second, b1, b2)])
        trained = train(model, examples, plan, weights=start)
        np.testing.assert_allclose(trained.weights[0], expected, atol=2e-5)

    @pytest.mark.parametrize(
        "model",
        [
            Estimator(SGDClassifier(**SOFT), features=5, classes=3),
            Estimator(MLPClassifier(hidden_layer_sizes=(4,)), features=5, classes=3),
        ],
        ids=["linear", "network"],
    )
    def test_one_party_leaves_nothing_behind_for_the_next(self, model: Estimator) -> None:
        plan = LocalSGD(lr=0.1, batch_size=1) if not model.is_network else LocalAdam(lr=0.1, batch_size=8)
        parties, seeds = [dataset(1), dataset(2, 25)], [Seed.of(5), Seed.of(6)]
        start = model.init(Seed.of(0))
        trainer = model.build(Hardware())
        both = trainer.train(Work(start, parties, plan, seeds))
        for index in (1, 0):
            rows = Work(np.stack([start]), [parties[index]], plan, [seeds[index]])
            alone = trainer.train(rows)
            np.testing.assert_array_equal(alone.weights[0], both.weights[index])
            np.testing.assert_array_equal(alone.statistics["loss"][0], both.statistics["loss"][index])
        assert both.weights.shape == (2, model.layout.size)
        assert both.weights.dtype == np.float32

    def test_the_rate_follows_the_schedule_and_the_budget_cuts_the_work(self) -> None:
        model = Estimator(SGDClassifier(**SOFT), features=5, classes=3)
        late = train(model, dataset(), LocalSGD(lr=0.2, batch_size=1, schedule=Exponential(0.5)), round=1)
        np.testing.assert_array_equal(late.weights, train(model, dataset()).weights)
        part = train(model, dataset(), budgets=[0.3])
        assert part.steps.tolist() == [[12]]
        done = train(model, dataset(), LocalSGD(lr=0.2, batch_size=1, schedule=Cosine(rounds=3)), round=3)
        np.testing.assert_array_equal(done.weights[0], model.init(Seed.of(1)))

    @pytest.mark.parametrize("label", [0, 2])
    @pytest.mark.parametrize(
        "model",
        [
            Estimator(SGDClassifier(**SOFT), features=5, classes=3),
            Estimator(Perceptron(), features=5, classes=3),
            Estimator(MLPClassifier(hidden_layer_sizes=(4,)), features=5, classes=3),
        ],
        ids=lambda model: model.title,
    )
    def test_a_party_with_one_label_trains(self, model: Estimator, label: int) -> None:
        examples = Examples(dataset().x, np.full(40, label))
        plan = LocalSGD(lr=0.1, batch_size=1, epochs=5)
        trained = train(model, examples, plan)
        assert (outputs(model, trained.weights[0], examples.x).argmax(axis=1) == label).mean() > 0.9

    @pytest.mark.parametrize(
        ("estimator", "plan", "match"),
        [
            (SGDClassifier(), LocalSGD(lr=1), "batch_size=1"),
            (SGDClassifier(), LocalSGD(lr=1, batch_size=1, momentum=0.9), "no momentum"),
            (SGDClassifier(), LocalSGD(lr=1, batch_size=1, weight_decay=0.1), "alpha"),
            (SGDClassifier(), LocalSGD(lr=1, batch_size=1, clip_norm=1), "clip"),
            (SGDClassifier(), LocalAdam(lr=1, batch_size=1), "LocalAdam"),
            (MLPClassifier(), LocalAdamW(lr=1), "LocalAdamW"),
            (MLPClassifier(), LocalAdam(lr=1, weight_decay=0.1), "alpha"),
        ],
    )
    def test_what_a_plan_asks_in_vain_is_refused_with_the_mend(self, estimator: Any, plan: Any, match: str) -> None:
        with pytest.raises(LearnerError, match=match):
            train(Estimator(estimator, features=5, classes=3), dataset(), plan)

    @pytest.mark.parametrize(
        ("estimator", "plan"),
        [
            (SGDClassifier(penalty="l1"), SINGLE),
            (MLPClassifier(), LocalSGD(lr=1, momentum=0.9)),
            (MLPClassifier(), LocalAdam(lr=1)),
        ],
    )
    def test_a_correction_that_would_not_be_exact_is_refused(self, estimator: Any, plan: Any) -> None:
        model = Estimator(estimator, features=5, classes=3)
        with pytest.raises(LearnerError, match="correction"):
            train(model, dataset(), plan, correction=Correction(0.1, model.init(Seed.of(0))))


class TestRefit:
    @pytest.mark.parametrize(
        ("estimator", "classes"),
        [
            (LinearRegression(), None),
            (Ridge(alpha=0.5, fit_intercept=False), None),
            (LogisticRegression(), 2),
            (LogisticRegression(C=0.5), 3),
        ],
    )
    def test_a_refit_is_scikit_learns_own_fit(self, estimator: Any, classes: int | None) -> None:
        examples = dataset(classes=classes)
        model = Estimator(estimator, features=5, classes=classes, mode="refit")
        trained = train(model, examples, LocalSGD(lr=1))
        fitted = estimator.fit(examples.x.astype(np.float64), examples.y)
        np.testing.assert_allclose(model.export(trained.weights[0])["coef_"], np.atleast_2d(fitted.coef_), rtol=1e-5)
        assert trained.steps.tolist() == [[1]]

    def test_several_outputs(self) -> None:
        examples = dataset(classes=None)
        targets = np.stack([examples.y, -examples.y, 2 * examples.y], axis=1)
        model = Estimator(LinearRegression(), features=5, outputs=3, mode="refit", metrics=["rmse"])
        trained = train(model, Examples(examples.x, targets), LocalSGD(lr=1))
        fitted = LinearRegression().fit(examples.x, targets)
        np.testing.assert_allclose(
            outputs(model, trained.weights[0], examples.x), fitted.predict(examples.x), atol=1e-4
        )
        loss = trained.statistics["loss"][0]
        assert loss[1] == 40
        assert loss[0] / 40 == pytest.approx(np.mean((fitted.predict(examples.x) - targets) ** 2), rel=1e-3)

    @pytest.mark.parametrize(
        ("estimator", "classes"),
        [
            (LogisticRegression(max_iter=1), 3),
            (LogisticRegression(max_iter=1), 2),
            (LogisticRegression(max_iter=1, fit_intercept=False), 3),
            (SGDClassifier(max_iter=1, tol=None, learning_rate="constant", eta0=1e-6), 3),
            (SGDClassifier(max_iter=1, tol=None, learning_rate="constant", eta0=1e-6, fit_intercept=False), 2),
            (SGDRegressor(max_iter=1, tol=None, learning_rate="constant", eta0=1e-6), None),
        ],
    )
    def test_it_starts_from_what_was_received(self, estimator: Any, classes: int | None) -> None:
        examples, options = dataset(classes=classes), {"features": 5, "classes": classes, "mode": "refit"}
        whole = Estimator(type(estimator)(fit_intercept=estimator.fit_intercept), **options)
        solved = train(whole, examples, LocalSGD(lr=1)).weights[0]
        again = train(Estimator(estimator, **options), examples, LocalSGD(lr=1), weights=solved).weights[0]
        np.testing.assert_allclose(again, solved, atol=1e-2 * np.abs(solved).max())

    def test_a_fit_that_does_not_converge_is_not_warned_of(self) -> None:
        model = Estimator(LogisticRegression(max_iter=1), features=5, classes=3, mode="refit")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            train(model, dataset(), LocalSGD(lr=1))

    def test_rows_of_absent_classes_stay_as_received(self) -> None:
        model = Estimator(LogisticRegression(), features=5, classes=6, mode="refit")
        examples = dataset(classes=3)
        start = np.random.default_rng(0).normal(size=model.layout.size).astype(np.float32)
        after = model.export(train(model, examples, LocalSGD(lr=1), weights=start).weights[0])
        np.testing.assert_array_equal(after["coef_"][3:], model.export(start)["coef_"][3:])
        fitted = LogisticRegression(tol=1e-8).fit(examples.x, examples.y)
        ours = softmax(examples.x @ after["coef_"][:3].T + after["intercept_"][:3], axis=1)
        np.testing.assert_allclose(ours, fitted.predict_proba(examples.x), atol=2e-2)

    def test_two_classes_of_many_keep_their_mean_and_take_the_partys_difference(self) -> None:
        model = Estimator(LogisticRegression(), features=5, classes=6, mode="refit")
        drawn = dataset(classes=2)
        examples = Examples(drawn.x, np.where(drawn.y == 0, 1, 4))
        start = np.random.default_rng(0).normal(size=model.layout.size).astype(np.float32)
        before, after = (
            model.export(start)["coef_"],
            model.export(train(model, examples, LocalSGD(lr=1), weights=start).weights[0])["coef_"],
        )
        np.testing.assert_array_equal(after[[0, 2, 3, 5]], before[[0, 2, 3, 5]])
        np.testing.assert_allclose(after[1] + after[4], before[1] + before[4], atol=1e-5)
        fitted = LogisticRegression().fit(drawn.x, drawn.y)
        np.testing.assert_allclose(after[4] - after[1], fitted.coef_[0], atol=1e-2)

    @pytest.mark.parametrize("classes", [2, 3])
    def test_a_party_with_one_label_returns_what_it_received(self, classes: int) -> None:
        model = Estimator(LogisticRegression(), features=5, classes=classes, mode="refit")
        start = np.arange(model.layout.size, dtype=np.float32)
        trained = train(model, Examples(dataset().x, np.zeros(40, dtype=int)), LocalSGD(lr=1), weights=start)
        np.testing.assert_array_equal(trained.weights[0], start)

    @pytest.mark.parametrize(
        "plan",
        [
            LocalSGD(lr=1, epochs=2),
            LocalSGD(lr=1, batch_size=4),
            LocalSGD(lr=1, momentum=0.5),
            LocalSGD(lr=1, clip_norm=1),
            LocalAdam(lr=1),
        ],
    )
    def test_a_plan_for_more_than_one_fit_is_refused(self, plan: Any) -> None:
        with pytest.raises(LearnerError, match="knows nothing"):
            train(Estimator(Ridge(), features=5, mode="refit"), dataset(classes=None), plan)

    def test_a_correction_is_refused(self) -> None:
        model = Estimator(Ridge(), features=5, mode="refit")
        with pytest.raises(LearnerError, match="cannot correct"):
            train(model, dataset(classes=None), LocalSGD(lr=1), correction=Correction(drift=model.init(Seed.of(0))))


class TestEvaluation:
    @pytest.mark.parametrize(
        ("estimator", "classes"),
        [
            (SGDClassifier(**SOFT, learning_rate="constant", eta0=0.01), 2),
            (SGDClassifier(**SOFT, learning_rate="constant", eta0=0.01), 4),
            (MLPClassifier(hidden_layer_sizes=(5,), activation="relu"), 2),
            (MLPClassifier(hidden_layer_sizes=(5, 3), activation="logistic"), 4),
        ],
    )
    def test_the_loss_is_that_of_scikit_learns_probabilities(self, estimator: Any, classes: int) -> None:
        examples = dataset(classes=classes)
        fitted = estimator.partial_fit(examples.x, examples.y, classes=np.arange(classes))
        model = Estimator(estimator, features=5, classes=classes, metrics=["accuracy"])
        weights = model.layout.pack(model.coefficients.read(fitted))
        found = model.build(Hardware()).evaluate(weights, None, [examples, examples.take(slice(0, 10))])
        assert {name: rows.shape for name, rows in found.items()} == {"loss": (2, 2), "accuracy": (2, 2)}
        expected = log_loss(examples.y, fitted.predict_proba(examples.x), labels=np.arange(classes))
        assert found["loss"][0, 0] / 40 == pytest.approx(expected, rel=1e-4)
        assert found["accuracy"][0, 0] / 40 == pytest.approx(fitted.score(examples.x, examples.y))

    def test_each_party_may_have_weights_of_its_own(self) -> None:
        model = Estimator(SGDRegressor(), features=5, metrics=["rmse"])
        examples, trainer = dataset(classes=None), model.build(Hardware())
        rows = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
        both = trainer.evaluate(rows, None, [examples, examples])
        for index in (0, 1):
            alone = trainer.evaluate(rows[index], None, [examples])
            np.testing.assert_array_equal(alone["rmse"][0], both["rmse"][index])
        assert not np.array_equal(both["loss"][0], both["loss"][1])

    def test_no_example_gives_zeros(self) -> None:
        model = Estimator(SGDClassifier(), features=5, classes=3, metrics=["accuracy", "log_loss"])
        empty = dataset().take(np.zeros(0, dtype=np.int64))
        found = model.build(Hardware()).evaluate(model.init(Seed.of(0)), None, [empty])
        assert all(not rows.any() for rows in found.values())

    def test_images_are_flattened(self) -> None:
        examples = Examples(np.zeros((3, 2, 2), dtype=np.uint8), np.array([0, 1, 1]))
        model = Estimator(SGDClassifier(), features=4, classes=2)
        assert train(model, examples).weights.shape == (1, 5)


class TestBadData:
    @pytest.mark.parametrize("mode", ["partial_fit", "refit"])
    def test_it_is_named(self, mode: Any) -> None:
        kind = SGDClassifier(**SOFT) if mode == "partial_fit" else LogisticRegression()
        model = Estimator(kind, features=5, classes=3, mode=mode)
        plan = SINGLE if mode == "partial_fit" else LocalSGD(lr=1)
        x, y = dataset().x, dataset().y
        with pytest.raises(DataError, match="no examples"):
            train(model, Examples(x[:0], y[:0]), plan)
        with pytest.raises(LearnerError, match="NaN"):
            train(model, Examples(np.where(x > 1, np.nan, x), y), plan)
        with pytest.raises(LearnerError, match="labels from 0 to 7"):
            train(model, Examples(x, np.where(y == 2, 7, y)), plan)
        with pytest.raises(LearnerError, match="whole number"):
            train(model, Examples(x, y + 0.5), plan)
        with pytest.raises(LearnerError, match="features=4"):
            train(model, Examples(x[:, :4], y), plan)

    def test_a_diverging_rate_is_an_error_with_the_mend(self) -> None:
        model = Estimator(SGDRegressor(), features=5)
        with pytest.raises(LearnerError, match="learning rate"):
            train(model, dataset(classes=None), LocalSGD(lr=1e30, batch_size=1, epochs=20))

    def test_targets_must_have_as_many_columns_as_there_are_outputs(self) -> None:
        with pytest.raises(LearnerError, match="outputs=2"):
            train(Estimator(SGDRegressor(), features=5), Examples(dataset().x, np.zeros((40, 2))))


class TestLearning:
    def test_averaging_learns_the_wines(self) -> None:
        wine = load_wine()
        x = ((wine.data - wine.data.mean(0)) / wine.data.std(0)).astype(np.float32)
        parties = [Examples(x, wine.target, np.flatnonzero(np.arange(178) % 5 == i)) for i in range(5)]
        model = Estimator(SGDClassifier(loss="log_loss"), features=13, classes=3, metrics=["accuracy"])
        trainer, weights = model.build(Hardware()), model.init(Seed.of(0))
        for number in range(5):
            seeds = [Seed.of(0).child("party", round=number, party=i) for i in range(5)]
            weights = trainer.train(Work(weights, parties, SINGLE, seeds, number)).weights.mean(axis=0)
        correct, count = trainer.evaluate(weights, None, [Examples(x, wine.target)])["accuracy"][0]
        assert correct / count > 0.97

    def test_averaging_refits_predicts_breast_cancer(self) -> None:
        data = load_breast_cancer()
        x = ((data.data - data.data.mean(0)) / data.data.std(0)).astype(np.float32)
        parties = [Examples(x, data.target, np.flatnonzero(np.arange(569) % 4 == i)) for i in range(4)]
        model = Estimator(LogisticRegression(), features=30, classes=2, mode="refit", metrics=["accuracy", "auroc"])
        trainer = model.build(Hardware())
        work = Work(model.init(Seed.of(0)), parties, LocalSGD(lr=1), [Seed.of(i) for i in range(4)])
        weights = trainer.train(work).weights.mean(axis=0)
        found = trainer.evaluate(weights, None, [Examples(x, data.target)])
        assert found["accuracy"][0, 0] / 569 > 0.97
        assert model.metrics[1].value(found["auroc"][0]) > 0.99
        probabilities = expit(outputs(model, weights, x))
        assert found["loss"][0, 0] / 569 == pytest.approx(log_loss(data.target, probabilities), rel=1e-4)
