"""Checkpoints: a run that is cut anywhere goes on to the same bytes; a disk that is full corrupts nothing."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import comity as ct
from comity.core.errors import CheckpointError, RunError
from comity.core.files import replace_file
from comity.runs.checkpoint import Checkpoint, read, write
from support.quadratic import Points, Quadratic

DATA = Points.random(20)
PLAN = ct.LocalSGD(lr=0.05, epochs=2, batch_size=2)
SYNC = ct.Rounds(count=9, cohort=6, over_select=0.5, quorum=3, deadline=3.0)
BUFFERED = ct.Buffered(count=9, buffer=3, concurrency=8)
PHONES = ct.Devices(speed=40.0, speed_spread=1.0, availability=0.8, failure=0.1, stragglers=0.3)


class Cut(Exception):
    """The process ends here."""


class CutAfter:
    """A callback at which the process dies once a round is reached."""

    def __init__(self, round: int) -> None:
        self.round = round

    def on_start(self, job: ct.Job, note: str) -> None: ...

    def on_round(self, record: Any) -> str | None:
        if record.round == self.round:
            raise Cut
        return None

    def on_end(self, ending: str) -> None: ...


CASES = [
    (ct.FedAvg(Quadratic(), PLAN, ct.optim.Adam(0.1)), SYNC),
    (ct.Scaffold(Quadratic(), PLAN), SYNC),
    (ct.FedDyn(Quadratic(), PLAN, alpha=0.1), SYNC),
    (ct.FedAvg(Quadratic(), PLAN, ct.optim.SGD(1.0, 0.5)), BUFFERED),
]


@pytest.mark.parametrize(("program", "rounds"), CASES, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("cut", [2, 5, 9])
def test_a_cut_run_resumes_to_the_same_bytes(program: Any, rounds: Any, cut: int, tmp_path: Path) -> None:
    job, simulation = ct.Job(program, rounds, seed=4), ct.Simulation(DATA, devices=PHONES)
    whole = ct.run(job, simulation, folder=tmp_path / "whole")
    with pytest.raises(Cut):
        ct.run(job, simulation, folder=tmp_path / "cut", checkpoint_every=1, callbacks=[CutAfter(cut)])
    resumed = ct.run(job, simulation, folder=tmp_path / "cut", resume=True, checkpoint_every=4)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]
    assert [(r.round, r.time, r.parties, r.train, r.bytes_down) for r in resumed.history] == [
        (r.round, r.time, r.parties, r.train, r.bytes_down) for r in whole.history
    ]
    assert resumed.history.party_records() == whole.history.party_records()


def test_a_run_is_not_resumed_with_other_devices(tmp_path: Path) -> None:
    job = ct.Job(CASES[0][0], ct.Rounds(count=3))
    ct.run(job, ct.Simulation(DATA), folder=tmp_path)
    with pytest.raises(CheckpointError, match="other devices"):
        ct.run(job, ct.Simulation(DATA, devices=PHONES), folder=tmp_path, resume=True)


@pytest.mark.parametrize("cut", [2, 4, 6])
def test_buffered_rounds_with_personal_parts_resume_to_the_same_bytes(cut: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    data = ct.data.from_arrays(
        np.random.default_rng(0).normal(size=(160, 4)).astype(np.float32), np.arange(160) % 3, test=None
    ).split(ct.data.IID(parties=8), seed=1)
    model = ct.torch.Model(torch.nn.Linear, arguments={"in_features": 4, "out_features": 3}, local=("bias",))
    job = ct.Job(ct.FedAvg(model, ct.LocalSGD(lr=0.5, batch_size=5)), ct.Buffered(count=8, buffer=2, concurrency=6))
    simulation = ct.Simulation(data, devices=PHONES, engine="resident")
    ct.run(job, simulation, folder=tmp_path / "whole")
    with pytest.raises(Cut):
        ct.run(job, simulation, folder=tmp_path / "cut", checkpoint_every=1, callbacks=[CutAfter(cut)])
    ct.run(job, simulation, folder=tmp_path / "cut", resume=True)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]


def test_a_finished_run_can_be_opened_again(tmp_path: Path) -> None:
    job = ct.Job(CASES[0][0], ct.Rounds(count=3))
    first = ct.run(job, ct.Simulation(DATA), folder=tmp_path)
    again = ct.run(job, ct.Simulation(DATA), folder=tmp_path, resume=True)
    assert again.ending == "completed"
    assert np.array_equal(first.model.vector, again.model.vector)
    assert len(again.history) == 3


def test_a_run_does_not_overwrite_another(tmp_path: Path) -> None:
    job = ct.Job(CASES[0][0], ct.Rounds(count=3))
    ct.run(job, ct.Simulation(DATA), folder=tmp_path)
    with pytest.raises(RunError, match=r"a run in this folder already[\s\S]*--resume"):
        ct.run(job, ct.Simulation(DATA), folder=tmp_path)


def test_another_jobs_checkpoint_is_refused(tmp_path: Path) -> None:
    ct.run(ct.Job(CASES[0][0], ct.Rounds(count=3)), ct.Simulation(DATA), folder=tmp_path)
    with pytest.raises(CheckpointError, match="belongs to job"):
        ct.run(ct.Job(CASES[0][0], ct.Rounds(count=4)), ct.Simulation(DATA), folder=tmp_path, resume=True)


def test_nothing_to_resume_from_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        ct.run(ct.Job(CASES[0][0], ct.Rounds(count=3)), ct.Simulation(DATA), folder=tmp_path, resume=True)
    with pytest.raises(ct.ConfigError, match="give the folder"):
        ct.run(ct.Job(CASES[0][0], ct.Rounds(count=3)), ct.Simulation(DATA), resume=True)


@pytest.mark.parametrize("keep", [0, 7, 100])
def test_a_damaged_checkpoint_is_an_error_and_not_a_crash(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    write(path, Checkpoint("job", {"w": np.arange(100.0)}, {"round": 3}))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(path, "job")


def test_a_checkpoint_round_trips(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "checkpoint.safetensors"
    write(path, Checkpoint("job", {"w": np.arange(6.0).reshape(2, 3), "n": np.asarray(7)}, {"round": [1, None]}))
    again = read(path, "job")
    assert again.arrays["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert again.arrays["n"].item() == 7
    assert again.facts == {"round": [1, None]}


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
@pytest.mark.parametrize(
    "put",
    [
        lambda path: replace_file(path, b"after" * 10_000),
        lambda path: write(path, Checkpoint("job", {"w": np.arange(10_000.0)}, {})),
    ],
    ids=["bytes", "arrays"],
)
def test_a_disk_that_takes_no_more_leaves_what_was_there_whole(put: Any, tmp_path: Path) -> None:
    import resource

    path = tmp_path / "file"
    replace_file(path, b"before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"File too large[\s\S]*unchanged[\s\S]*resume"):
            put(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_during_a_run_ends_it_with_a_checkpoint_to_resume_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, simulation = ct.Job(CASES[1][0], ct.Rounds(count=6)), ct.Simulation(DATA, engine="resident")
    whole = ct.run(job, simulation)
    real, calls = os.fsync, [0]

    def full(handle: int) -> None:
        calls[0] += 1
        if calls[0] > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        ct.run(job, simulation, folder=tmp_path, checkpoint_every=1)
    monkeypatch.undo()
    resumed = ct.run(job, simulation, folder=tmp_path, resume=True)
    assert np.array_equal(resumed.model.vector, whole.model.vector)
