"""Engines: the same result on each, whatever the number of workers; a party's fault stays its own."""

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import comity as ct
from comity.core.contribution import Aggregate, Contribution, Exchange, Value
from comity.core.errors import DataError, LearnerError, Reason, RunError
from comity.core.vectors import Vectors
from comity.learners.base import Hardware, Trained, Trainer, Work
from comity.programs.base import AnyProgram
from comity.programs.party import Party
from comity.programs.server import Served, renew
from comity.simulation import workers
from support.quadratic import Points, Quadratic, QuadraticTrainer

DATA = Points.random(30)
PLAN = ct.LocalSGD(lr=0.1, epochs=2, batch_size=2)
ENGINES: list[dict[str, Any]] = [
    {"engine": "resident"},
    {"engine": "batched"},
    {"engine": "workers", "workers": 1},
    {"engine": "workers", "workers": 3},
]
PROGRAMS = [
    ct.FedAvg(Quadratic(), PLAN),
    ct.FedAvg(Quadratic(), PLAN, ct.optim.Adam(lr=0.1)),
    ct.FedProx(Quadratic(), PLAN, mu=0.5),
    ct.Scaffold(Quadratic(), PLAN),
    ct.FedNova(Quadratic(), PLAN),
    ct.FedDyn(Quadratic(), PLAN, alpha=0.1),
    ct.FedSGD(Quadratic()),
]


@dataclass(frozen=True)
class Faulty(Quadratic):
    """A learner that misbehaves at parties with a given number of examples."""

    at: int = 5
    fault: str = "raise"

    def build(self, hardware: Hardware, *, batched: bool = False) -> Trainer:
        return FaultyTrainer(self.layout, self.at, self.fault)


@dataclass
class FaultyTrainer(QuadraticTrainer):
    at: int = 5
    fault: str = "raise"

    def train(self, work: Work) -> Trained:
        trained = super().train(work)
        for k, examples in enumerate(work.examples):
            if len(examples) != self.at:
                continue
            if self.fault == "raise":
                raise ZeroDivisionError("somebody's bug")
            if self.fault == "typed":
                raise LearnerError("labels out of range", mend="relabel")
            if self.fault == "nan":
                trained.change[k] = np.nan
            if self.fault == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "shape":
            wide = np.zeros((len(work.examples), 4), dtype=np.float32)
            return Trained(work.weights, wide, trained.steps, trained.examples, trained.statistics)
        return trained


@dataclass(frozen=True, eq=False)
class Recorder:
    """A callback that writes down the rounds it sees."""

    rounds: list[int] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)
    stop_at: int | None = None

    def on_start(self, job: ct.Job, note: str) -> None:
        self.rounds.clear()

    def on_round(self, record: Any) -> str | None:
        self.rounds.append(record.round)
        return "enough" if record.round == self.stop_at else None

    def on_end(self, ending: str) -> None:
        self.endings.append(ending)


def carry_out(program: AnyProgram, data: Any = DATA, rounds: Any = None, **simulation: Any) -> ct.Run:
    rounds = rounds or ct.Rounds(count=4, cohort=10)
    return ct.run(ct.Job(program, rounds, seed=3), ct.Simulation(data, **simulation))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: type(program).__name__)
def test_every_engine_and_number_of_workers_gives_the_same_model(program: AnyProgram) -> None:
    vectors = [carry_out(program, **engine).model.vector for engine in ENGINES]
    assert np.abs(vectors[0]).max() > 0
    assert all(np.array_equal(vectors[0], vector) for vector in vectors[1:])


@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_devices_that_fail_and_straggle_change_nothing_about_that(engine: dict[str, Any]) -> None:
    devices = ct.Devices(speed=50.0, speed_spread=1.0, availability=0.8, failure=0.2, stragglers=0.5)
    rounds = ct.Rounds(count=4, cohort=10, over_select=0.5, quorum=5, deadline=2.0)
    runs = [
        carry_out(ct.Scaffold(Quadratic(), PLAN), rounds=rounds, devices=devices, **e) for e in (ENGINES[0], engine)
    ]
    assert np.array_equal(runs[0].model.vector, runs[1].model.vector)
    assert [r.time for r in runs[0].history] == [r.time for r in runs[1].history]
    assert runs[0].history[-1].time > 0


@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_buffered_rounds_give_the_same_model_on_every_engine(engine: dict[str, Any]) -> None:
    rounds = ct.Buffered(count=6, buffer=4, concurrency=10)
    devices = ct.Devices(speed=50.0, speed_spread=1.0)
    runs = [carry_out(ct.FedAvg(Quadratic(), PLAN), rounds=rounds, devices=devices, **e) for e in (ENGINES[0], engine)]
    assert np.array_equal(runs[0].model.vector, runs[1].model.vector)


@pytest.mark.parametrize("engine", ENGINES, ids=str)
@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        ("raise", Reason.ERROR, "ZeroDivisionError: somebody's bug"),
        ("typed", Reason.ERROR, "labels out of range"),
        ("nan", Reason.NOT_FINITE, "3 of 3 entries of weights"),
    ],
)
def test_the_faulty_parties_are_refused_by_name_and_the_rounds_go_on(
    engine: dict[str, Any], fault: str, reason: Reason, words: str
) -> None:
    run = carry_out(ct.FedAvg(Faulty(fault=fault), PLAN), **engine)
    faulty = {name for name in DATA.ids if len(DATA[name].train) == 5}
    rejected = run.history.rejections()
    assert run.ending == "completed"
    assert len(run.history) == 4
    assert rejected
    assert {rejection.party for rejection in rejected} <= faulty
    assert all(rejection.reason is reason and words in rejection.detail for rejection in rejected)
    assert np.isfinite(run.model.vector).all()


def test_without_the_faulty_parties_contribution_the_rest_is_as_if_they_were_not_asked() -> None:
    points = [np.full((2, 3), k, dtype=np.float32) for k in range(4)]
    points[2] = np.full((5, 3), 100, dtype=np.float32)
    healthy = Points([points[0], points[1], points[3]])
    every = ct.Rounds(count=1)
    with_fault = carry_out(ct.FedAvg(Faulty(fault="nan"), PLAN), Points(points), every)
    without = carry_out(ct.FedAvg(Quadratic(), PLAN), healthy, every)
    assert np.array_equal(with_fault.model.vector, without.model.vector)


def test_an_empty_party_is_refused_for_having_no_data() -> None:
    data = Points([np.ones((2, 3), np.float32), np.ones((0, 3), np.float32)])
    run = carry_out(ct.FedAvg(Quadratic(), PLAN), data, ct.Rounds(count=2))
    assert [(r.party, r.reason) for r in run.history.rejections()] == [("p1", Reason.NO_DATA)] * 2


def test_when_every_party_fails_the_run_says_with_what() -> None:
    data = Points([np.ones((5, 3), np.float32)] * 3)
    with pytest.raises(RunError, match=r"round 1 was abandoned[\s\S]*ZeroDivisionError: somebody's bug"):
        carry_out(ct.FedAvg(Faulty(fault="raise"), PLAN), data, ct.Rounds(count=2))


def test_a_loss_that_diverges_names_the_mend() -> None:
    plan = ct.LocalSGD(lr=1e30, epochs=40)
    with pytest.raises(RunError, match=r"NaN or infinite[\s\S]*lower the learning rate"), np.errstate(all="ignore"):
        carry_out(ct.FedAvg(Quadratic(), plan), rounds=ct.Rounds(count=2))


@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_a_program_that_returns_other_shapes_than_it_declares_is_told(engine: dict[str, Any]) -> None:
    data = Points([np.ones((2, 3), np.float32)] * 3)
    with pytest.raises(RunError, match="shape"):
        carry_out(ct.FedAvg(Faulty(fault="shape"), PLAN), data, ct.Rounds(count=1), **engine)


@dataclass(frozen=True)
class Forgetful(ct.FedAvg):
    def at_party(self, sent: Any, party: Any) -> Any:
        party.memory["secret"] = sent.weights[None, :]
        return super().at_party(sent, party)


@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_what_a_program_remembers_must_be_declared(engine: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=r"'secret' is remembered but not declared"):
        carry_out(Forgetful(Quadratic(), PLAN), rounds=ct.Rounds(count=1), **engine)


class Crosswise(ct.FedAvg):
    """Returns the change under its second name, and something else under the first."""

    def exchange(self) -> Exchange:
        size = self.model.layout.size
        return Exchange(
            broadcast={"weights": Value(size, "the model")},
            contribution={"square": Value(size, "the change squared"), "change": Value(size, "the change")},
        )

    def at_party(self, sent: Vectors, party: Party) -> Contribution:
        trained = party.train(sent.weights, self.local)
        vectors = Vectors(square=trained.change**2, change=trained.change)
        return Contribution(vectors, trained.examples, trained.statistics)

    def update(self, state: Served, aggregate: Aggregate) -> Served:
        change = aggregate.vectors.change + aggregate.vectors.square
        return renew(state, change, self.server, self.model.layout)


def test_what_a_program_returns_may_lie_in_the_place_of_something_else() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    examples = ct.data.from_arrays(rng.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 3, classes=3)
    data = examples.split(ct.data.IID(parties=6))
    model = ct.torch.Model(torch.nn.Linear, arguments={"in_features": 5, "out_features": 3}, metrics=())
    ways: list[dict[str, Any]] = [{"engine": "resident"}, {"engine": "workers", "workers": 2}]
    vectors = [
        carry_out(Crosswise(model, PLAN), data, ct.Rounds(count=3, cohort=4), **way).model.vector for way in ways
    ]
    assert np.abs(vectors[0]).max() > 0
    assert np.array_equal(*vectors)


def test_parties_that_kill_their_workers_are_lost_and_the_run_goes_on() -> None:
    points = [np.full((2, 3), k, dtype=np.float32) for k in range(6)]
    points[4] = np.full((5, 3), 1, dtype=np.float32)
    run = carry_out(
        ct.FedAvg(Faulty(fault="die"), PLAN), Points(points), ct.Rounds(count=2), engine="workers", workers=2
    )
    assert [(r.party, r.round, r.reason) for r in run.history.rejections()] == [
        ("p4", 1, Reason.LOST),
        ("p4", 2, Reason.LOST),
    ]
    assert [record.parties for record in run.history] == [5, 5]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_who_is_lost_does_not_depend_on_the_number_of_workers(count: int) -> None:
    points = [np.full((2, 3), k, dtype=np.float32) for k in range(24)]
    points[5] = np.full((5, 3), 1, dtype=np.float32)
    run = carry_out(
        ct.FedAvg(Faulty(fault="die"), PLAN), Points(points), ct.Rounds(count=1), engine="workers", workers=count
    )
    assert [r.party for r in run.history.rejections()] == ["p5"]


def test_two_runs_at_a_time_do_not_wait_for_each_other() -> None:
    """A worker that held an end of another run's pipe would keep that run's workers from ending (for 5 s each)."""
    from concurrent.futures import ThreadPoolExecutor

    def one(_: int) -> Any:
        return carry_out(ct.FedAvg(Quadratic(), PLAN), engine="workers", workers=2).model.vector

    with ThreadPoolExecutor(4) as threads:
        vectors = list(threads.map(one, range(8)))
    assert all(np.array_equal(vectors[0], vector) for vector in vectors)


def test_abandoned_attempts_stay_on_the_bill() -> None:
    devices = ct.Devices(speed=50.0, failure=0.6)
    rounds = ct.Rounds(count=3, cohort=4, quorum=3, deadline=0.2, attempts=50)
    run = carry_out(ct.FedAvg(Quadratic(), PLAN), rounds=rounds, devices=devices)
    assert len(run.history.rejections()) > 0
    assert all(record.bytes_down >= 12 * record.parties for record in run.history)
    assert sum(record.bytes_down for record in run.history) > 12 * sum(record.parties for record in run.history)
    assert all(rejection.round == record.round for record in run.history for rejection in record.rejected)


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    @dataclass(frozen=True, eq=False)
    class Fragile(Points):
        def __getitem__(self, party: str) -> Any:
            marker = tmp_path / "died"
            if party == "p3" and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__getitem__(party)

    every = ct.Rounds(count=2)
    run = carry_out(ct.FedAvg(Quadratic(), PLAN), Fragile(DATA.arrays), every, engine="workers", workers=2)
    assert (tmp_path / "died").exists()
    assert run.history.rejections() == []
    assert np.array_equal(run.model.vector, carry_out(ct.FedAvg(Quadratic(), PLAN), rounds=every).model.vector)


def test_workers_that_are_started_afresh_give_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "FORKS", False)
    program = ct.Scaffold(Quadratic(), PLAN)
    spawned = carry_out(program, engine="workers", workers=2)
    assert np.array_equal(spawned.model.vector, carry_out(program).model.vector)


def test_what_cannot_be_sent_to_such_a_worker_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "FORKS", False)

    @dataclass(frozen=True, eq=False)
    class Unreachable(Points):
        """A class that no other process can import."""

    with pytest.raises(RunError, match=r"cannot be sent to a worker process[\s\S]*can be imported"):
        carry_out(ct.FedAvg(Quadratic(), PLAN), Unreachable(DATA.arrays), engine="workers", workers=2)


def test_data_of_one_party_that_cannot_be_read_is_that_partys_fault() -> None:
    @dataclass(frozen=True, eq=False)
    class Unreadable(Points):
        def __getitem__(self, party: str) -> Any:
            if party == "p1":
                raise DataError("NaN in column age", where="party p1, row 3")
            return super().__getitem__(party)

    run = carry_out(ct.FedAvg(Quadratic(), PLAN), Unreadable(DATA.arrays[:3]), ct.Rounds(count=1))
    assert "NaN in column age" in run.history.rejections()[0].detail


def test_auto_says_what_it_chose_and_why() -> None:
    run = carry_out(ct.FedAvg(Quadratic(batchable_=False), PLAN), workers=2)
    assert run.engine == "resident, in 2 worker processes: it was told not to be"


def test_an_engine_that_cannot_run_the_job_says_why() -> None:
    with pytest.raises(ct.ConfigError, match=r"at once: it was told not to be[\s\S]*resident"):
        carry_out(ct.FedAvg(Quadratic(batchable_=False), PLAN), engine="batched")


@pytest.mark.parametrize(
    ("arguments", "message"), [({"engine": "ray"}, r"Simulation\.engine"), ({"workers": 0}, r"Simulation\.workers")]
)
def test_bad_options_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ct.ConfigError, match=message):
        carry_out(ct.FedAvg(Quadratic(), PLAN), **arguments)


def test_a_cohort_larger_than_the_population_is_refused() -> None:
    with pytest.raises(ct.ConfigError, match="31"):
        carry_out(ct.FedAvg(Quadratic(), PLAN), rounds=ct.Rounds(count=1, cohort=31))


def test_no_parties_at_all_are_refused() -> None:
    with pytest.raises(ct.ConfigError, match="no parties"):
        carry_out(ct.FedAvg(Quadratic(), PLAN), Points([]))


def test_a_callback_can_stop_the_run() -> None:
    recorder = Recorder(stop_at=2)
    job = ct.Job(ct.FedAvg(Quadratic(), PLAN), ct.Rounds(count=9, cohort=3))
    run = ct.run(job, ct.Simulation(DATA), callbacks=[recorder])
    assert recorder.rounds == [1, 2]
    assert recorder.endings == ["stopped"]
    assert (run.ending, run.detail) == ("stopped", "enough")


def test_a_million_parties_cost_what_a_thousand_do(tmp_path: Path) -> None:
    import tracemalloc

    def load(party: str) -> Any:
        return Points([np.full((2, 3), float(len(party)), dtype=np.float32)])["p0"]

    peaks = []
    for count in (1_000, 1_000_000):
        data = ct.data.Lazy(count, load)
        tracemalloc.start()
        carry_out(ct.FedAvg(Quadratic(), PLAN), data, ct.Rounds(count=3, cohort=50), engine="resident")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
