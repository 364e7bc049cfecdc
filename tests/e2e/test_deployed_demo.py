"""`comity demo --deployed`: real processes over TLS give the simulation's model, and none of them is left behind."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import comity as ct
from comity.core.errors import RunError
from comity.demo import setting
from comity.demo.processes import Processes
from support.commands import comity, command, environment
from support.live import until

ROUNDS = 5


@pytest.mark.long
def test_the_deployed_demo_reaches_the_model_of_the_simulation(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    ended = comity(
        *("demo", "--deployed", "--rounds", str(ROUNDS), "--folder", "out", "--seed", "3"),
        folder=tmp_path,
        TMPDIR=str(tmp_path / "scratch"),
        COMITY_IDENTITY=str(tmp_path / "me"),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "the simulation's with the same seed, bit for bit" in ended.stdout
    data = ct.data.load("digits", seed=3).split(ct.data.Dirichlet(parties=4, alpha=setting.ALPHA), seed=3)
    job = ct.Job(ct.FedAvg(setting.model(), setting.LOCAL), ct.Rounds(count=ROUNDS), seed=3)
    run = ct.run(job, ct.Simulation(data, engine="resident"))
    arrays = load_file(tmp_path / "out" / "model.safetensors")
    assert all(np.array_equal(arrays[name], array) for name, array in run.model.arrays().items())
    accuracy = run.history[-1].test["accuracy"]
    assert re.search(rf"federated\s+{accuracy:.1%}", ended.stdout)
    assert not (tmp_path / "me").exists()
    assert not list((tmp_path / "scratch").iterdir())
    assert not running(tmp_path / "scratch")


def test_rounds_are_for_the_deployed_demo(tmp_path: Path) -> None:
    refused = comity("demo", "--rounds", "3", folder=tmp_path)
    assert refused.returncode == 2
    assert "--deployed" in refused.stderr


def test_processes_end_together_and_one_that_ends_early_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("fails", "server", "start", str(tmp_path))
        processes.started["fails"].wait(60)
        processes.start("serves", "server", "init", "--help")
        with pytest.raises(RunError, match="there is no server in this folder"):
            processes.check()
    assert [process.returncode is not None for process in processes.started.values()] == [True, True]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_ended_ends_all_its_processes(number: signal.Signals, tmp_path: Path) -> None:
    demo = subprocess.Popen(
        command("demo", "--deployed", "--rounds", "5000"),
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Whoever runs these tests in the background of a shell has them, and what they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until(lambda: len(running(tmp_path)) == 5, 100)
    demo.send_signal(number)
    assert demo.wait(60) == 130
    assert not running(tmp_path)


def running(folder: Path) -> list[str]:
    """The server and the nodes of a demo whose files are in `folder`."""
    listed = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f"{folder}/comity-demo-" in line and "task" not in line]
