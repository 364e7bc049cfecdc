"""A statement says what ε is of, against whom, and under which assumptions."""

from __future__ import annotations

import json
import math

import pytest

from comity.privacy.accounting import Account, Accountant, Release
from comity.privacy.mechanisms import BandedMatrix, DiscreteGaussianSum, Gaussian, Mechanism, Skellam
from comity.privacy.sampling import FixedSize, Full, Poisson, Sampling
from comity.privacy.statement import Adversary, Statement
from comity.privacy.units import PartyLevel, RecordLevel


def account(mechanism: Mechanism, sampling: Sampling, times: int) -> Account[PartyLevel]:
    return Account.of(Release("the mean of updates", PartyLevel(), mechanism, sampling, times))


def stated(mechanism: Mechanism, sampling: Sampling, times: int = 20) -> Statement[PartyLevel]:
    run = account(mechanism, sampling, times)
    return Statement.of(run, Adversary.RECIPIENT, delta=1e-5, rounds=20, points=4)


def test_epsilon_is_given_after_rounds_and_in_all() -> None:
    statement = stated(Gaussian(4.0), Full())
    assert [mark for mark, _ in statement.series] == [5, 10, 15, 20]
    for mark, epsilon in statement.series:
        assert epsilon == account(Gaussian(4.0), Full(), mark).epsilon(1e-5)
    assert statement.epsilon == statement.series[-1][1]


def test_correlated_noise_has_cost_all_from_the_start() -> None:
    statement = stated(BandedMatrix(4.0, 2.0), Full(), times=1)
    assert {epsilon for _, epsilon in statement.series} == {statement.epsilon}


def test_a_short_run_has_no_more_points_than_rounds() -> None:
    short = Statement.of(account(Gaussian(1.0), Full(), 3), Adversary.EVERYBODY, delta=1e-5, rounds=3)
    assert [mark for mark, _ in short.series] == [1, 2, 3]


def test_the_text_names_all_that_epsilon_depends_on() -> None:
    text = str(stated(Gaussian(4.0), Poisson(0.25)))
    for part in (
        "ε = ",
        "δ = 1e-05 after 20 rounds",
        "all of one party's data",
        "one unit more or fewer",
        Adversary.RECIPIENT.value,
        "privacy loss distributions",
        "the mean of updates, 20 ×: Gaussian, 4 × the clipping norm; sampling: Poisson, each with probability 0.25",
        "who takes part is secret",
        "noise in floating point",
    ):
        assert part in text


def test_json_holds_the_same() -> None:
    statement = stated(Gaussian(4.0), FixedSize(5, 50))
    told = json.loads(statement.to_json())
    assert told["epsilon"] == statement.epsilon
    assert told["relation"] == "one unit's data replaced by any other"
    assert told["accountant"] == "Rényi divergences"
    assert [(point["round"], point["epsilon"]) for point in told["series"]] == list(statement.series)
    assert told["releases"][0]["mechanism"] == "Gaussian, 4 × the clipping norm"


def test_a_loss_without_bound_is_said_to_have_none() -> None:
    unbounded = Statement(
        account(Gaussian(1.0), Full(), 1), Adversary.RECIPIENT, (), 1, math.inf, 1e-5, ((1, math.inf),), Accountant.PLD
    )
    assert str(unbounded).startswith("ε is unbounded at δ = 1e-05 after 1 round\n")
    assert json.loads(unbounded.to_json())["epsilon"] is None


@pytest.mark.parametrize(
    ("mechanism", "sampling", "assumed"),
    [
        (Gaussian(4.0), Full(), {"floating point"}),
        (Gaussian(4.0), FixedSize(5, 50), {"floating point", "every cohort of that size", "all who were drawn"}),
        (DiscreteGaussianSum(50.0, 8, 4.0, 16.0, 10), Full(), {"8 of those who are in the sum"}),
        (DiscreteGaussianSum(50.0, 1, 4.0, 16.0, 10), Full(), set()),
        (Skellam(2500.0, 4.0, 16.0), Full(), {"enough of those"}),
    ],
)
def test_assumptions_are_those_of_the_noise_and_the_sampling(
    mechanism: Mechanism, sampling: Sampling, assumed: set[str]
) -> None:
    lines = stated(mechanism, sampling).assumptions
    assert len(lines) == len(assumed)
    assert all(any(part in line for line in lines) for part in assumed)


def test_assumptions_of_the_caller_come_first_and_each_once() -> None:
    release = Release("a", RecordLevel(), Gaussian(4.0), Full())
    statement = Statement.of(
        Account.of(release, release), Adversary.COORDINATOR, delta=1e-5, rounds=1, assumptions=("two servers",)
    )
    assert statement.assumptions[0] == "two servers"
    assert len(statement.assumptions) == 2
    assert Adversary.COORDINATOR in str(statement)
