"""Programs refuse parts of the wrong kind when they are built, each with the mend."""

from collections.abc import Callable
from typing import Any

import pytest

import comity as ct
from comity.core.errors import RunError
from support.quadratic import Points, Quadratic

PLAN = ct.LocalSGD(lr=0.1)

PROGRAMS: list[Callable[..., Any]] = [ct.FedAvg, ct.FedAdam, ct.FedDyn, ct.FedNova, ct.Scaffold]


class Net:
    """A class that is called to make a model, as `nn.Module`s are."""

    def __call__(self) -> None: ...


class Regression:
    """What looks like an estimator of scikit-learn."""

    def get_params(self) -> dict[str, Any]:
        return {}


def net() -> Net:
    return Net()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Net, r"\.model: the class Net is no learner\n.*wrap it: ct\.torch\.Model\(Net\)"),
        (Net(), r"\.model: a Net is no learner\n.*wrap it: ct\.torch\.Model\(Net\)"),
        (net, r"\.model: the function net is no learner\n.*wrap it: ct\.torch\.Model\(net\)"),
        (Regression(), r"\.model: a Regression is no learner\n.*wrap it: ct\.sklearn\.Estimator\(Regression\(\), feat"),
        (5, r"\.model: an int is no learner\n.*give a learner such as ct\.torch\.Model\(Net\)"),
    ],
)
def test_a_model_that_is_no_learner_is_refused(program: Callable[..., Any], model: Any, message: str) -> None:
    with pytest.raises(ct.ConfigError, match=message):
        program(model, PLAN)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_local_plan_that_is_none_is_refused(program: Callable[..., Any]) -> None:
    with pytest.raises(ct.ConfigError, match=r"\.local: a float is no local plan\n.*ct\.LocalSGD\(lr=0\.1\)"):
        program(Quadratic(), 0.1)


@pytest.mark.parametrize("program", [ct.FedAvg, ct.FedNova, ct.Scaffold])
def test_a_server_optimizer_given_as_a_class_is_refused(program: Callable[..., Any]) -> None:
    with pytest.raises(ct.ConfigError, match=r"\.server: the class Adam is no server optimizer\n.*ct\.optim\.Adam\(\)"):
        program(Quadratic(), PLAN, server=ct.optim.Adam)


def test_programs_without_a_plan_check_their_model_and_server() -> None:
    with pytest.raises(ct.ConfigError, match=r"FedSGD\.server: an int is no server optimizer"):
        ct.FedSGD(Quadratic(), server=1)  # type: ignore[arg-type]
    with pytest.raises(ct.ConfigError, match=r"Evaluate\.model: the class Net is no learner"):
        ct.Evaluate(Net)  # type: ignore[arg-type]


@pytest.mark.parametrize("mu", [0.1, 0.0])
def test_a_rate_of_zero_ends_programs_that_divide_by_it_with_the_mend(mu: float) -> None:
    plan = ct.LocalSGD(lr=0.1, schedule=ct.schedules.Cosine(rounds=2))
    program = ct.FedNova(Quadratic(), plan, mu=mu) if mu else ct.Scaffold(Quadratic(), plan)
    simulation = ct.Simulation(Points.random(3), engine="resident")
    assert len(ct.run(ct.Job(program, ct.Rounds(count=2)), simulation).history) == 2
    with pytest.raises(RunError, match=r"the schedule gives the learning rate 0, and .* divides by it"):
        ct.run(ct.Job(program, ct.Rounds(count=3)), simulation)
