"""Every example runs, as a script and, where it defines a job, under `comity explain`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from comity.demo.processes import free_port
from comity.node.confinement import can_isolate
from support.commands import comity, environment

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
EXPECTED = {
    "hospitals_lung_cancer": "standard deviation",
    "own_algorithm": "FedExP",
    "own_data": "held-out visits",
    "own_function": "round 40",
    "personal_heads": "a head of its own",
    "quickstart": "on the common test set",
    "scaffold_vs_fedavg": "SCAFFOLD",
    "stragglers": "buffer of 10",
}


def test_every_example_is_listed_here() -> None:
    assert {path.stem for path in EXAMPLES} == set(EXPECTED)


@pytest.mark.long
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_says_something(path: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert EXPECTED[path.stem] in ended.stdout


@pytest.mark.long
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_with_a_job_can_be_explained(path: Path, tmp_path: Path) -> None:
    if "\njob = " not in path.read_text():
        pytest.skip("it defines no job")
    explained = comity("explain", path, folder=tmp_path)
    assert explained.returncode == 0, explained.stderr


@pytest.mark.long
def test_the_quickstart_runs_from_the_command_line(tmp_path: Path) -> None:
    quickstart = next(path for path in EXAMPLES if path.stem == "quickstart")
    ended = comity("run", quickstart, "--set", "rounds.count=2", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert list(tmp_path.glob("runs/quickstart-*/model.safetensors"))


@pytest.mark.long
@pytest.mark.skipif(not can_isolate(), reason="this system allows no user namespaces, so the nodes refuse the job")
def test_four_hospitals_train_one_model_by_one_script(tmp_path: Path) -> None:
    script = Path(__file__).parent.parent / "examples" / "hospitals" / "run.sh"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["sh", str(script), "out"],
        cwd=tmp_path,
        env=environment(PATH=path, PORT=str(free_port())),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("allowed: the owner's policy allows it") == 4
    assert "completed: 20 rounds" in ended.stdout
    assert "that of a simulation with the same four files, bit for bit" in ended.stdout
    table = [line.split() for line in ended.stdout.splitlines()]
    [federated, pooled] = next(map(float, words[2:]) for words in table if words[:1] == ["all"] and len(words) == 4)
    assert federated > 0.8
    assert abs(federated - pooled) < 0.02
