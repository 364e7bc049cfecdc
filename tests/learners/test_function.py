"""A plain function of one's own trains, is judged, and is told what it did wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core.errors import ConfigError, DataError, LearnerError
from comity.core.manifest import decode, encode
from comity.core.seeds import Seed
from comity.data.examples import Examples
from comity.learners.base import Correction, Hardware, Model, Trained, Work
from comity.learners.function import Function
from comity.learners.plan import LocalPlan, LocalSGD
from comity.learners.schedules import Constant, Cosine, Exponential

PLAN = LocalSGD(lr=0.1, epochs=3)


def start(rng: np.random.Generator) -> dict[str, Any]:
    return {"slope": rng.normal(size=(2,)), "level": np.zeros(())}


def predict(weights: dict[str, Any], x: Any) -> Any:
    return x @ weights["slope"] + weights["level"]


def fit(weights: dict[str, Any], x: Any, y: Any, plan: LocalPlan, rng: np.random.Generator) -> dict[str, Any]:
    for _ in range(plan.batches(len(y))):
        error = predict(weights, x) - y
        weights["slope"] -= plan.lr * x.T @ error / len(y)
        weights["level"] -= plan.lr * error.mean()
    return weights


def squares(outputs: Any, y: Any) -> Any:
    return (outputs - y) ** 2


def noisy(weights: dict[str, Any], x: Any, y: Any, plan: LocalPlan, rng: np.random.Generator) -> dict[str, Any]:
    return {name: array + rng.normal(size=array.shape) for name, array in weights.items()}


LINE = Function(start, fit, predict, squares, metrics=["rmse"])


def examples(seed: int = 0, n: int = 30) -> Examples:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    return Examples(x, (x @ [1.0, -2.0] + 3).astype(np.float32))


def train(model: Function, data: Examples | None = None, plan: LocalPlan = PLAN, **options: Any) -> Trained:
    options.setdefault("weights", model.init(Seed.of(1)))
    options.setdefault("seeds", [Seed.of(2)])
    return model.build(Hardware()).train(Work(examples=[examples() if data is None else data], plan=plan, **options))


def plan_seen(plan: LocalPlan, **options: Any) -> tuple[LocalPlan, Trained]:
    """The plan that a party's function receives, and what its training gave."""
    seen = []

    def record(weights: Any, x: Any, y: Any, plan: LocalPlan, rng: Any) -> Any:
        seen.append(plan)
        return weights

    trained = train(Function(start, record), plan=plan, **options)
    return seen[0], trained


class TestModel:
    def test_it_is_a_model(self) -> None:
        assert isinstance(LINE, Model)

    def test_the_arrays_of_start_are_the_layout(self) -> None:
        assert [(entry.name, entry.shape, entry.dtype) for entry in LINE.layout.entries] == [
            ("slope", (2,), "float32"),
            ("level", (), "float32"),
        ]

    def test_it_starts_from_the_seed(self) -> None:
        first = LINE.init(Seed.of(1))
        np.testing.assert_array_equal(first, LINE.init(Seed.of(1)))
        assert not np.array_equal(first, LINE.init(Seed.of(2)))
        assert first.dtype == np.float32
        np.testing.assert_allclose(first[:2], start(Seed.of(1).rng())["slope"], rtol=1e-6)
        assert LINE.init_local(Seed.of(1)).shape == (0,)

    def test_it_exports_named_arrays(self) -> None:
        exported = LINE.export(torch.arange(3, dtype=torch.float32))
        assert exported["slope"].tolist() == [0, 1]
        assert exported["level"] == 2

    def test_the_manifest_brings_it_back(self) -> None:
        assert decode(encode(LINE), objects=[start, fit, predict, squares]) == LINE

    def test_devices_and_batches_of_parties_are_refused(self) -> None:
        reason = LINE.batchable(PLAN)
        assert reason == LINE.prefers_batched(Hardware())[1]
        with pytest.raises(LearnerError, match=str(reason)):
            LINE.build(Hardware(), batched=True)
        with pytest.raises(LearnerError, match="cuda"):
            LINE.build(Hardware(device="cuda"))


class TestTraining:
    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(0, 2**31), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4))
    def test_each_row_is_what_the_function_gives_alone(self, seed: int, sizes: list[int]) -> None:
        parties = [examples(seed + i, n) for i, n in enumerate(sizes)]
        weights = LINE.init(Seed.of(seed))
        seeds = [Seed.of(i) for i in range(len(sizes))]
        trained = LINE.build(Hardware()).train(Work(weights, parties, PLAN, seeds))
        for change, party in zip(trained.change, parties, strict=True):
            alone = fit(LINE.unpack(weights), party.x, party.y, PLAN, np.random.default_rng(0))
            after = np.array([*alone["slope"], alone["level"]], dtype=np.float32)
            np.testing.assert_array_equal(change, after - weights)
        assert trained.examples.tolist() == [[n] for n in sizes]
        assert trained.steps.tolist() == [[3]] * len(sizes)
        expected = [
            [squares(predict(LINE.unpack(w), p.x), p.y).sum(), len(p)]
            for w, p in zip(trained.weights, parties, strict=True)
        ]
        np.testing.assert_allclose(trained.statistics["loss"], expected, rtol=1e-5)

    def test_what_the_function_does_to_its_arrays_stays_there(self) -> None:
        weights = LINE.init(Seed.of(1))
        before = weights.copy()
        train(LINE, weights=weights)
        np.testing.assert_array_equal(weights, before)

    def test_randomness_comes_from_the_partys_seed(self) -> None:
        model = Function(start, noisy)
        first = train(model).weights
        np.testing.assert_array_equal(train(model).weights, first)
        assert not np.array_equal(train(model, seeds=[Seed.of(3)]).weights, first)

    def test_parties_may_start_from_weights_of_their_own(self) -> None:
        rows = np.stack([LINE.init(Seed.of(i)) for i in range(2)])
        work = Work(rows, [examples(), examples()], PLAN, [Seed.of(0)] * 2)
        both = LINE.build(Hardware()).train(work).weights
        for index in (0, 1):
            np.testing.assert_array_equal(both[index], train(LINE, weights=rows[index]).weights[0])

    def test_the_plan_it_sees_is_the_rounds_own(self) -> None:
        plan, trained = plan_seen(LocalSGD(lr=0.4, epochs=2, batch_size=10, schedule=Exponential(0.5)), round=2)
        assert plan == LocalSGD(lr=0.1, epochs=2, batch_size=10, schedule=Constant())
        assert trained.steps.tolist() == [[6]]

    def test_a_budget_cuts_the_steps(self) -> None:
        plan, trained = plan_seen(LocalSGD(lr=0.4, epochs=2, batch_size=10), budgets=[0.5])
        assert (plan.epochs, plan.steps) == (None, 3)
        assert trained.steps.tolist() == [[3]]

    def test_a_schedule_may_end_at_zero(self) -> None:
        plan, _ = plan_seen(LocalSGD(lr=0.4, schedule=Cosine(rounds=2)), round=5)
        assert 0 < plan.lr < 1e-300

    def test_without_a_loss_it_covers_no_example(self) -> None:
        for model in (Function(start, fit), Function(start, fit, predict)):
            assert train(model).statistics["loss"].tolist() == [[0, 0]]
            found = model.build(Hardware()).evaluate(model.init(Seed.of(0)), None, [examples(), examples()])
            assert found["loss"].tolist() == [[0, 0]] * 2

    def test_averaging_learns_a_line(self) -> None:
        weights, trainer = LINE.init(Seed.of(0)), LINE.build(Hardware())
        parties = [examples(i) for i in range(4)]
        for _ in range(60):
            weights = trainer.train(Work(weights, parties, PLAN, [Seed.of(0)] * 4)).weights.mean(axis=0)
        np.testing.assert_allclose(weights, [1, -2, 3], atol=1e-2)


class TestEvaluation:
    def test_the_loss_and_every_metric(self) -> None:
        parties = [examples(1), examples(2, 7), examples(3, 0)]
        weights = LINE.init(Seed.of(0))
        found = LINE.build(Hardware()).evaluate(weights, None, parties)
        assert {name: rows.shape for name, rows in found.items()} == {"loss": (3, 2), "rmse": (3, 2)}
        errors = [squares(predict(LINE.unpack(weights), party.x), party.y).sum() for party in parties]
        np.testing.assert_allclose(
            found["loss"], [[e, len(p)] for e, p in zip(errors, parties, strict=True)], rtol=1e-5
        )
        np.testing.assert_allclose(found["rmse"], found["loss"], rtol=1e-5)


def without_level(weights: Any, *rest: Any) -> Any:
    return {"slope": weights["slope"]}


def transposed(weights: Any, *rest: Any) -> Any:
    return {"slope": weights["slope"][:, None], "level": weights["level"]}


def renamed(weights: Any, *rest: Any) -> Any:
    return weights | {"slop": weights["slope"]}


def nothing(weights: Any, *rest: Any) -> Any:
    return None


def broken(weights: Any, *rest: Any) -> Any:
    return weights["tilt"]


def mean(outputs: Any, y: Any) -> Any:
    return ((outputs - y) ** 2).mean()


def count(weights: Any, x: Any) -> Any:
    return len(x)


class TestErrors:
    @pytest.mark.parametrize(
        ("model", "match"),
        [
            (Function(start, without_level), r"Function\.fit without_level: the array 'level' is missing"),
            (Function(start, transposed), r"Function\.fit transposed: .*'slope' has the shape \(2, 1\), not \(2,\)"),
            (Function(start, renamed), r"Function\.fit renamed: .*'slop' that start does not give"),
            (Function(start, nothing), r"Function\.fit nothing: it returned a NoneType"),
            (Function(start, broken), r"Function\.fit broken: KeyError: 'tilt' \(line \d+\)"),
            (Function(start, fit, broken, squares), r"Function\.predict broken: KeyError"),
            (Function(start, fit, count, squares), r"Function\.predict count: outputs of shape \(\)"),
            (Function(start, fit, predict, mean), r"Function\.loss mean: .*the loss of each example"),
        ],
        ids=lambda case: case if isinstance(case, str) else "",
    )
    def test_a_function_at_fault_is_named_with_its_array(self, model: Function, match: str) -> None:
        with pytest.raises(LearnerError, match="(?s)" + match):
            train(model)

    @pytest.mark.parametrize(
        ("begin", "match"),
        [
            (lambda rng: {}, "no array"),
            (lambda rng: [np.zeros(2)], "returned a list"),
            (lambda rng: {"a": np.zeros(2, dtype=int)}, "'a' is of int64"),
            (lambda rng: 1 / 0, "ZeroDivisionError"),
        ],
    )
    def test_a_start_at_fault_is_named(self, begin: Any, match: str) -> None:
        with pytest.raises(LearnerError, match=rf"Function\.start .*{match}"):
            _ = Function(begin, fit).layout

    def test_the_cause_is_kept(self) -> None:
        with pytest.raises(LearnerError) as caught:
            train(Function(start, broken))
        assert isinstance(caught.value.__cause__, KeyError)

    def test_metrics_and_loss_need_outputs(self) -> None:
        for options in ({"metrics": ["rmse"]}, {"loss": squares}):
            with pytest.raises(ConfigError, match=r"Function\.predict"):
                Function(start, fit, **options)

    def test_a_correction_is_refused(self) -> None:
        with pytest.raises(LearnerError, match="correct its gradients"):
            train(LINE, correction=Correction(0.1, LINE.init(Seed.of(0))))

    def test_an_empty_party_is_an_error(self) -> None:
        with pytest.raises(DataError, match="no examples"):
            train(LINE, examples(n=0))
