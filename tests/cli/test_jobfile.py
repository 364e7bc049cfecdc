"""Job files: what is taken from them, and how a faulty one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

import comity as ct
from comity.cli.jobfile import federation_of, load
from comity.cli.prepare import prepare
from comity.core.errors import DataError
from support.commands import JOB


def written(folder: Path, text: str, name: str = "a_job_file.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def fault(folder: Path, text: str) -> ct.ComityError:
    with pytest.raises(ct.ComityError) as caught:
        load(written(folder, text))
    return caught.value


def test_a_job_file_gives_a_job_and_a_federation(tmp_path: Path) -> None:
    file = load(written(tmp_path, JOB))
    assert file.job.rounds.count == 12
    assert len(federation_of(file).data) == 8


def test_the_id_depends_on_what_the_file_says_and_not_on_its_name(tmp_path: Path) -> None:
    one, two = written(tmp_path, JOB, "one_job.py"), written(tmp_path, JOB, "2 jobs.py")
    assert load(one).job.id == load(two).job.id
    other = written(tmp_path, JOB.replace("plan.lr *", "2 * plan.lr *"), "another_job.py")
    assert load(other).job.id != load(one).job.id


def test_a_job_file_may_import_its_neighbours(tmp_path: Path) -> None:
    written(tmp_path, JOB, "the_neighbour.py")
    assert load(written(tmp_path, "from the_neighbour import job")).federation is None


def test_the_options_and_assignments_reach_job_and_federation(tmp_path: Path) -> None:
    path = written(tmp_path, JOB)
    made = prepare(path, ["program.local.lr=0.5", "job.seed=3", "federation.workers=2"], {"engine": "workers"})
    assert (made.job.program.local.lr, made.job.seed) == (0.5, 3)  # type: ignore[attr-defined]
    assert (made.federation.workers, made.federation.engine) == (2, "workers")


def test_an_unknown_part_of_the_federation_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ct.ConfigError) as caught:
        prepare(written(tmp_path, JOB), ["federation.worker=2"])
    assert "data, devices, engine, workers, device, precision" in caught.value.mend


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ct.ConfigError, match="no such file"):
        load(tmp_path / "none.py")


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    error = fault(tmp_path, "import comity as ct\njob = ct.Job(\n")
    assert error.where == f"{tmp_path / 'a_job_file.py'}, line 2"
    assert "Python cannot read it" in error.what


def test_a_missing_module_names_the_line_and_the_command(tmp_path: Path) -> None:
    error = fault(tmp_path, "\nimport no_such_module\n")
    assert "line 2: import no_such_module" in error.where
    assert error.mend == "install it: pip install no_such_module"


def test_an_exception_names_the_line_of_the_file(tmp_path: Path) -> None:
    error = fault(tmp_path, "a = 1\ndef half():\n    return a / 0\nhalf()\n")
    assert error.what == "ZeroDivisionError: division by zero"
    assert "line 3: return a / 0" in error.where


def test_an_error_of_comity_keeps_its_kind_and_gains_the_line(tmp_path: Path) -> None:
    error = fault(tmp_path, "import comity as ct\nplan = ct.LocalSGD(lr=-1)\n")
    assert isinstance(error, ct.ConfigError)
    assert "line 2: plan = ct.LocalSGD(lr=-1); LocalSGD.lr" in error.where
    error = fault(tmp_path, "import comity as ct\nct.data.load('digit')\n")
    assert isinstance(error, DataError)
    assert "digits" in error.mend


def test_a_file_without_a_job(tmp_path: Path) -> None:
    assert fault(tmp_path, "jobs = 3").what == "it defines no `job`"
    assert "of type int" in fault(tmp_path, "job = 3").what


@pytest.mark.parametrize("line", ["", "federation = 3", "import comity as ct\nfederation = ct.Simulation"])
def test_a_file_without_a_federation_can_be_explained_but_not_run(tmp_path: Path, line: str) -> None:
    text = JOB.replace('federation = ct.Simulation(data, engine="resident")', line)
    file = load(written(tmp_path, text))
    assert file.job.explain().sent_bytes > 0
    with pytest.raises(ct.ConfigError, match="federation"):
        federation_of(file)
