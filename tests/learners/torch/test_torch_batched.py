"""Training K parties at once gives what training them one by one gives, to rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import comity.learners.torch as ct
from comity.core.errors import LearnerError
from comity.learners.base import Hardware, Work
from comity.learners.plan import LocalSGD
from comity.learners.torch import batched as batched_module
from support.torch_reference import CLASSES, FEATURES, PLANS, make_work, perceptron, random_correction

SIZES = (23, 7, 40, 3, 12)


def softmax_regression() -> nn.Module:
    return nn.Linear(FEATURES, CLASSES)


def agree(model: ct.Model, work: Work, tolerance: float = 1e-5) -> str:
    """Assert that both trainers agree, and return how the batched one explains itself."""
    resident, batched = model.build(Hardware()).train(work), model.build(Hardware(), batched=True)
    together = batched.train(work)
    np.testing.assert_allclose(together.weights, resident.weights, atol=tolerance, rtol=1e-4)
    np.testing.assert_allclose(together.statistics["loss"], resident.statistics["loss"], rtol=1e-4)
    assert np.array_equal(together.steps, resident.steps)
    assert np.array_equal(together.examples, resident.examples)
    if resident.local is not None:
        np.testing.assert_allclose(together.local, resident.local, atol=tolerance, rtol=1e-4)
    return batched.explanation.splitlines()[0]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_for_every_optimizer(plan):
    model = ct.Model(perceptron)
    assert agree(model, make_work(model, SIZES, plan)) == "parties trained as one batch"


@pytest.mark.parametrize("correction", ["proximal", "drift", "both"])
@pytest.mark.parametrize("plan", ["sgd", "clip", "adam"])
def test_for_corrections(plan, correction):
    model = ct.Model(perceptron)
    work = replace(make_work(model, SIZES, PLANS[plan]), correction=random_correction(model, correction))
    assert agree(model, work) == "parties trained as one batch"


def test_for_a_correction_of_each_party():
    model = ct.Model(softmax_regression)
    work = make_work(model, SIZES)
    drift = np.random.default_rng(0).normal(size=(len(SIZES), model.layout.size)).astype(np.float32)
    work = replace(work, correction=replace(work.correction, drift=drift))
    assert agree(model, work) == "parties trained as one batch"


def test_for_a_start_of_each_party():
    model = ct.Model(softmax_regression)
    work = make_work(model, SIZES)
    starts = work.weights * np.linspace(0.5, 2.0, len(SIZES), dtype=np.float32)[:, None]
    assert agree(model, replace(work, weights=starts)) == "parties trained as one batch"


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=7),
    batch=st.integers(1, 12),
    epochs=st.integers(1, 3),
    data=st.data(),
)
def test_for_any_sizes_and_budgets(sizes, batch, epochs, data):
    budgets = tuple(data.draw(st.floats(0.05, 1.0)) for _ in sizes)
    model = ct.Model(softmax_regression)
    work = make_work(model, sizes, LocalSGD(lr=0.1, batch_size=batch, epochs=epochs, momentum=0.5))
    agree(model, replace(work, budgets=budgets))


def test_chunks_change_nothing(monkeypatch):
    model = ct.Model(softmax_regression)
    work = make_work(model, SIZES)
    whole = model.build(Hardware(), batched=True).train(work)
    monkeypatch.setitem(batched_module._CHUNK, "cpu", 2)
    chunked = model.build(Hardware(), batched=True).train(work)
    assert np.allclose(whole.weights, chunked.weights, atol=1e-6)


def test_parties_with_tables_of_their_own():
    model = ct.Model(softmax_regression)
    work = make_work(model, SIZES)
    own = [replace(party, x=party.x.copy()) for party in work.examples]
    assert agree(model, replace(work, examples=own)) == "parties trained as one batch"


def test_a_personal_head():
    model = ct.Model(perceptron, local=("2.*",))
    work = make_work(model, SIZES, PLANS["weight decay"])
    work = replace(work, local=np.repeat(work.local[None], len(SIZES), axis=0))
    assert agree(model, work) == "parties trained as one batch"


def test_groups_normalised_within_an_example():
    def grouped() -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, CLASSES))

    model = ct.Model(grouped)
    assert agree(model, make_work(model, SIZES)) == "parties trained as one batch"


def test_a_convolution():
    def convolution() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, CLASSES))

    model = ct.Model(convolution)
    assert agree(model, make_work(model, SIZES, shape=(1, 6, 6))) == "parties trained as one batch"


@pytest.mark.parametrize(("loss", "metric"), [("mse", "rmse"), ("bce_with_logits", "loss")])
def test_losses_of_single_outputs(loss, metric):
    model = ct.Model(nn.Linear, loss=loss, metrics=(), arguments={"in_features": FEATURES, "out_features": 1})
    work = make_work(model, SIZES, LocalSGD(lr=0.01, batch_size=5))
    work = replace(work, examples=[replace(party, y=(party.y > 1) * 1.0) for party in work.examples])
    assert agree(model, work) == "parties trained as one batch"


class Centred(nn.Module):
    """Mixes the examples of a batch, which no part of the module tells."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x - 0.9 * x.mean(0))


class Noisy(nn.Module):
    """Drops units by a function, which no part of the module tells."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(F.dropout(x, 0.5, self.training))


@pytest.mark.parametrize("make", [Centred, Noisy])
def test_what_cannot_be_batched_is_trained_one_by_one_and_says_so(make):
    model = ct.Model(make)
    assert agree(model, make_work(model, SIZES)).startswith("parties trained one by one: ")


def test_a_party_without_examples_is_an_error_as_one_by_one():
    model = ct.Model(softmax_regression)
    work = make_work(model, (5, 4))
    work = replace(work, examples=[work.examples[0], work.examples[1].take(slice(0, 0))])
    with pytest.raises(Exception, match="no examples"):
        model.build(Hardware(), batched=True).train(work)


class TestBatchable:
    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.1)), "drops units at random"),
            (lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), "statistics over a batch"),
            (lambda: nn.LSTM(3, 3), "cannot be mapped"),
        ],
    )
    def test_says_why_not(self, make, reason):
        model = ct.Model(make)
        assert reason in model.batchable(LocalSGD(lr=0.1))
        with pytest.raises(LearnerError, match=reason):
            model.build(Hardware(), batched=True)

    def test_a_loss_of_ones_own_has_no_loss_of_an_example(self):
        assert "gives no loss of a single example" in ct.Model(perceptron, loss=F.cross_entropy).batchable(
            LocalSGD(lr=0.1)
        )

    def test_is_none_where_it_can(self):
        assert ct.Model(perceptron).batchable(LocalSGD(lr=0.1)) is None

    def test_a_cpu_prefers_it_for_tiny_models_only(self):
        assert ct.Model(perceptron).prefers_batched(Hardware())[0]
        large = ct.Model(nn.Linear, arguments={"in_features": 784, "out_features": 200})
        assert not large.prefers_batched(Hardware())[0]
        assert large.prefers_batched(Hardware(device="cuda"))[0]
        convolution = ct.Model(nn.Conv2d, arguments={"in_channels": 1, "out_channels": 2, "kernel_size": 3})
        assert "convolutions" in convolution.prefers_batched(Hardware())[1]


def test_a_batched_trainer_evaluates_as_a_resident_one():
    model = ct.Model(perceptron)
    work = make_work(model, SIZES)
    one, other = (
        model.build(Hardware(), batched=batched).evaluate(work.weights, None, work.examples)
        for batched in (False, True)
    )
    assert all(np.array_equal(one[name], other[name]) for name in ("loss", "accuracy"))


def test_half_precision_is_batched_too():
    model = ct.Model(perceptron)
    work, hardware = make_work(model, SIZES), Hardware(precision="bfloat16")
    trainer = model.build(hardware, batched=True)
    resident = model.build(hardware).train(work).weights - work.weights
    together = trainer.train(work).weights - work.weights
    assert trainer.explanation.splitlines()[0] == "parties trained as one batch"
    assert np.linalg.norm(together - resident) < 0.05 * np.linalg.norm(resident)


def test_steps_are_traced_once_for_all_rounds():
    model = ct.Model(softmax_regression)
    trainer = model.build(Hardware(), batched=True)
    for round in range(3):
        trainer.train(replace(make_work(model, SIZES, LocalSGD(lr=0.1 + round, batch_size=5)), round=round))
    assert [len(stack._steps) for stack in trainer._stacks.values()] == [1, 1]
