"""Where algorithms come to rest: on quadratics whose optimum is known, with unequal work and partial participation."""

from typing import Any

import numpy as np
import pytest

import comity as ct
from support.quadratic import Points, Quadratic

MODEL = Quadratic()
POINTS = Points(
    [np.full((n, 3), value, dtype=np.float32) for n, value in ((2, 0.0), (20, 3.0), (2, 5.0), (8, -2.0), (4, 1.0))]
)
SIZES = [len(array) for array in POINTS.arrays]
OPTIMUM = np.average([array[0, 0] for array in POINTS.arrays], weights=SIZES)
UNIFORM = np.mean([array[0, 0] for array in POINTS.arrays])
UNEQUAL = ct.LocalSGD(lr=0.002, epochs=5, batch_size=1)


def rest(program: Any, cohort: int | None = None, count: int = 150, seed: int = 2) -> float:
    job = ct.Job(program, ct.Rounds(count=count, cohort=cohort), seed=seed)
    return float(ct.run(job, ct.Simulation(POINTS, engine="batched")).model.vector[0])


def test_fedavg_is_drawn_to_parties_that_take_more_steps() -> None:
    assert abs(rest(ct.FedAvg(MODEL, UNEQUAL)) - OPTIMUM) > 0.5


def test_fednova_rests_near_the_optimum_of_the_weighted_objective() -> None:
    """Exactly there only in the limit of small steps: the bias left is of the order of lr times the number of steps."""
    assert rest(ct.FedNova(MODEL, UNEQUAL)) == pytest.approx(OPTIMUM, abs=0.05)


@pytest.mark.parametrize("cohort", [None, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_scaffold_rests_at_the_optimum_of_the_mean_objective_whoever_takes_part(cohort: int | None, seed: int) -> None:
    assert rest(ct.Scaffold(MODEL, UNEQUAL), cohort, count=600, seed=seed) == pytest.approx(UNIFORM, abs=1e-2)


@pytest.mark.parametrize("cohort", [None, 2])
def test_feddyn_rests_at_the_optimum_of_the_mean_objective_whoever_takes_part(cohort: int | None) -> None:
    program = ct.FedDyn(MODEL, ct.LocalSGD(lr=0.2, steps=60), alpha=0.5)
    assert rest(program, cohort, count=400) == pytest.approx(UNIFORM, abs=1e-2)


def test_scaffold_remembers_in_partial_participation() -> None:
    program = ct.Scaffold(MODEL, UNEQUAL)
    run = ct.run(ct.Job(program, ct.Rounds(count=40, cohort=2), seed=2), ct.Simulation(POINTS))
    assert set(run.party_memory) == set(POINTS.ids)
    assert all(np.abs(kept["control"]).max() > 0 for kept in run.party_memory.values())


@pytest.mark.parametrize("optimizer", [ct.optim.Adagrad(0.3), ct.optim.Adam(0.05), ct.optim.Yogi(0.05)])
def test_adaptive_servers_reach_the_optimum_of_equal_steps(optimizer: Any) -> None:
    program = ct.FedAvg(MODEL, ct.LocalSGD(lr=0.05, steps=3), optimizer)
    assert rest(program, count=600) == pytest.approx(OPTIMUM, abs=0.05)
