"""Bad input, as a user meets it through `ct.run` and the command line: the message, and that nothing is lost.

Told elsewhere: an empty party, parties that raise, a cohort larger than the population (test_engines.py), errors in job
files (test_jobfile.py), Ctrl-C and kill (test_cli_interruption.py), a disk that fills (test_checkpoints.py).
"""

import errno
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn
from typer.testing import CliRunner

import comity as ct
from comity.cli.app import app
from comity.core.errors import DataError, Reason, RunError
from comity.data.examples import Examples, PartyData
from support.commands import JOB
from support.quadratic import Points, Quadratic

RUNNER = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
PLAN = ct.LocalSGD(lr=0.1, batch_size=5)
X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
Y = np.arange(40) % 3


def classifier() -> nn.Module:
    return nn.Linear(4, 3)


def decider() -> nn.Module:
    return nn.Linear(4, 1)


def deep() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))


class Unchecked:
    """Four parties of ten examples, four of them held out, as a federation of the user's own would give them."""

    test = None

    def __init__(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        self.x, self.y = x, y
        self.ids = ["a", "b", "c", "d"]

    def __len__(self) -> int:
        return 4

    def __getitem__(self, party: str) -> PartyData:
        start = 10 * self.ids.index(party)
        cut, end = start + 6, start + 10
        return PartyData(Examples(self.x[start:cut], self.y[start:cut]), Examples(self.x[cut:end], self.y[cut:end]))


def carry_out(model: Any, data: Any, engine: Any = "resident", plan: ct.LocalSGD = PLAN, **options: Any) -> ct.Run:
    return ct.run(ct.Job(ct.FedAvg(model, plan), ct.Rounds(count=3)), ct.Simulation(data, engine=engine), **options)


def test_features_that_are_not_numbers_are_found_before_anything_runs() -> None:
    x = X.copy()
    x[7, 2] = np.nan
    with pytest.raises(DataError, match=r"row 7: feature 2 is nan[\s\S]*fill or drop missing values"):
        ct.data.from_arrays(x, Y)


def test_labels_out_of_range_are_found_before_anything_runs() -> None:
    y = Y.copy()
    y[3] = 7
    with pytest.raises(DataError, match=r"row 3: label 7 is outside 0 … 2"):
        ct.data.from_arrays(X, y, classes=3)


@pytest.mark.parametrize("engine", ["resident", "batched"])
def test_a_party_whose_features_are_nan_is_refused_and_poisons_nobody(engine: str) -> None:
    x = X.copy()
    x[12] = np.nan
    run = carry_out(ct.torch.Model(classifier), Unchecked(x, Y), engine)
    assert [(r.party, r.reason) for r in run.history.rejections()] == [("b", Reason.NOT_FINITE)] * 3
    assert [record.parties for record in run.history] == [3, 3, 3]
    assert np.isfinite(run.model.vector).all()


@pytest.mark.parametrize("engine", ["resident", "batched"])
def test_a_party_with_a_label_the_model_cannot_give_is_refused_by_name(engine: str) -> None:
    y = Y.copy()
    y[21] = 7
    run = carry_out(ct.torch.Model(classifier), Unchecked(X, y), engine)
    refused = run.history.rejections()
    assert [r.party for r in refused] == ["c"] * 3
    assert all("label is 7, outside 0 … 2" in r.detail for r in refused)
    assert len(run.history) == 3


@pytest.mark.parametrize("engine", ["resident", "batched"])
def test_parties_with_one_label_each_train_and_are_judged(engine: str) -> None:
    y = np.repeat([0, 1, 2, 2], 10)
    run = carry_out(ct.torch.Model(classifier), Unchecked(X, y), engine)
    assert not run.history.rejections()
    assert 0 <= run.evaluate().pooled["accuracy"] <= 1


def test_a_metric_that_needs_two_labels_is_pooled_where_no_party_has_both() -> None:
    y = np.repeat(np.array([0, 1, 0, 1], dtype=np.float32), 10)[:, None]
    model = ct.torch.Model(decider, loss="bce_with_logits", metrics=["auroc"])
    judged = carry_out(model, Unchecked(X, y)).evaluate()
    assert 0 <= judged.pooled["auroc"] <= 1
    assert np.isnan([record.metrics["auroc"] for record in judged.parties]).all()


def test_a_loss_that_diverges_names_the_mend() -> None:
    model = ct.torch.Model(deep, loss="mse", metrics=())
    plan = ct.LocalSGD(lr=1e9, epochs=5, batch_size=5)
    with pytest.raises(RunError, match=r"NaN or infinite[\s\S]*lower the learning rate"):
        carry_out(model, Unchecked(X, X.sum(axis=1, keepdims=True)), plan=plan)


def test_a_loss_that_diverges_as_far_as_an_overflow_names_the_mend() -> None:
    points = Points([np.full((3, 3), 1e25, dtype=np.float32)] * 3)
    diverges = pytest.raises(RunError, match=r"NaN or infinite[\s\S]*lower the learning rate")
    with np.errstate(over="ignore"), diverges:
        carry_out(Quadratic(), points)


class Failing(Points):
    """Parties whose data vanish once they have been read `reads` times in all."""

    def __init__(self, reads: int) -> None:
        super().__init__(Points.random(4).arrays)
        object.__setattr__(self, "left", [reads])

    def __getitem__(self, party: str) -> PartyData:
        left: list[int] = self.left  # type: ignore[attr-defined]
        left[0] -= 1
        if left[0] < 0:
            raise OSError("the volume is gone")
        return super().__getitem__(party)


def test_a_run_that_fails_leaves_the_history_of_what_it_has_done(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the volume is gone"):
        carry_out(Quadratic(), Failing(reads=8), folder=tmp_path)
    assert (tmp_path / "history.json").exists()


class Twice:
    """A callback that presses Ctrl-C twice in a given round."""

    def __init__(self, round: int) -> None:
        self.round = round

    def on_start(self, job: ct.Job, note: str) -> None: ...

    def on_round(self, record: Any) -> str | None:
        if record.round == self.round:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return None

    def on_end(self, ending: str) -> None: ...


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("engine", ["resident", "workers"])
def test_a_second_ctrl_c_ends_at_once_and_the_last_checkpoint_is_whole(engine: str, tmp_path: Path) -> None:
    data = Points.random(6)
    whole = carry_out(Quadratic(), data)
    # Whoever runs these tests in the background of a shell has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            carry_out(Quadratic(), data, engine, folder=tmp_path, checkpoint_every=1, callbacks=[Twice(2)])
    finally:
        signal.signal(signal.SIGINT, before)
    assert not multiprocessing.active_children()
    resumed = carry_out(Quadratic(), data, engine, folder=tmp_path, resume=True)
    assert len(resumed.history) == 3
    assert resumed.model.vector.tobytes() == whole.model.vector.tobytes()


def test_a_full_disk_is_told_by_the_command_and_the_run_goes_on_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("slopes.py").write_text(JOB)
    command = ["run", "slopes.py", "--folder", "out", "--checkpoint-every", "2", "--no-progress"]
    real, calls = os.fsync, [0]

    def full(handle: int) -> None:
        calls[0] += 1
        if calls[0] > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        ended = RUNNER.invoke(app, command)
    assert ended.exit_code == 1
    assert "No space left" in ended.output
    assert "free some space" in ended.output
    assert "Traceback" not in ended.output
    assert Path("out/checkpoint.safetensors").exists()
    assert RUNNER.invoke(app, [*command, "--resume"]).exit_code == 0
    assert RUNNER.invoke(app, [*command[:3], "whole", *command[4:]]).exit_code == 0
    assert Path("out/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
