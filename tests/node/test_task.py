"""Tasks: a child process computes what a simulation computes, bit for bit, and hides nothing that goes wrong."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import comity as ct
from comity.coordination.coordinator import Coordinator
from comity.coordination.effects import Assign
from comity.coordination.events import Aggregated, Contributed, Start
from comity.core.contribution import Contribution
from comity.core.vectors import Vectors
from comity.data.examples import PartyData
from comity.jobs.job import Job
from comity.node.bundle import unpack
from comity.node.child import ChildExecutor, TaskResult, TaskSpec, described
from comity.node.data import DataRegistry
from comity.node.home import NodeHome
from comity.node.loading import load as load_data
from comity.simulation.ahead import Answer
from comity.simulation.rounds import Collecting
from comity.simulation.tasks import Batch, Task
from support.nodes import PLAIN, RUN, SOURCE, a_home, job_of

NAMES = ["party-0", "party-1", "party-2"]


@dataclass
class Loaded:
    """The data of nodes, as a simulation sees them."""

    parties: dict[str, PartyData]
    test: Any = None

    @property
    def ids(self) -> Sequence[str]:
        return sorted(self.parties)

    def __len__(self) -> int:
        return len(self.parties)

    def __getitem__(self, party: str) -> PartyData:
        return self.parties[party]


def a_task(home: NodeHome, job: Job, source: str | None, vectors: dict[str, Any], lease: int = 0) -> TaskSpec:
    """A task for the first round, with its files where the agent would have put them."""
    run = home.runs / RUN
    run.mkdir(exist_ok=True)
    (run / "manifest.json").write_text(job.to_json())
    if source is not None:
        unpack({"job.py": source}, run / "source")
    files = {}
    for name, vector in vectors.items():
        files[name] = home.cache / f"{name}-{lease}"
        save_file({name: np.asarray(vector)}, files[name])
    into = home.scratch / RUN / str(lease)
    into.mkdir(parents=True)
    return TaskSpec(
        run=RUN,
        lease=lease,
        round=0,
        party=home.config.name,
        manifest=run / "manifest.json",
        source=None if source is None else run / "source",
        data=described(DataRegistry(home.path).entry("digits"), None),
        broadcast=files,
        memory=None,
        counted=False,
        into=into,
    )


def computed(home: NodeHome, *tasks: TaskSpec) -> list[TaskResult]:
    """The results of tasks, one after another in one executor."""

    async def run() -> list[TaskResult]:
        executor = ChildExecutor(home, lambda kind, facts: None)
        try:
            return [await executor.run(task) for task in tasks]
        finally:
            await executor.close()

    return asyncio.run(run())


async def deployed(homes: list[NodeHome], job: Job, source: str) -> np.ndarray[Any, Any]:
    """The model that the nodes' processes and a coordinator make, round by round."""
    parties = {home.config.name: (home, ChildExecutor(home, lambda kind, facts: None)) for home in homes}
    memory: dict[str, Path] = {}
    state = job.program.init(job.root_seed)
    coordinator = Coordinator(job.rounds, sorted(parties), job.root_seed.child("coordinator"))
    effects = coordinator.handle(Start(0.0))
    for round in range(job.rounds.count):
        collecting = Collecting.of(job, round + 1)
        sent = dict(job.program.broadcast(state))
        for assign in [effect for effect in effects if isinstance(effect, Assign)]:
            home, executor = parties[assign.party]
            task = a_task(home, job, source, sent, lease=assign.lease)
            kept = memory.get(assign.party)
            result = await executor.run(replace(task, round=round, memory=kept, counted=round > 0))
            assert result.refusal is None, result.refusal
            if result.memory is not None:
                memory[assign.party] = result.memory.rename(home.memory / RUN / f"{assign.lease}.safetensors")
            collecting.accept(assign.party, Answer(received(result, assign), 0), 1.0)
            coordinator.handle(Contributed(0.0, assign.party, assign.lease))
        aggregate, _ = collecting.aggregate({}, len(homes))
        state = job.program.update(state, aggregate)
        effects = coordinator.handle(Aggregated(0.0, round))
    for _, executor in parties.values():
        await executor.close()
    return np.asarray(job.program.weights(state))


def received(result: TaskResult, assign: Assign) -> Batch:
    assert result.vectors is not None
    rows = Vectors(**{name: vector[None] for name, vector in load_file(result.vectors).items()})
    metrics = {name: np.array([sums]) for name, sums in result.metrics.items()}
    contribution = Contribution(rows, np.array([[result.weight]], dtype=np.float32), metrics)
    return Batch([Task(assign.party, assign.lease, assign.round)], contribution, faults=[None])


@pytest.mark.long
@pytest.mark.parametrize("program", ["FedAvg", "Scaffold"])
def test_gives_the_bits_of_the_simulation(tmp_path: Path, program: str) -> None:
    source = SOURCE.replace("PROGRAM", program)
    job = job_of(source, tmp_path / "submitter")
    homes = [a_home(tmp_path, name, rows=40 + 10 * k, first=100 * k) for k, name in enumerate(NAMES)]
    registries = {home.config.name: DataRegistry(home.path) for home in homes}
    data = Loaded({name: load_data(registry.entry("digits")) for name, registry in registries.items()})
    simulated = ct.run(job, ct.Simulation(data, engine="resident", workers=1), progress=False).model.vector
    assert np.array_equal(asyncio.run(deployed(homes, job, source)), simulated)


def first_round(tmp_path: Path, extra: str) -> TaskResult:
    source = PLAIN.replace("EXTRA", extra)
    job = job_of(source, tmp_path / "submitter")
    home = a_home(tmp_path)
    sent = dict(job.program.broadcast(job.program.init(job.root_seed)))
    return computed(home, a_task(home, job, source, sent))[0]


def test_a_failure_in_the_code_of_a_job_is_told(tmp_path: Path) -> None:
    result = first_round(tmp_path, "raise ZeroDivisionError('mine')")
    assert result.refusal is not None
    assert result.refusal.reason == "error"
    assert "ZeroDivisionError: mine" in result.refusal.detail


def test_what_admission_would_refuse_does_not_leave(tmp_path: Path) -> None:
    result = first_round(tmp_path, "weights['slope'] *= np.nan")
    assert result.refusal is not None
    assert "not finite: " in result.refusal.detail


def test_the_code_of_a_job_may_print(tmp_path: Path) -> None:
    result = first_round(tmp_path, "print('not an answer')")
    assert result.refusal is None


def test_one_process_answers_round_after_round(tmp_path: Path) -> None:
    source = PLAIN.replace(
        "EXTRA", "import os; weights['slope'][0] += os.getppid() * 0 + start.__dict__.setdefault('n', 0); start.n += 1"
    )
    job = job_of(source, tmp_path / "submitter")
    home = a_home(tmp_path)
    sent = {name: vector * 0 for name, vector in job.program.broadcast(job.program.init(job.root_seed)).items()}
    results = computed(home, *(a_task(home, job, source, sent, lease) for lease in range(3)))
    changes = [load_file(result.vectors or "")["weights"][0] for result in results]
    assert changes[1] - changes[0] == pytest.approx(1, abs=1e-3)
    assert changes[2] - changes[0] == pytest.approx(2, abs=1e-3)


def test_a_job_whose_source_is_another_is_refused(tmp_path: Path) -> None:
    source = PLAIN.replace("EXTRA", "pass")
    job = job_of(source, tmp_path / "submitter")
    home = a_home(tmp_path)
    sent = dict(job.program.broadcast(job.program.init(job.root_seed)))
    [result] = computed(home, a_task(home, job, source.replace("pass", "weights['slope'] *= 2"), sent))
    assert result.refusal is not None
    assert "the source of fit differs" in result.refusal.detail


def test_vectors_that_the_job_does_not_broadcast_are_refused(tmp_path: Path) -> None:
    source = PLAIN.replace("EXTRA", "pass")
    job = job_of(source, tmp_path / "submitter")
    home = a_home(tmp_path)
    [result] = computed(home, a_task(home, job, source, {"weights": np.zeros(3, dtype=np.float32)}))
    assert result.refusal is not None
    assert "expected float32 of shape (64,)" in result.refusal.detail


def test_data_that_are_gone_are_a_fault_of_the_data(tmp_path: Path) -> None:
    source = PLAIN.replace("EXTRA", "pass")
    job = job_of(source, tmp_path / "submitter")
    home = a_home(tmp_path)
    sent = dict(job.program.broadcast(job.program.init(job.root_seed)))
    task = a_task(home, job, source, sent)
    (home.path / "digits.npz").write_bytes(b"no archive")
    [result] = computed(home, task)
    assert result.refusal is not None
    assert result.refusal.reason == "data"
