"""What `explain` says of record-level privacy: which values it covers, and which not."""

from dataclasses import replace

import pytest

import comity as ct
from support.quadratic import Quadratic

PLAN = ct.LocalSGD(lr=0.1, privacy=ct.RecordPrivacy(clip=0.5, multiplier=1.25))


def told(privacy: ct.RecordPrivacy | None) -> dict[str, str]:
    program = ct.FedAvg(Quadratic(), replace(PLAN, privacy=privacy))
    job = ct.Job(program, ct.Rounds(count=3))
    return {line.value: line.privacy for line in job.explain().leaving}


def test_the_change_is_covered_and_by_what_is_said() -> None:
    weights = told(PLAN.privacy)["weights"]
    assert "each record by DP-SGD at the party (clip 0.5, noise multiplier 1.25)" in weights
    assert "ε is each party's own" in weights


def test_the_number_of_examples_is_not_covered() -> None:
    assert "does not cover it: the number of examples" in told(PLAN.privacy)["weight"]


def test_the_loss_is_left_out_or_not_covered() -> None:
    assert told(PLAN.privacy)["metric loss"].startswith("nothing to protect")
    reported = told(ct.RecordPrivacy(0.5, 1.25, report_loss=True))
    assert "does not cover it" in reported["metric loss"]


@pytest.mark.parametrize("privacy", [None, ct.RecordPrivacy(clip=0.5, multiplier=0.0)])
def test_without_noise_nothing_is_claimed(privacy: ct.RecordPrivacy | None) -> None:
    assert told(privacy)["weights"] == "no differential privacy: ε is unbounded"
