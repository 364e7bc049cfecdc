"""Record-level DP-SGD in the torch learner: the right noise on the right sample, and what cannot be is refused."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import comity as ct
from comity.core.errors import ConfigError, LearnerError
from comity.core.seeds import Seed
from comity.data.examples import Examples, FederatedData
from comity.learners.base import Hardware, Trained, Work
from comity.learners.plan import Correction, LocalPlan
from comity.learners.torch import batches
from comity.learners.torch.optimizers import Shift
from comity.learners.torch.private import PrivateDescent
from comity.privacy.accounting import Account
from support.torch_reference import FEATURES, PLANS, make_work, optimizer_of, perceptron, random_correction

NOISELESS = ct.RecordPrivacy(clip=1e6, multiplier=0.0, report_loss=True)

FAILURE = 1e-10
"""Bounds on random outcomes fail with at most this probability."""


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))


def tracking() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (2, 6)), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten())


def flat(entries: int = 60_000) -> nn.Module:
    return nn.Linear(entries, 1, bias=False)


def train(model: ct.torch.Model, work: Work) -> Trained:
    return model.build(Hardware()).train(work)


def silent_work(plan: LocalPlan) -> tuple[ct.torch.Model, Work]:
    """Work whose gradients are all zero: the features are."""
    model = ct.torch.Model(flat, loss="mse")
    examples = Examples(np.zeros((8, 60_000), dtype=np.float32), np.zeros(8, dtype=np.float32))
    return model, Work(model.init(Seed.of(1)), [examples], plan, [Seed.of(2)])


def assert_normal(noise: np.ndarray, std: float) -> None:
    """The noise has the spread and the mean of N(0, std²)."""
    count, term = noise.size, log(4 / FAILURE)
    ratio = float((noise.astype(np.float64) ** 2).mean()) / std**2
    # Laurent and Massart 2000, lemma 1, on the chi-squared sum of squares.
    assert -2 * sqrt(term / count) <= ratio - 1 <= 2 * sqrt(term / count) + 2 * term / count
    assert abs(float(noise.mean(dtype=np.float64))) <= std * sqrt(2 * term / count)


class TestWithoutNoiseAndClipping:
    @pytest.mark.parametrize("correction", ["none", "proximal", "drift", "both"])
    @pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
    def test_it_is_the_optimizer_on_the_same_samples(self, plan, correction, monkeypatch):
        model = ct.torch.Model(perceptron)
        plan = replace(plan, privacy=NOISELESS)
        work = replace(make_work(model, (23,), plan), correction=random_correction(model, correction))
        samples = fixed_samples(monkeypatch)
        trained = train(model, work)
        expected = reference(model, work, samples)
        np.testing.assert_allclose(trained.weights[0], expected, atol=5e-6, rtol=1e-5)
        assert trained.steps[0, 0] == plan.batches(23) == len(samples)
        assert trained.statistics["loss"][0, 1] == sum(map(len, samples))

    @pytest.mark.parametrize("plan", [ct.LocalSGD(lr=0.1, steps=4), ct.LocalAdam(lr=0.01, steps=4)])
    def test_full_batches_are_those_of_plain_training(self, plan):
        model = ct.torch.Model(perceptron)
        work = make_work(model, (23, 20), plan)
        public, private = train(model, work), train(model, replace(work, plan=replace(plan, privacy=NOISELESS)))
        np.testing.assert_allclose(private.change, public.change, atol=1e-6)
        np.testing.assert_allclose(private.statistics["loss"], public.statistics["loss"], rtol=1e-5)


def fixed_samples(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Samples from a seed in place of secret ones, an empty one among them; they are noted as they are drawn."""
    rng, drawn = np.random.default_rng(5), []

    def sample(expected: int, examples: int) -> np.ndarray:
        rate = 0.0 if len(drawn) == 1 and expected < examples else expected / examples
        drawn.append(np.flatnonzero(rng.random(examples) < rate))
        return drawn[-1]

    monkeypatch.setattr(batches, "poisson_sample", sample)
    return drawn


def reference(model: ct.torch.Model, work: Work, samples: list[np.ndarray]) -> np.ndarray:
    """Training on given samples as a user of torch would write it; gradients are sums over the expected batch."""
    module, plan, examples = perceptron(), work.plan, work.examples[0]
    arrays = {name: torch.from_numpy(np.array(array)) for name, array in model.export(work.weights).items()}
    module.load_state_dict(arrays)
    optimizer = optimizer_of(plan, list(module.parameters()), plan.lr)
    x, y = torch.from_numpy(examples.features()), torch.from_numpy(examples.labels())
    anchor, drift = work.correction.anchor, work.correction.drift
    for rows in samples:
        optimizer.zero_grad()
        total = F.cross_entropy(module(x[rows]), y[rows], reduction="sum") / min(plan.batch_size or 23, 23)
        total.backward()
        with torch.no_grad():
            flat = torch.cat([parameter.flatten() for parameter in module.parameters()])
            shift = torch.zeros_like(flat)
            if anchor is not None:
                shift += work.correction.mu * (flat - torch.from_numpy(anchor))
            if drift is not None:
                shift += torch.from_numpy(drift)
            start = 0
            for parameter in module.parameters():
                parameter.grad += shift[start : start + parameter.numel()].view_as(parameter)
                start += parameter.numel()
        if plan.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), plan.clip_norm)
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()]).numpy()


class TestNoise:
    @pytest.mark.parametrize("batch", [None, 2, 8])
    def test_has_the_scale_of_the_bound_over_the_expected_batch(self, batch):
        privacy = ct.RecordPrivacy(clip=0.5, multiplier=3.0)
        model, work = silent_work(ct.LocalSGD(lr=0.1, steps=1, batch_size=batch, privacy=privacy))
        assert_normal(train(model, work).change[0], std=0.1 * 3.0 * 0.5 / (batch or 8))

    def test_is_new_at_every_step_and_for_every_party(self):
        privacy = ct.RecordPrivacy(clip=1.0, multiplier=1.0)
        model, work = silent_work(ct.LocalSGD(lr=1.0, steps=4, batch_size=1, privacy=privacy))
        work = replace(work, examples=work.examples * 2, seeds=work.seeds * 2)
        one, other = train(model, work).change
        assert_normal(one, std=2.0)
        assert_normal(one - other, std=sqrt(8.0))

    def test_does_not_come_from_the_seed(self):
        privacy = ct.RecordPrivacy(clip=1.0, multiplier=1.0)
        model, work = silent_work(ct.LocalSGD(lr=1.0, steps=1, privacy=privacy))
        first, second = train(model, work).change[0], train(model, work).change[0]
        assert_normal(first - second, std=sqrt(2.0) / 8)

    def test_is_all_there_is_in_a_step_without_records(self):
        privacy = ct.RecordPrivacy(clip=1.0, multiplier=2.0)
        model, work = silent_work(ct.LocalSGD(lr=0.5, steps=1, batch_size=4, privacy=privacy))
        trainer = model.build(Hardware())
        trainer.arena.load(torch.from_numpy(work.weights), None)
        before = trainer.arena.flat.clone()
        with torch.no_grad():
            descent = trainer._descent(work.plan, 0.5)
            assert isinstance(descent, PrivateDescent)
            descent.begin(Shift.of(Correction(), 60_000, trainer.device), None, lambda: None)
            loss = descent(torch.zeros(0, 60_000), torch.zeros(0), 4)
        assert loss == 0
        assert_normal((trainer.arena.flat - before).numpy(), std=0.5 * 2.0 / 4)


class TestSecrecy:
    """What would tell a server, which knows the seed, who was sampled."""

    def test_samples_do_not_come_from_the_seed(self):
        model = ct.torch.Model(perceptron)
        plan = ct.LocalSGD(lr=0.1, batch_size=100, steps=1, privacy=NOISELESS)
        work = make_work(model, (200,), plan)
        first, second = train(model, work), train(model, work)
        assert not np.array_equal(first.change, second.change)  # alike with the probability of the same sample

    def test_dropout_does_not_come_from_the_seed(self):
        model = ct.torch.Model(lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(FEATURES, 4)))
        work = make_work(model, (50,), ct.LocalSGD(lr=0.1, steps=1, privacy=NOISELESS))
        first, second = train(model, work), train(model, work)
        assert not np.array_equal(first.change, second.change)

    def test_the_callers_random_state_is_untouched(self):
        model = ct.torch.Model(perceptron)
        work = make_work(model, (23,), ct.LocalSGD(lr=0.1, batch_size=5, privacy=NOISELESS))
        before = torch.get_rng_state()
        train(model, work)
        assert torch.equal(torch.get_rng_state(), before)


class TestWhatIsReturned:
    def test_is_no_loss(self):
        model = ct.torch.Model(perceptron)
        plan = ct.LocalSGD(lr=0.1, batch_size=5, privacy=ct.RecordPrivacy(1.0, 1.0))
        trained = train(model, make_work(model, (23, 20), plan))
        assert not trained.statistics["loss"].any()
        assert trained.steps[:, 0].tolist() == [5, 4]
        assert trained.examples[:, 0].tolist() == [23, 20]

    def test_says_how_gradients_were_computed(self):
        model = ct.torch.Model(perceptron)
        trainer = model.build(Hardware())
        plan = ct.LocalSGD(lr=0.1, privacy=ct.RecordPrivacy(1.0, 1.0))
        trainer.train(make_work(model, (23, 20), plan))
        assert trainer.explanation == f"records of [{FEATURES}]: ghost clipping"

    def test_is_bounded_by_clipping(self):
        model = ct.torch.Model(perceptron)
        plan = ct.LocalSGD(lr=1.0, steps=3, privacy=ct.RecordPrivacy(clip=0.01, multiplier=0.0))
        trained = train(model, make_work(model, (23,), plan))
        assert 0 < np.linalg.norm(trained.change) <= 3 * 0.01 * (1 + 1e-5)


class TestRefusals:
    PLAN = ct.LocalSGD(lr=0.1, batch_size=5, privacy=ct.RecordPrivacy(1.0, 1.0))

    @pytest.mark.parametrize("make", [normed, tracking])
    def test_of_statistics_over_a_batch(self, make):
        model = ct.torch.Model(make)
        with pytest.raises(LearnerError, match=r"Norm[\s\S]*GroupNorm"):
            ct.Job(ct.FedAvg(model, self.PLAN), ct.Rounds(count=1))
        with pytest.raises(LearnerError, match="GroupNorm"):
            train(model, make_work(model, (23,), self.PLAN))

    def test_of_a_loss_that_is_no_mean(self):
        def summed(outputs: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(outputs, targets, reduction="sum")

        model = ct.torch.Model(perceptron, loss=summed)
        with pytest.raises(LearnerError, match="mean"):
            train(model, make_work(model, (23,), replace(self.PLAN, batch_size=None)))

    def test_of_stopping_by_a_loss_that_is_not_returned(self):
        program, stop = ct.FedAvg(ct.torch.Model(perceptron), self.PLAN), ct.EarlyStopping("train_loss", target=0.1)
        with pytest.raises(ConfigError, match="return no loss"):
            ct.Job(program, ct.Rounds(count=1), stop=stop)
        reporting = replace(self.PLAN, privacy=ct.RecordPrivacy(1.0, 1.0, report_loss=True))
        ct.Job(replace(program, local=reporting), ct.Rounds(count=1), stop=stop)


def blobs(parties: int = 6) -> FederatedData:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 30 * parties)
    x = (rng.normal(size=(len(y), FEATURES)) + y[:, None]).astype(np.float32)
    return ct.data.from_arrays(x, y, test=0.2).split(ct.data.IID(parties), seed=1)


class TestEngines:
    PLAN = ct.LocalSGD(lr=0.3, steps=3, privacy=ct.RecordPrivacy(clip=0.3, multiplier=0.0))

    def job(self, program: type = ct.FedAvg, **options: object) -> ct.Job:
        return ct.Job(program(ct.torch.Model(perceptron), self.PLAN, **options), ct.Rounds(count=3), seed=4)

    @pytest.mark.parametrize(
        ("program", "options"),
        [(ct.FedAvg, {}), (ct.FedProx, {"mu": 0.1}), (ct.Scaffold, {}), (ct.FedDyn, {}), (ct.FedNova, {})],
    )
    def test_agree_without_noise(self, program, options):
        job, data = self.job(program, **options), blobs()
        results = [
            ct.run(job, ct.Simulation(data, engine=engine, workers=workers)).model.vector
            for engine, workers in (("resident", None), ("workers", 2), ("auto", 1))
        ]
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], atol=1e-6)

    def test_that_train_parties_at_once_are_left_with_the_reason(self):
        data = blobs()
        with pytest.raises(ConfigError, match="record-level privacy"):
            ct.run(self.job(), ct.Simulation(data, engine="batched"))
        model = ct.torch.Model(perceptron)
        trainer = model.build(Hardware(), batched=True)
        work = make_work(model, (23, 20), self.PLAN)
        np.testing.assert_array_equal(trainer.train(work).change, train(model, work).change)
        assert "one by one: record-level privacy" in trainer.explanation

    def test_choose_themselves_and_say_why(self):
        run = ct.run(self.job(), ct.Simulation(blobs(), workers=1))
        assert "record-level privacy" in run.engine


@pytest.mark.long
def test_digits_are_learned_at_an_epsilon_of_eight():
    data = ct.data.load("digits").normalised().split(ct.data.IID(4), seed=3)
    plan = ct.LocalSGD(
        lr=0.5, epochs=2, batch_size=64, momentum=0.5, privacy=ct.RecordPrivacy(clip=1.0, multiplier=2.0)
    )
    rounds = 20
    smallest = min(len(data[party].train) for party in data.ids)
    assert plan.privacy is not None
    assert 4 < Account.of(plan.privacy.release(smallest, plan, rounds)).epsilon(1e-4) <= 8
    model = ct.torch.Model(lambda: nn.Linear(64, 10))
    run = ct.run(ct.Job(ct.FedAvg(model, plan), ct.Rounds(count=rounds), seed=3), ct.Simulation(data))
    assert run.history[-1].test["accuracy"] > 0.85
