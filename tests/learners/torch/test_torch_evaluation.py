"""Evaluation gives additive statistics, whatever the chunks and the parties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import comity.learners.torch as ct
from comity.core.errors import DataError, LearnerError
from comity.core.seeds import Seed
from comity.data.examples import Examples
from comity.learners.base import Hardware
from comity.learners.torch import evaluation
from support.torch_reference import CLASSES, FEATURES, make_examples, perceptron


def noisy() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(FEATURES), nn.Dropout(0.9), nn.Linear(FEATURES, CLASSES))


@pytest.fixture
def weights():
    return ct.Model(perceptron).init(Seed.of(4))


def test_statistics_are_the_sums_over_examples(weights):
    model, examples = ct.Model(perceptron), make_examples(37)
    module = perceptron()
    module.load_state_dict({name: torch.from_numpy(a) for name, a in model.layout.unpack(weights).items()})
    outputs, y = module(torch.from_numpy(examples.features())), torch.from_numpy(examples.labels())
    found = model.build(Hardware()).evaluate(weights, None, [examples])
    assert found["loss"] == pytest.approx(np.array([[F.cross_entropy(outputs, y, reduction="sum").item(), 37]]))
    assert found["accuracy"].tolist() == [[(outputs.argmax(1) == y).sum().item(), 37]]
    assert found["loss"].dtype == np.float64


def test_chunks_change_nothing(weights, monkeypatch):
    model, examples = ct.Model(perceptron), make_examples(150)
    whole = model.build(Hardware()).evaluate(weights, None, [examples])
    monkeypatch.setattr(evaluation, "_CHUNK_ROWS", (7, 7))
    cut = model.build(Hardware()).evaluate(weights, None, [examples])
    assert np.array_equal(whole["accuracy"], cut["accuracy"])
    assert np.allclose(whole["loss"], cut["loss"])


def test_parties_add_up_to_the_pool(weights):
    trainer, examples = ct.Model(perceptron).build(Hardware()), make_examples(60)
    parties = [examples.take(slice(0, 11)), examples.take(slice(11, 60))]
    apart, pooled = (trainer.evaluate(weights, None, e) for e in (parties, [examples]))
    assert apart["loss"].shape == (2, 2)
    assert np.allclose(apart["loss"].sum(0), pooled["loss"][0])


def test_parties_judged_together_are_judged_as_alone(weights):
    trainer = ct.Model(perceptron).build(Hardware())
    parties = [make_examples(size, seed=size) for size in (3, 1, 0, 700, 5)]
    together = trainer.evaluate(weights, None, parties)
    for index, party in enumerate(parties):
        alone = trainer.evaluate(weights, None, [party])
        assert np.array_equal(together["accuracy"][index], alone["accuracy"][0])
        assert np.allclose(together["loss"][index], alone["loss"][0], rtol=1e-5)


def test_every_party_is_judged_by_its_own_weights(weights):
    trainer, examples = ct.Model(perceptron).build(Hardware()), make_examples(30)
    both = trainer.evaluate(np.stack([weights, -weights]), None, [examples, examples])
    second = trainer.evaluate(-weights, None, [examples])
    assert np.array_equal(both["loss"][1], second["loss"][0])
    assert both["loss"][0, 0] != both["loss"][1, 0]


def test_an_empty_party_counts_nothing(weights):
    trainer, examples = ct.Model(perceptron).build(Hardware()), make_examples(10)
    found = trainer.evaluate(weights, None, [examples.take(slice(0, 0)), examples])
    assert found["loss"][0].tolist() == [0.0, 0.0]
    assert found["accuracy"][1, 1] == 10


def test_a_federation_without_held_out_examples(weights):
    found = ct.Model(perceptron).build(Hardware()).evaluate(weights, None, [make_examples(4).take(slice(0, 0))])
    assert found["accuracy"].shape == (1, 2)


def test_dropout_and_batch_statistics_are_off():
    model, examples = ct.Model(noisy), make_examples(20)
    trainer, weights = model.build(Hardware()), model.init(Seed.of(0))
    one, two = (trainer.evaluate(weights, None, [examples])["loss"] for _ in range(2))
    assert np.array_equal(one, two)
    single = sum(trainer.evaluate(weights, None, [examples.take(slice(i, i + 1))])["loss"][0, 0] for i in range(20))
    assert single == pytest.approx(one[0, 0], rel=1e-5)


def test_a_label_out_of_range_is_an_error(weights):
    with pytest.raises(DataError, match=r"a label is \d, outside 0 … 3"):
        ct.Model(perceptron).build(Hardware()).evaluate(weights, None, [make_examples(40, classes=10)])


def test_a_loss_that_does_not_fit_names_the_shapes():
    model = ct.Model(perceptron, loss="mse", metrics=())
    with pytest.raises(LearnerError, match=r"outputs of shape \[1, 4\] against targets of shape \[1\]"):
        model.build(Hardware()).evaluate(model.init(Seed.of(0)), None, [make_examples(5)])


def test_next_tokens():
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(11, 5)
            self.head = nn.Linear(5, 11)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(x))

    model = ct.Model(Reader, loss="next_token", metrics=())
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 11, size=(6, 9)).astype(np.uint8)
    examples = Examples(tokens[:, :-1], tokens[:, 1:])
    weights = model.init(Seed.of(0))
    module = Reader()
    module.load_state_dict({name: torch.from_numpy(a) for name, a in model.layout.unpack(weights).items()})
    x, y = torch.from_numpy(tokens[:, :-1]).long(), torch.from_numpy(tokens[:, 1:]).long()
    expected = F.cross_entropy(module(x).reshape(-1, 11), y.reshape(-1)).item()
    total, count = model.build(Hardware()).evaluate(weights, None, [examples])["loss"][0]
    assert count == 6
    assert total / count == pytest.approx(expected, rel=1e-5)
