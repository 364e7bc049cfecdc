"""`comity run` and `comity explain` on a job file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner, Result

import comity as ct
from comity.cli.app import app
from comity.cli.jobfile import load
from support.commands import JOB

RUNNER = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slopes.py").write_text(JOB)
    return "slopes.py"


def comity(*words: str) -> Result:
    return RUNNER.invoke(app, words)


def test_a_run_ends_with_a_summary_and_files(job: str) -> None:
    ended = comity("run", job)
    assert ended.exit_code == 0, ended.output
    folder = Path("runs") / f"slopes-{load(Path(job)).job.id[:8]}"
    assert str(folder) in ended.output
    assert "completed: 12 rounds" in ended.output
    assert "rmse" in ended.output
    slope = load_file(folder / "model.safetensors")["slope"]
    assert slope == pytest.approx([1.0, -2.0, 0.5], abs=0.15)
    assert len(json.loads((folder / "history.json").read_text())) == 12


def test_set_and_options_change_the_run(job: str) -> None:
    assert comity("run", job, "--set", "rounds.count=3", "--folder", "short", "--no-progress").exit_code == 0
    assert len(json.loads(Path("short/history.json").read_text())) == 3
    asked = comity("run", job, "--engine", "workers", "--workers", "2", "--folder", "two")
    assert "resident, in 2 worker processes" in asked.output
    assert comity("run", job, "--folder", "one").exit_code == 0
    assert Path("one/model.safetensors").read_bytes() == Path("two/model.safetensors").read_bytes()


def test_evaluate_shows_the_spread_over_the_parties(job: str) -> None:
    ended = comity("run", job, "--evaluate")
    assert ended.exit_code == 0, ended.output
    row = next(line for line in ended.output.splitlines() if line.strip().startswith("rmse"))
    mean, worst_tenth, worst, best = map(float, row.split()[1:])
    assert best < mean < worst_tenth <= worst
    file = load(Path(job))
    spread = ct.run(file.job, file.federation).evaluate().spread("rmse", higher_is_better=False)
    assert mean == pytest.approx(spread.mean, abs=1e-4)


def test_a_folder_with_a_run_is_not_overwritten(job: str) -> None:
    assert comity("run", job).exit_code == 0
    again = comity("run", job)
    assert again.exit_code == 2
    assert "holds a run of the same job" in again.output
    assert "comity run slopes.py --resume" in again.output
    assert comity("run", job, "--resume").exit_code == 0
    folder = f"runs/slopes-{load(Path(job)).job.id[:8]}"
    other = comity("run", job, "--set", "seed=5", "--folder", folder)
    assert other.exit_code == 2
    assert "holds a run of another job" in other.output


def test_resuming_with_another_job_is_refused(job: str) -> None:
    assert comity("run", job, "--folder", "f").exit_code == 0
    other = comity("run", job, "--set", "seed=5", "--folder", "f", "--resume")
    assert other.exit_code == 1
    assert "belongs to job" in other.output
    assert "--set values the run was started with" in other.output


def test_a_run_that_fails_ends_with_1_and_says_why(job: str) -> None:
    Path(job).write_text(JOB.replace("return weights\n", 'return {"slope": weights["slope"] * np.nan}\n', 1))
    failed = comity("run", job)
    assert failed.exit_code == 1
    assert "not finite" in failed.output
    assert "Traceback" not in failed.output


def test_a_job_that_does_not_fit_the_data_ends_with_2(job: str) -> None:
    refused = comity("run", job, "--set", "rounds.cohort=9")
    assert refused.exit_code == 2
    assert "a cohort of 9 from a population of 8" in refused.output
    assert "give at most 8" in refused.output


def test_a_run_takes_an_engine_of_those_there_are(job: str) -> None:
    refused = comity("run", job, "--engine", "fast")
    assert refused.exit_code == 2
    assert "workers" in refused.output


def test_explain_shows_what_leaves_and_trains_nothing(job: str) -> None:
    shown = comity("explain", job)
    assert shown.exit_code == 0
    for words in ("the change that local training made", "the server, party by party", load(Path(job)).job.id):
        assert words in shown.output
    assert not Path("runs").exists()


def test_explain_as_json_carries_the_manifest(job: str) -> None:
    facts = json.loads(comity("explain", job, "--json", "--set", "seed=4").output)
    made = load(Path(job)).job
    module = {"start": 0, "fit": 0, "predict": 0, "loss": 0}
    objects = [getattr(made.program.model, name) for name in module]
    again = ct.Job.from_json(json.dumps(facts["manifest"]), objects)
    assert again.seed == 4
    assert again.id == facts["id"] != made.id
    assert {line["value"] for line in facts["leaves"]} == {"weights", "weight", "metric loss"}
