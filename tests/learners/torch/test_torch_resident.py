"""The resident trainer gives what an explicit autograd loop with `torch.optim` gives, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import comity.learners.torch as ct
from comity.core.errors import DataError, LearnerError
from comity.core.seeds import Seed
from comity.data.examples import Examples
from comity.learners.base import Hardware, Trained, Work
from comity.learners.plan import LocalAdam, LocalSGD
from comity.learners.schedules import Exponential
from support.torch_reference import CLASSES, FEATURES, PLANS, autograd_loop, make_work, perceptron, random_correction


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, CLASSES))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, CLASSES))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, stride=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, bias=False),
        nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, CLASSES),
    )  # fmt: skip


class Tied(nn.Module):
    """Three layers, of which the second and the third share their weight."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES, FEATURES)
        self.outer = nn.Linear(FEATURES, FEATURES)
        self.outer.weight = self.inner.weight
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.outer(torch.tanh(self.inner(x)))))


class Branching(nn.Module):
    """Control flow that depends on values, which no trace can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x if x.mean() > 0 else -2 * x)


class Reader(nn.Module):
    """A small causal transformer over tokens."""

    def __init__(self, recurrent: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.body = nn.LSTM(8, 8, batch_first=True) if recurrent else nn.TransformerEncoder(layer, 1)
        self.head = nn.Linear(8, 11)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(x)
        if isinstance(self.body, nn.LSTM):
            return self.head(self.body(hidden)[0])
        return self.head(self.body(hidden, mask=self.mask, is_causal=True))


def train(model: ct.Model, work: Work, hardware: Hardware | None = None) -> Trained:
    return model.build(hardware or Hardware()).train(work)


def assert_matches(model: ct.Model, work: Work, module: nn.Module, trained: Trained, tolerance: float = 2e-6) -> None:
    for party in range(len(work.examples)):
        expected, loss = autograd_loop(module, model, work, party)
        found = model.export(trained.weights[party])
        for entry in model.layout.entries:
            if entry.part != "fixed":
                np.testing.assert_allclose(found[entry.name], expected[entry.name], atol=tolerance, rtol=1e-5)
        total, count = trained.statistics["loss"][party]
        assert total / count == pytest.approx(loss, rel=1e-4)


class TestEqualsTorchOptim:
    @pytest.mark.parametrize("correction", ["none", "proximal", "drift", "both"])
    @pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
    def test_for_every_optimizer_and_correction(self, plan, correction):
        model = ct.Model(perceptron)
        work = replace(make_work(model, (23, 20), plan), correction=random_correction(model, correction))
        assert_matches(model, work, perceptron(), train(model, work))

    @pytest.mark.parametrize("make", [dropping, normed, Tied, Branching])
    @pytest.mark.parametrize("plan", ["sgd", "momentum"])
    def test_for_every_kind_of_module(self, make, plan):
        model = ct.Model(make)
        work = make_work(model, (23, 20), PLANS[plan])
        assert_matches(model, work, make(), train(model, work))

    @pytest.mark.parametrize("plan", ["sgd", "adam"])
    def test_for_images(self, plan):
        model = ct.Model(convolutional)
        work = make_work(model, (23,), PLANS[plan], shape=(2, 11, 11))
        assert_matches(model, work, convolutional(), train(model, work), tolerance=2e-5)

    @pytest.mark.parametrize("recurrent", [False, True])
    @pytest.mark.parametrize("plan", [PLANS["sgd"], LocalAdam(lr=0.01, eps=1e-3, batch_size=5)], ids=["sgd", "adam"])
    def test_for_text(self, plan, recurrent):
        # Attention has biases without gradient; a small eps would let Adam turn their rounding into whole steps.
        model = ct.Model(Reader, loss="next_token", metrics=(), arguments={"recurrent": recurrent})
        tokens = np.random.default_rng(0).integers(0, 11, size=(13, 7))
        work = replace(make_work(model, (13,), plan), examples=[Examples(tokens[:, :-1], tokens[:, 1:])])
        expected, _ = autograd_loop(
            Reader(recurrent), model, work, loss=lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten())
        )
        found = model.export(train(model, work).weights[0])
        assert all(np.allclose(found[name], expected[name], atol=1e-5) for name in expected)

    def test_with_a_schedule_by_round(self):
        model = ct.Model(perceptron)
        trainer = model.build(Hardware())
        plan = LocalSGD(lr=0.2, batch_size=5, schedule=Exponential(0.5))
        for round in (0, 3):
            work = replace(make_work(model, plan=plan), round=round)
            assert_matches(model, work, perceptron(), trainer.train(work))

    def test_with_a_budget(self):
        model = ct.Model(perceptron)
        work = replace(make_work(model, (23, 20), PLANS["two epochs"]), budgets=(0.35, 1.0))
        trained = train(model, work)
        assert trained.steps.tolist() == [[4.0], [8.0]]
        assert_matches(model, work, perceptron(), trained)

    def test_with_a_loss_of_ones_own(self):
        def smoothed(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(outputs, targets, label_smoothing=0.2)

        model = ct.Model(perceptron, loss=smoothed)
        work = make_work(model)
        expected, _ = autograd_loop(perceptron(), model, work, loss=smoothed)
        found = model.export(train(model, work).weights[0])
        assert all(np.allclose(found[name], expected[name], atol=2e-6) for name in expected)

    def test_of_regression_does_not_broadcast(self):
        model = ct.Model(nn.Linear, loss="mse", metrics=("rmse",), arguments={"in_features": 3, "out_features": 1})
        rng = np.random.default_rng(0)
        x = rng.normal(size=(9, 3)).astype(np.float32)
        work = replace(make_work(model, (9,), LocalSGD(lr=0.1), shape=(3,)), examples=[Examples(x, x.sum(1))])
        expected, _ = autograd_loop(
            nn.Linear(3, 1), model, work, loss=lambda outputs, targets: F.mse_loss(outputs[:, 0], targets)
        )
        assert np.allclose(model.export(train(model, work).weights[0])["weight"], expected["weight"], atol=1e-6)


class TestLadder:
    def test_plain_sgd_is_traced_and_fused(self):
        trainer = ct.Model(perceptron).build(Hardware())
        trainer.train(make_work(ct.Model(perceptron)))
        assert trainer.explanation.splitlines() == [
            "batches of [5, 12]: traced, update fused",
            "batches of [3, 12]: traced, update fused",
        ]

    @pytest.mark.parametrize("make", [dropping, normed, Tied])
    def test_noise_batch_norm_and_ties_are_traced(self, make):
        model = ct.Model(make)
        trainer = model.build(Hardware())
        trainer.train(make_work(model))
        assert "autograd" not in trainer.explanation

    def test_images_are_traced(self):
        model = ct.Model(convolutional)
        trainer = model.build(Hardware())
        trainer.train(make_work(model, shape=(2, 11, 11)))
        assert "autograd" not in trainer.explanation

    def test_control_flow_on_values_falls_back_and_says_so(self):
        trainer = ct.Model(Branching).build(Hardware())
        trainer.train(make_work(ct.Model(Branching)))
        assert "autograd: cannot be traced" in trainer.explanation

    def test_a_transformer_with_dropout_is_traced(self):
        model = ct.Model(Reader, loss="next_token", metrics=())
        tokens = np.random.default_rng(0).integers(0, 11, size=(10, 7))
        trainer = model.build(Hardware())
        trainer.train(replace(make_work(model, (10,)), examples=[Examples(tokens[:, :-1], tokens[:, 1:])]))
        assert trainer.explanation == "batches of [5, 6]: traced, update fused"

    def test_a_first_party_that_diverges_does_not_cost_the_others_their_trace(self):
        model = ct.Model(perceptron)
        work = make_work(model, (20,))
        x = np.full_like(work.examples[0].x, np.nan, dtype=np.float32)
        trainer = model.build(Hardware())
        trainer.train(replace(work, examples=[Examples(x, work.examples[0].y)]))
        assert trainer.explanation == "batches of [5, 12]: traced, update fused"

    def test_large_odd_batches_are_not_worth_a_trace(self):
        model = ct.Model(perceptron)
        trainer = model.build(Hardware())
        trainer.train(make_work(model, (70,), LocalSGD(lr=0.1)))
        assert "not the planned batch size" in trainer.explanation

    def test_tracing_imports_no_compiler(self):
        script = (
            "import sys; from support.torch_reference import *; import comity.learners.torch as ct;"
            "from comity.learners.base import Hardware; m = ct.Model(perceptron); w = make_work(m, (9, 5));"
            "[m.build(Hardware(), batched=b).train(w) for b in (False, True)];"
            "print(sorted({'torch._dynamo', 'torch._inductor', 'sympy'} & set(sys.modules)))"
        )
        tests = Path(__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", script], cwd=tests, capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"

    def test_a_step_is_traced_once_for_all_learning_rates(self):
        model = ct.Model(perceptron)
        trainer = model.build(Hardware())
        for lr in (0.1, 0.2, 0.3):
            trainer.train(make_work(model, plan=LocalSGD(lr=lr, batch_size=5)))
        assert len(trainer.ladder._fused) == 2


class TestLeavesNothingBehind:
    @pytest.mark.parametrize("make", [perceptron, dropping, normed])
    @pytest.mark.parametrize("plan", ["sgd", "momentum", "adam"])
    def test_a_party_trains_alike_alone_and_after_others(self, make, plan):
        model = ct.Model(make)
        work = make_work(model, (23, 20, 14), PLANS[plan])
        together = train(model, work)
        alone = train(model, replace(work, examples=work.examples[2:], seeds=work.seeds[2:]))
        assert np.array_equal(together.weights[2], alone.weights[0])
        assert np.array_equal(together.statistics["loss"][2], alone.statistics["loss"][0])

    def test_training_again_gives_the_same(self):
        model = ct.Model(normed)
        trainer, work = model.build(Hardware()), make_work(ct.Model(normed))
        first = trainer.train(work).weights
        trainer.evaluate(work.weights, None, work.examples)
        assert np.array_equal(first, trainer.train(work).weights)

    def test_batch_norm_that_counts_batches_starts_anew_at_every_party(self):
        def cumulative() -> nn.Module:
            return nn.Sequential(nn.BatchNorm1d(FEATURES, momentum=None), nn.Linear(FEATURES, CLASSES))

        model = ct.Model(cumulative)
        work = make_work(model, (20, 20))
        assert_matches(model, work, cumulative(), train(model, work))

    def test_the_callers_random_state_threads_and_arrays_stay(self):
        model = ct.Model(dropping)
        torch.manual_seed(11)
        state, threads = torch.get_rng_state(), torch.get_num_threads()
        work = make_work(model)
        sent = work.weights.copy()
        trainer = model.build(Hardware(threads=threads + 1))
        trainer.train(work)
        trainer.evaluate(work.weights, None, work.examples)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_num_threads() == threads
        assert np.array_equal(work.weights, sent)

    def test_the_outcome_is_not_overwritten_by_the_next_call(self):
        model = ct.Model(perceptron)
        trainer, work = model.build(Hardware()), make_work(model)
        first = trainer.train(work).weights
        kept = first.copy()
        trainer.train(replace(work, weights=work.weights * 2))
        assert np.array_equal(first, kept)


def test_a_change_is_left_in_the_room_that_is_given() -> None:
    model = ct.Model(perceptron)
    work = make_work(model, (7, 12))
    room = np.full((2, model.layout.size), np.nan, dtype=np.float32)
    expected, found = train(model, work), train(model, replace(work, room=room))
    assert np.shares_memory(found.change, room)
    assert np.array_equal(found.change, expected.change)


class TestNoise:
    def test_dropout_comes_from_the_partys_seed(self):
        model = ct.Model(dropping)
        work = replace(make_work(model, (20, 20)), budgets=(0.2, 0.2))
        work = replace(work, examples=[work.examples[0]] * 2)
        one, other = train(model, work).weights
        assert not np.allclose(one, other)
        one, other = train(model, replace(work, seeds=[work.seeds[0]] * 2)).weights
        assert np.array_equal(one, other)


class TestBorder:
    def test_numpy_in_numpy_out_and_tensor_in_tensor_out(self):
        model = ct.Model(perceptron)
        trainer, work = model.build(Hardware()), make_work(model)
        trained = trainer.train(work)
        assert all(isinstance(a, np.ndarray) for a in (trained.weights, trained.steps, trained.examples))
        tensors = trainer.train(replace(work, weights=torch.from_numpy(work.weights)))
        assert all(isinstance(a, torch.Tensor) for a in (tensors.weights, tensors.steps, tensors.statistics["loss"]))
        assert np.array_equal(trained.weights, tensors.weights.numpy())
        tensors.weights.add_(1.0)

    def test_columns_broadcast_against_vectors(self):
        model = ct.Model(perceptron)
        work = make_work(model, (23, 20))
        trained = train(model, work)
        assert trained.steps.shape == trained.examples.shape == (2, 1)
        assert ((trained.weights - work.weights) / trained.steps).shape == trained.weights.shape
        assert trained.examples.tolist() == [[23.0], [20.0]]
        assert trained.statistics["loss"][:, 1].tolist() == [23.0, 20.0]

    def test_every_party_may_start_from_its_own_weights(self):
        model = ct.Model(perceptron)
        work = make_work(model, (23, 20))
        own = np.stack([work.weights, work.weights * 0.5])
        trained = train(model, replace(work, weights=own))
        alone = train(model, replace(work, weights=own[1], examples=work.examples[1:], seeds=work.seeds[1:]))
        assert np.array_equal(trained.weights[1], alone.weights[0])

    def test_read_only_weights_are_accepted(self):
        model = ct.Model(perceptron)
        work = make_work(model)
        work.weights.setflags(write=False)
        assert np.isfinite(train(model, work).weights).all()


class TestLocalParts:
    def test_a_personal_head_trains_and_stays_apart(self):
        model = ct.Model(perceptron, local=("2.*",))
        whole = ct.Model(perceptron)
        work = make_work(model, (23,))
        trained = train(model, work)
        reference = train(whole, make_work(whole, (23,)))
        expected = whole.layout.unpack(reference.weights[0])
        assert np.allclose(model.layout.unpack(trained.weights[0])["0.weight"], expected["0.weight"], atol=1e-6)
        assert np.allclose(model.layout.unpack(trained.local[0], "local")["2.weight"], expected["2.weight"], atol=1e-6)

    @pytest.mark.parametrize("plan", ["sgd", "weight decay", "adam"])
    def test_a_correction_leaves_the_head_alone(self, plan):
        model = ct.Model(perceptron, local=("2.*",))
        correction = replace(random_correction(model, "both"), mu=0.0)
        plain = train(model, make_work(model, (5,), replace(PLANS[plan], epochs=None, steps=1)))
        work = replace(make_work(model, (5,), replace(PLANS[plan], epochs=None, steps=1)), correction=correction)
        corrected = train(model, work)
        assert np.allclose(plain.local, corrected.local, atol=1e-6)
        assert not np.allclose(plain.weights, corrected.weights, atol=1e-6)

    def test_missing_local_arrays_are_an_error(self):
        model = ct.Model(perceptron, local=("2.*",))
        with pytest.raises(LearnerError, match="keeps 36 numbers at the party"):
            train(model, replace(make_work(model), local=None))

    def test_frozen_parameters_do_not_move(self):
        model = ct.Model(perceptron, frozen=("0.*",))
        work = make_work(model)
        before, after = model.export(work.weights), model.export(train(model, work).weights[0])
        assert np.array_equal(before["0.weight"], after["0.weight"])
        assert not np.array_equal(before["2.weight"], after["2.weight"])
        assert work.weights.shape == (36,)

    def test_batch_norm_buffers_stay_at_the_party_under_the_policy_local(self):
        model = ct.Model(normed, buffers="local")
        work = make_work(model, (20, 20))
        trained = train(model, work)
        mean = model.layout.unpack(trained.local[0], "local")["1.running_mean"]
        assert trained.weights.shape[1] == model.layout.shared_size
        assert np.abs(mean).max() > 0
        averaged = ct.Model(normed)
        other = train(averaged, make_work(averaged, (20, 20)))
        assert np.allclose(averaged.layout.unpack(other.weights[0])["1.running_mean"], mean, atol=1e-6)


class TestPrecision:
    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    @pytest.mark.parametrize("plan", ["sgd", "adam"])
    def test_half_precision_compute_stays_near_float32(self, precision, plan):
        model = ct.Model(perceptron)
        work = make_work(model, plan=PLANS[plan])
        full = train(model, work).weights - work.weights
        half = train(model, work, Hardware(precision=precision)).weights - work.weights
        assert half.dtype == np.float32
        assert not np.array_equal(full, half)
        # Adam divides by the gradient's own size, so a sign that rounding turns moves a weight by a whole step.
        assert np.linalg.norm(full - half) < (0.05 if plan == "sgd" else 0.3) * np.linalg.norm(full)


class TestErrors:
    def test_a_label_out_of_range_names_the_range(self):
        model = ct.Model(perceptron)
        work = make_work(model)
        wrong = Examples(work.examples[0].x, np.full(23, 7), None, work.examples[0].affine)
        with pytest.raises(DataError, match="a label is 7, outside 0 … 3"):
            train(model, replace(work, examples=[wrong]))

    def test_a_wrong_feature_shape_names_it(self):
        model = ct.Model(perceptron)
        with pytest.raises(LearnerError, match=r"features \[5\]"):
            train(model, make_work(model, shape=(5,)))

    def test_wrong_weights_name_both_shapes(self):
        model = ct.Model(perceptron)
        with pytest.raises(LearnerError, match=r"shape \[3\], expected \[140\]"):
            train(model, replace(make_work(model), weights=np.zeros(3, np.float32)))

    def test_a_party_without_examples(self):
        model = ct.Model(perceptron)
        work = make_work(model)
        with pytest.raises(DataError, match="no examples"):
            train(model, replace(work, examples=[work.examples[0].take(slice(0, 0))]))

    def test_batch_norm_on_one_example(self):
        model = ct.Model(normed)
        with pytest.raises(LearnerError, match="more than 1 value per channel"):
            train(model, make_work(model, (21,)))

    def test_a_diverging_loss_is_not_the_trainers_business(self):
        model = ct.Model(perceptron)
        work = make_work(model)
        x = np.full_like(work.examples[0].x, np.nan, dtype=np.float32)
        trained = train(model, replace(work, examples=[Examples(x, work.examples[0].y)]))
        assert np.isnan(trained.statistics["loss"][0, 0])

    def test_a_missing_device(self):
        with pytest.raises(LearnerError, match="no device 'cuda:7'"):
            ct.Model(perceptron).build(Hardware(device="cuda:7"))


def test_seeds_of_rounds_differ():
    model = ct.Model(perceptron)
    work = make_work(model, (23,))
    other = train(model, replace(work, seeds=[Seed.of(99)]))
    assert not np.array_equal(train(model, work).weights, other.weights)
