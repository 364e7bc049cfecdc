"""The command as a whole: help, version, exit codes, and what is imported for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

import comity as ct
from comity.cli.app import app

HEAVY = {"torch", "sklearn", "pandas", "matplotlib", "scipy", "pyarrow", "fastapi", "sqlalchemy", "aiohttp"}
RUNNER = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.mark.parametrize(
    "words", ["--help", "run --help", "explain --help", "demo --help", "submit --help", "--version"]
)
def test_help_imports_no_heavy_library(words: str) -> None:
    code = f"""
import sys
sys.argv = ["comity", *{words.split()!r}]
from comity.cli import main
try:
    main()
finally:
    heavy = {HEAVY} & set(sys.modules)
    assert not heavy, heavy
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_a_node_is_asked_without_libraries_for_numbers() -> None:
    """What `comity node` imports stays in memory for as long as a node is there."""
    code = """
import sys
sys.argv = ["comity", "node", "start", "--help"]
from comity.cli import main
try:
    main()
finally:
    assert "numpy" not in sys.modules
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def every_command() -> list[list[str]]:
    """The words of every command and group, found by walking the tree."""

    def walk(command: Any, words: list[str]) -> Iterator[list[str]]:
        yield words
        if isinstance(command, TyperGroup):
            for name in command.list_commands(None):  # type: ignore[arg-type]  # no context is needed for names
                yield from walk(command.get_command(None, name), [*words, name])  # type: ignore[arg-type]

    return list(walk(get_command(app), []))


def test_every_command_is_there() -> None:
    named = {" ".join(words) for words in every_command()}
    assert named >= {
        *("run", "explain", "demo", "data list", "join", "submit", "model pull"),
        *(f"server {name}" for name in ("init", "start", "invite", "certify", "backup", "restore")),
        *(f"node {name}" for name in ("join", "start", "doctor", "policy show", "policy check", "policy starter")),
        *(f"node data {name}" for name in ("add", "list", "remove", "seal", "unseal")),
        *(f"node requests {name}" for name in ("list", "show", "approve", "deny")),
        *(f"node log {name}" for name in ("show", "verify")),
        *(f"runs {name}" for name in ("list", "show", "watch", "stop", "resume", "export")),
        *(f"nodes {name}" for name in ("list", "revoke", "tag")),
    }


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
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
