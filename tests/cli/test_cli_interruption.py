"""A run that is interrupted or killed goes on, and ends with the bytes of one that was left alone."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.commands import JOB, comity, command, environment

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

ENGINES = [
    pytest.param((), id="one process"),
    pytest.param(("--engine", "workers", "--workers", "2"), id="workers", marks=pytest.mark.long),
]
RUN = ("run", "job.py", "--folder", "out", "--checkpoint-every", "1", "--no-progress")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.py").write_text(JOB)
    return tmp_path


def disturbed(folder: Path, number: signal.Signals, *engine: str) -> subprocess.CompletedProcess[str]:
    """Start a slow run, wait for its first checkpoint, and send the signal to it and its workers."""
    process = subprocess.Popen(
        command(*RUN, *engine),
        cwd=folder,
        env=environment(REST="0.05"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not (folder / "out" / "checkpoint.safetensors").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    if number is signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def undisturbed_model(folder: Path) -> bytes:
    assert comity("run", "job.py", "--folder", "alone", folder=folder).returncode == 0
    return (folder / "alone" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_ctrl_c_ends_after_the_round_and_says_how_to_go_on(folder: Path, engine: tuple[str, ...]) -> None:
    ended = disturbed(folder, signal.SIGINT, *engine)
    assert ended.returncode == 130, ended.stderr
    assert "interrupted after round" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (folder / "out" / "model.safetensors").exists()
    said = next(line for line in ended.stderr.splitlines() if "go on with it:" in line)
    words = shlex.split(said.partition("go on with it: ")[2])
    assert words[0] == "comity"
    resumed = comity(*words[1:], folder=folder)
    assert resumed.returncode == 0, resumed.stderr
    assert (folder / "out" / "model.safetensors").read_bytes() == undisturbed_model(folder)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_run_resumes_from_its_checkpoint(folder: Path, engine: tuple[str, ...]) -> None:
    assert disturbed(folder, signal.SIGKILL, *engine).returncode == -signal.SIGKILL
    resumed = comity(*RUN, *engine, "--resume", folder=folder)
    assert resumed.returncode == 0, resumed.stderr
    assert (folder / "out" / "model.safetensors").read_bytes() == undisturbed_model(folder)
