"""Sums of clipped gradients are those of a slow loop over single records, whichever way they are computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import comity.learners.torch as ct
from comity.core.errors import LearnerError
from comity.core.seeds import Seed
from comity.learners.base import Hardware
from comity.learners.torch import clipping
from comity.learners.torch.resident import ResidentTrainer
from comity.learners.torch.session import session
from support.record_modules import CLASSES, KINDS, Counting, mlp, softmax

SEEDS = st.integers(0, 1 << 30)
CLIPS = st.floats(1e-3, 1e3)


def records(shape: tuple[int, ...], count: int, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *shape)).astype(np.float32) * scale
    return torch.from_numpy(x), torch.from_numpy(rng.integers(0, CLASSES, count))


def resident(model: ct.Model, seed: int = 0) -> ResidentTrainer:
    trainer = model.build(Hardware())
    assert isinstance(trainer, ResidentTrainer)
    trainer.arena.load(torch.from_numpy(model.init(Seed.of(seed))), None)
    trainer.arena.training()
    return trainer


def clipped(trainer: ResidentTrainer, x: Tensor, y: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """The summed gradient, in the order of the arena, and the losses."""
    with session(trainer.device, trainer.hardware), torch.no_grad():
        losses = trainer.clipper(x, y, clip)
    return trainer.arena.gradient.clone(), losses


def loop(trainer: ResidentTrainer, x: Tensor, y: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """The same by the definition: one record, one backward pass, one norm at a time. Also the norms."""
    total, norms = torch.zeros_like(trainer.arena.gradient), []
    for k in range(len(x)):
        trainer.arena.gradient.zero_()
        F.cross_entropy(trainer.arena.module(x[k : k + 1]), y[k : k + 1]).backward()
        norm = trainer.arena.gradient.double().norm()
        total += trainer.arena.gradient * min(1.0, clip / float(norm))
        norms.append(norm)
    return total, torch.stack(norms)


class TestClippedSums:
    @given(kind=st.sampled_from(sorted(KINDS)), count=st.integers(1, 9), clip=CLIPS, seed=SEEDS)
    @settings(max_examples=60, deadline=None)
    def test_are_those_of_a_loop_over_records(self, kind, count, clip, seed):
        trainer = resident(ct.Model(KINDS[kind].make), seed)
        x, y = records(KINDS[kind].shape, count, seed)
        found, _ = clipped(trainer, x, y, clip)
        expected, _ = loop(trainer, x, y, clip)
        assert torch.linalg.vector_norm(found - expected) <= 1e-5 * (clip + torch.linalg.vector_norm(expected))

    @given(kind=st.sampled_from(sorted(KINDS)), clip=CLIPS, scale=st.floats(0.01, 100), seed=SEEDS)
    @settings(max_examples=40, deadline=None)
    def test_move_by_at_most_the_bound_when_a_record_goes(self, kind, clip, scale, seed):
        trainer = resident(ct.Model(KINDS[kind].make), seed)
        x, y = records(KINDS[kind].shape, 6, seed, scale)
        whole, _ = clipped(trainer, x, y, clip)
        without, _ = clipped(trainer, x[1:], y[1:], clip)
        rounding = 1e-6 * (6 * clip + torch.linalg.vector_norm(whole))
        assert torch.linalg.vector_norm(whole - without) <= clip + rounding

    @pytest.mark.parametrize("kind", KINDS)
    def test_say_how_they_are_computed(self, kind):
        trainer = resident(ct.Model(KINDS[kind].make))
        clipped(trainer, *records(KINDS[kind].shape, 5), 1.0)
        assert KINDS[kind].rung in trainer.explanation

    def test_are_zero_without_records(self):
        trainer = resident(ct.Model(mlp))
        clipped(trainer, *records((6,), 5), 1.0)
        gradient, losses = clipped(trainer, *records((6,), 0), 1.0)
        assert not gradient.any()
        assert len(losses) == 0

    @pytest.mark.parametrize("kind", ["mlp", "positions", "plain cnn", "cnn with GroupNorm", "recurrent"])
    @pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
    def test_leave_out_a_record_whose_gradient_is_not_finite(self, kind, bad):
        trainer = resident(ct.Model(KINDS[kind].make))
        x, y = records(KINDS[kind].shape, 6)
        expected, _ = clipped(trainer, x[1:], y[1:], 1.0)
        x[0] = bad
        found, _ = clipped(trainer, x, y, 1.0)
        assert found.isfinite().all()
        assert torch.linalg.vector_norm(found - expected) <= 1.0 + 1e-5

    @pytest.mark.parametrize("kind", ["mlp", "plain cnn", "positions", "cnn with GroupNorm"])
    def test_are_the_same_in_small_chunks(self, kind, monkeypatch):
        x, y = records(KINDS[kind].shape, 11)
        expected, losses = clipped(resident(ct.Model(KINDS[kind].make)), x, y, 0.5)
        monkeypatch.setattr(clipping, "_CHUNK_BYTES", 2500)
        monkeypatch.setattr("comity.learners.torch.ghost._LAYER_BYTES", 500)
        monkeypatch.setattr("comity.learners.torch.ghost.GhostGradients.rows", 4)
        found, in_chunks = clipped(resident(ct.Model(KINDS[kind].make)), x, y, 0.5)
        assert torch.allclose(found, expected, atol=1e-6)
        assert torch.allclose(in_chunks, losses, atol=1e-6)

    def test_leave_frozen_layers_out(self):
        model = ct.Model(mlp, frozen=["0.*"])
        trainer = resident(model)
        x, y = records((6,), 7)
        found, _ = clipped(trainer, x, y, 0.1)
        expected, _ = loop(trainer, x, y, 0.1)
        assert len(found) == 7 * CLASSES
        assert torch.allclose(found, expected, atol=1e-6)

    def test_draw_another_dropout_for_each_record(self):
        trainer = resident(ct.Model(lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(6, CLASSES))))
        x, y = (part[:1].expand(64, *part.shape[1:]).contiguous() for part in records((6,), 1))
        _, losses = clipped(trainer, x, y, 1.0)
        assert len(losses.unique()) > 1  # all alike with probability below 2⁻³⁰⁰


class TestGhostNorms:
    @given(kind=st.sampled_from(["softmax", "mlp", "plain cnn", "positions"]), count=st.integers(1, 9), seed=SEEDS)
    @settings(max_examples=40, deadline=None)
    def test_equal_explicit_norms(self, kind, count, seed):
        trainer = resident(ct.Model(KINDS[kind].make), seed)
        x, y = records(KINDS[kind].shape, count, seed)
        _, expected = loop(trainer, x, y, 1.0)
        with torch.no_grad():
            for rung in (trainer.clipper._ghost, trainer.clipper._mapped):
                assert not isinstance(rung, str)
                _, norms = rung(x, y, 1.0)
                assert torch.allclose(norms.double(), expected, rtol=1e-4, atol=1e-6)


class TestHalfPrecision:
    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    @pytest.mark.parametrize("kind", ["mlp", "cnn with GroupNorm"])
    def test_is_near_the_loop_in_full_precision(self, kind, precision):
        model = ct.Model(KINDS[kind].make)
        half = model.build(Hardware(precision=precision))
        assert isinstance(half, ResidentTrainer)
        half.arena.load(torch.from_numpy(model.init(Seed.of(0))), None)
        half.arena.training()
        x, y = records(KINDS[kind].shape, 8)
        found, _ = clipped(half, x, y, 0.5)
        expected, _ = loop(resident(model), x, y, 0.5)
        # A maximum over a window can fall on another place in half precision.
        assert torch.linalg.vector_norm(found - expected) <= 0.1 * torch.linalg.vector_norm(expected)


class TestRefusals:
    def test_of_a_loss_that_is_no_mean_over_records(self):
        def summed(outputs: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(outputs, targets, reduction="sum")

        trainer = resident(ct.Model(softmax, loss=summed))
        with pytest.raises(LearnerError, match="mean of their own losses"):
            clipped(trainer, *records((6,), 5), 1.0)

    def test_not_of_a_mean_of_ones_own(self):
        def halved(outputs: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(outputs, targets) / 2

        trainer = resident(ct.Model(softmax, loss=halved))
        x, y = records((6,), 5)
        found, _ = clipped(trainer, x, y, 1e6)
        expected, _ = loop(trainer, x, y, 1e6)
        assert torch.allclose(found, expected / 2, atol=1e-5)

    def test_of_a_module_that_writes_what_it_sees_into_a_buffer(self):
        trainer = resident(ct.Model(Counting))
        with pytest.raises(LearnerError, match="buffers"):
            clipped(trainer, *records((6,), 5), 1.0)
