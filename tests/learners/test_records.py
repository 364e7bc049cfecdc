"""Record-level privacy as data: what it costs, whom it samples, and which learners refuse it."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

import comity as ct
from comity.core import manifest
from comity.core.errors import ConfigError, LearnerError
from comity.learners.records import poisson_sample
from comity.privacy.accounting import Account

PRIVACY = ct.RecordPrivacy(clip=1.0, multiplier=1.0)
PLAN = ct.LocalSGD(lr=0.1, batch_size=1, privacy=PRIVACY)

FAILURE = 1e-10
"""Bounds on random outcomes fail with at most this probability."""


def epsilon(privacy: ct.RecordPrivacy, examples: int, plan: ct.LocalSGD, rounds: int, delta: float) -> float:
    return Account.of(privacy.release(examples, plan, rounds)).epsilon(delta)


class TestCost:
    def test_is_that_of_published_figures(self):
        privacy, plan = ct.RecordPrivacy(clip=0.3, multiplier=1.0), ct.LocalSGD(lr=1, batch_size=10, steps=1000)
        assert epsilon(privacy, 1000, plan, 1, 1e-5) == pytest.approx(1.8282, abs=1e-4)

    def test_counts_steps_over_rounds_and_epochs(self):
        plan = ct.LocalSGD(lr=1, batch_size=30, epochs=2)
        release = PRIVACY.release(100, plan, rounds=5)
        assert release.times == 5 * 2 * 4  # four samples of 30 make an epoch over 100
        assert release == PRIVACY.release(100, replace(plan, epochs=None, steps=40))

    def test_has_no_amplification_where_everybody_takes_part(self):
        whole = ct.LocalSGD(lr=1, steps=1)
        assert PRIVACY.release(7, whole) == PRIVACY.release(7, replace(whole, batch_size=50))
        assert epsilon(PRIVACY, 10_000, whole, 1, 1e-5) == epsilon(PRIVACY, 7, whole, 1, 1e-5) > 4

    def test_is_not_to_be_had_without_noise(self):
        with pytest.raises(ConfigError, match="multiplier"):
            ct.RecordPrivacy(1.0, 0.0).release(100, PLAN)


class TestPoissonSamples:
    def test_take_every_record_with_the_same_probability(self):
        draws, records, expected = 20_000, 20, 5
        counts = np.zeros(records)
        for _ in range(draws):
            counts[poisson_sample(expected, records)] += 1
        # Hoeffding, and a union over the records.
        width = sqrt(log(2 * records / FAILURE) / (2 * draws))
        assert abs(counts / draws - expected / records).max() <= width

    def test_have_sizes_of_a_binomial(self):
        draws, records, expected = 20_000, 20, 5
        sizes = np.array([len(poisson_sample(expected, records)) for _ in range(draws)])
        variance = expected * (1 - expected / records)
        # Hoeffding on the mean of squared distances, each in [0, 225].
        width = 225 * sqrt(log(2 / FAILURE) / (2 * draws))
        assert abs(((sizes - expected) ** 2).mean() - variance) <= width < 1.5 * variance

    def test_can_be_empty(self):
        assert any(len(poisson_sample(1, 2)) == 0 for _ in range(100))  # fails with probability (3/4)¹⁰⁰

    def test_are_positions_in_order(self):
        sample = poisson_sample(50, 100)
        assert (np.diff(sample) > 0).all()
        assert sample.min() >= 0
        assert sample.max() < 100

    def test_are_everybody_where_as_many_are_expected(self):
        assert poisson_sample(5, 5).tolist() == [0, 1, 2, 3, 4]
        assert poisson_sample(9, 3).tolist() == [0, 1, 2]

    def test_differ_every_time(self):
        first, second = poisson_sample(500, 1000), poisson_sample(500, 1000)
        assert first.tolist() != second.tolist()  # alike with probability 2⁻¹⁰⁰⁰

    def test_reach_records_beyond_the_first_block(self, monkeypatch):
        monkeypatch.setattr("comity.learners.records._WORDS", 7)
        seen = np.concatenate([poisson_sample(50, 100) for _ in range(60)])
        assert set(seen.tolist()) == set(range(100))  # fails with probability 100 · 2⁻⁶⁰


class TestRefusals:
    @pytest.mark.parametrize("fields", [{"clip": 0.0}, {"clip": -1.0}, {"multiplier": -0.1}, {"clip": float("inf")}])
    def test_of_numbers_out_of_range(self, fields):
        with pytest.raises(ConfigError, match=next(iter(fields))):
            replace(PRIVACY, **fields)

    def test_of_what_is_no_record_level_privacy(self):
        with pytest.raises(ConfigError, match="is no record-level privacy"):
            ct.LocalSGD(lr=1, privacy=1.0)

    @pytest.mark.parametrize("mode", ["partial_fit", "refit"])
    def test_by_scikit_learn(self, mode):
        model = ct.sklearn.Estimator(SGDClassifier(loss="log_loss"), features=3, classes=2, mode=mode)
        with pytest.raises(LearnerError, match=r"single record[\s\S]*ct.torch.Model"):
            ct.Job(ct.FedAvg(model, PLAN), ct.Rounds(count=1))

    def test_by_functions(self):
        model = ct.Function(lambda rng: {"w": np.zeros(2)}, lambda weights, x, y, plan, rng: weights)
        with pytest.raises(LearnerError, match="single record"):
            ct.Job(ct.FedAvg(model, PLAN), ct.Rounds(count=1))


def test_a_manifest_holds_it():
    plan = replace(PLAN, privacy=replace(PRIVACY, report_loss=True))
    assert manifest.decode(manifest.encode(plan)) == plan
