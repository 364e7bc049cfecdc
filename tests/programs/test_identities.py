"""Identities between algorithms that hold exactly (McMahan 2017, Li 2020, Karimireddy 2020, Reddi 2020)."""

from typing import Any

import numpy as np
import pytest

import comity as ct
from support.quadratic import Points, Quadratic

DATA = Points.random(12)
EQUAL = Points([np.ones((4, 3), np.float32) * np.float32(k) for k in (1, 1, 1)])
PLAN = ct.LocalSGD(lr=0.1, epochs=3, batch_size=2)
MODEL = Quadratic()


def trained(program: Any, rounds: Any = None, data: Any = DATA, aggregator: Any = None, devices: Any = None) -> Any:
    job = ct.Job(program, rounds or ct.Rounds(count=5, cohort=6), aggregator or ct.Mean(), seed=1)
    return ct.run(job, ct.Simulation(data, devices=devices or ct.Devices.ideal())).model.vector


FEDAVG = trained(ct.FedAvg(MODEL, PLAN))


def test_one_party_with_full_batches_is_central_gradient_descent() -> None:
    [points] = Points.random(1).arrays
    w = np.zeros(3)
    for _ in range(5):
        w -= 0.1 * (w - points.mean(axis=0))
    federated = trained(ct.FedAvg(MODEL, ct.LocalSGD(lr=0.1)), ct.Rounds(count=5), Points([points]))
    assert np.allclose(federated, w, atol=1e-6)


def test_one_full_batch_step_at_each_party_is_fedsgd() -> None:
    averaged = trained(ct.FedAvg(MODEL, ct.LocalSGD(lr=0.1, epochs=1)))
    assert np.allclose(averaged, trained(ct.FedSGD(MODEL, ct.optim.SGD(0.1))), atol=1e-6)


def test_fedprox_without_a_proximal_term_is_fedavg() -> None:
    assert np.array_equal(trained(ct.FedProx(MODEL, PLAN, mu=0.0)), FEDAVG)


def test_a_server_that_takes_whole_steps_is_fedavg() -> None:
    assert np.array_equal(trained(ct.FedAvg(MODEL, PLAN, ct.optim.SGD(lr=1.0, momentum=0.0))), FEDAVG)
    assert np.array_equal(trained(ct.FedAvgM(MODEL, PLAN, momentum=0.0)), FEDAVG)


def test_scaffold_with_equal_data_and_full_participation_is_fedavg() -> None:
    everyone = ct.Rounds(count=5)
    assert np.allclose(
        trained(ct.Scaffold(MODEL, PLAN), everyone, EQUAL), trained(ct.FedAvg(MODEL, PLAN), everyone, EQUAL), atol=1e-6
    )


def test_fednova_with_equal_numbers_of_steps_is_fedavg() -> None:
    plan = ct.LocalSGD(lr=0.1, steps=4)
    assert np.allclose(trained(ct.FedNova(MODEL, plan)), trained(ct.FedAvg(MODEL, plan)), atol=1e-6)


def test_buffered_rounds_without_staleness_are_synchronous_rounds() -> None:
    buffered = ct.Buffered(count=5, buffer=6, concurrency=6)
    assert np.array_equal(trained(ct.FedAvg(MODEL, PLAN), buffered), FEDAVG)


def test_a_bound_that_nobody_reaches_changes_nothing() -> None:
    assert np.array_equal(trained(ct.FedAvg(MODEL, PLAN), aggregator=ct.Clip(1e6) >> ct.Mean()), FEDAVG)


def test_weights_follow_the_number_of_examples_or_do_not() -> None:
    data = Points([np.zeros((1, 3), np.float32), np.ones((3, 3), np.float32)])
    plan, once = ct.LocalSGD(lr=1.0), ct.Rounds(count=1)
    assert trained(ct.FedAvg(MODEL, plan), once, data).tolist() == [0.75] * 3
    assert trained(ct.FedAvg(MODEL, plan), once, data, ct.Mean(weights="uniform")).tolist() == [0.5] * 3


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_fednova_counts_the_weight_that_gradients_have_in_a_change(momentum: float) -> None:
    steps, velocity, weight = 7, 0.0, 0.0
    for _ in range(steps):
        velocity = momentum * velocity + 1.0
        weight += velocity
    program = ct.FedNova(MODEL, ct.LocalSGD(lr=0.1, momentum=momentum))
    assert program.effective_steps(np.array([[7.0]]), 0.1)[0, 0] == pytest.approx(weight)


def test_fednova_counts_steps_under_a_proximal_term() -> None:
    moved = 0.0
    for _ in range(5):
        moved = moved * (1 - 0.1 * 0.5) + 1.0
    program = ct.FedNova(MODEL, ct.LocalSGD(lr=0.1), mu=0.5)
    assert program.effective_steps(np.array([[5.0]]), 0.1)[0, 0] == pytest.approx(moved)
