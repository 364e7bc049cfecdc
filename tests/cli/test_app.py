"""The command as a whole: help, version, exit codes, and what is imported for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import comity as ct
from comity.cli.app import app

RUNNER = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.mark.parametrize("words", ["--help", "run --help", "explain --help", "demo --help", "--version"])
def test_help_imports_no_heavy_library(words: str) -> None:
    code = f"""
import sys
sys.argv = ["comity", *{words.split()!r}]
from comity.cli import main
try:
    main()
finally:
    heavy = {{"torch", "sklearn", "pandas", "matplotlib", "scipy", "pyarrow"}} & set(sys.modules)
    assert not heavy, heavy
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "words", [[], ["run"], ["explain"], ["demo"], ["data"], ["data", "describe"], ["data", "split"]]
)
def test_every_help_teaches_by_an_example(words: list[str]) -> None:
    shown = RUNNER.invoke(app, [*words, "--help"])
    assert shown.exit_code == 0
    told = " ".join(line for line in shown.output.splitlines() if "Usage" not in line)
    assert " ".join(["comity", *words, ""]) in told


def test_the_version() -> None:
    assert RUNNER.invoke(app, ["--version"]).output.strip() == f"comity {ct.__version__}"


@pytest.mark.parametrize(
    "words",
    [["run", "none.py"], ["explain", "none.py"], ["data", "describe", "none"], ["run"], ["no-such-command"]],
)
def test_what_cannot_be_done_ends_with_2(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RUNNER.invoke(app, words).exit_code == 2


@pytest.mark.parametrize("how", ["--debug", "COMITY_DEBUG"])
def test_debug_shows_the_traceback(how: str, tmp_path: Path) -> None:
    (tmp_path / "bad_job.py").write_text("1 / 0\n")
    words = ["run", str(tmp_path / "bad_job.py")]
    plain = RUNNER.invoke(app, words)
    assert "ZeroDivisionError" in plain.output
    assert "Traceback" not in plain.output
    loud = RUNNER.invoke(app, [*words, how]) if how == "--debug" else RUNNER.invoke(app, words, env={how: "1"})
    assert "Traceback" in loud.output
    assert loud.exit_code == plain.exit_code == 2
