"""Programs against drift on digits: FedProx, SCAFFOLD and FedNova gain where their papers say they do."""

from statistics import fmean
from typing import Any

import pytest
from fednova_unequal_steps import UnequalEpochs
from fedprox_stragglers import WithoutStragglers
from parity_runs import SOFTMAX, carry_out, late_accuracy, needed, split
from scaffold_heterogeneity import Similarity

import comity as ct

TWO_LABELS = ct.data.LabelCount(100, labels=2)
LONG = ct.LocalSGD(lr=0.05, epochs=20, batch_size=10)


def under_stragglers(program: Any, share: float) -> float:
    run = carry_out(program, split(TWO_LABELS), ct.Rounds(30, cohort=10, attempts=200), stragglers=share)
    return late_accuracy(run)


@pytest.mark.long
def test_partial_work_is_worth_keeping_where_most_parties_straggle() -> None:
    """Li et al. 2020 (arXiv 1812.06127), figure 1: up to 22 points at 90 % stragglers."""
    fedavg = ct.FedAvg(SOFTMAX, LONG)
    dropping, keeping = under_stragglers(WithoutStragglers(fedavg), 0.9), under_stragglers(fedavg, 0.9)
    assert keeping > dropping + 0.1
    assert under_stragglers(ct.FedProx(SOFTMAX, LONG, mu=0.1), 0.9) > dropping + 0.1


def test_without_stragglers_nothing_is_dropped() -> None:
    fedavg = ct.FedAvg(SOFTMAX, ct.LocalSGD(lr=0.05, batch_size=10))
    runs = [carry_out(program, split(TWO_LABELS), ct.Rounds(3, 10)) for program in (fedavg, WithoutStragglers(fedavg))]
    assert (runs[0].model.vector == runs[1].model.vector).all()


def test_those_who_straggle_are_refused_by_name_and_not_replaced() -> None:
    program = WithoutStragglers(ct.FedAvg(SOFTMAX, ct.LocalSGD(lr=0.05, batch_size=10)))
    run = carry_out(program, split(TWO_LABELS), ct.Rounds(5, 10, attempts=200), stragglers=0.5)
    assert any(record.parties < 10 for record in run.history)
    assert all(record.parties + len(record.rejected) == 10 for record in run.history)


def scaffold_rounds(program: type[ct.FedAvg] | type[ct.Scaffold], similarity: float) -> float:
    made = program(SOFTMAX, ct.LocalSGD(lr=0.2, epochs=5, batch_size=15))
    return needed(made, split(Similarity(20, similarity)), 0.9, ct.Rounds(200, cohort=8))


def test_control_variates_save_rounds_where_parties_differ_and_cost_none_where_they_do_not() -> None:
    """Karimireddy et al. 2020 (arXiv 1910.06378), table 3: 152 against 428 at 0 % similarity, 10 and 10 at 100 %."""
    assert scaffold_rounds(ct.Scaffold, 0.0) < 0.6 * scaffold_rounds(ct.FedAvg, 0.0)
    assert scaffold_rounds(ct.Scaffold, 1.0) == pytest.approx(scaffold_rounds(ct.FedAvg, 1.0), rel=0.3)


@pytest.mark.long
def test_normalised_averaging_rests_higher_where_steps_are_unequal() -> None:
    """Wang et al. 2020 (arXiv 2007.07481), table 1: 67.0 against 62.4 %."""
    local = ct.LocalSGD(lr=0.03, epochs=5, batch_size=10, schedule=ct.schedules.Cosine(25))
    splits = [split(ct.data.Dirichlet(16, alpha=0.1), seed) for seed in range(3)]
    rest = {
        program: fmean(
            late_accuracy(carry_out(UnequalEpochs(program(SOFTMAX, local)), data, ct.Rounds(25))) for data in splits
        )
        for program in (ct.FedAvg, ct.FedNova)
    }
    assert rest[ct.FedNova] > rest[ct.FedAvg] + 0.005
