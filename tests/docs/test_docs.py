"""The manual tells the truth: its programs run, its commands exist, and its links inside the repository lead somewhere.

- Every ```python block of a page runs, in order and in one namespace, in a process and a folder of the page's own.
  A block with `title="job.py"` is also left in that folder under its name.
- Every ```console block shows a session: the commands after `$` run, in order, in the same folder after the blocks.
- The `comity` commands in ```bash blocks are parsed, so that each subcommand and option exists; they do not run.
- The page about deployments finds the federation that it tells how to make: two nodes with the policy that it shows.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from comity.cli.app import app
from support.commands import parse
from support.live import two_nodes

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMITY = Path(sys.executable).with_name("comity")
QUICK = ("concepts.md",)
"""Pages whose programs take less than 3 seconds; the others are long tests."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and title, the number of its first line in the page (from 1), and its lines."""

    language: str
    title: str
    start: int
    lines: tuple[str, ...]


def blocks(page: Path) -> Iterator[Block]:
    opened: tuple[str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        fence = re.fullmatch(r'```(\w*)(?:.*title="([^"]+)")?.*', line)
        if fence is None:
            lines.append(line)
        elif opened is None:
            opened, lines = (fence[1], fence[2] or "", number + 1), []
        else:
            yield Block(*opened, tuple(lines))
            opened = None
    assert opened is None, f"{page.name}: the block that starts in line {opened[2]} is not closed"


def program(page: Path) -> str:
    """All Python blocks of a page as one program, whose line numbers are those of the page."""
    lines: list[str] = []
    for block in blocks(page):
        if block.language == "python":
            lines += [""] * (block.start - 1 - len(lines)) + list(block.lines)
    return "\n".join(lines) + "\n"


def commands(page: Path, language: str) -> list[str]:
    """The command lines of a page's blocks in `language`, without prompts, comments and output."""
    found = []
    for block in blocks(page):
        if block.language != language:
            continue
        for line in block.lines:
            if language == "bash" and line.startswith("comity "):
                found.append(line)
            elif language == "console" and line.startswith("$ "):
                found.append(line.removeprefix("$ "))
    return found


def ids(page: Path) -> str:
    return page.name


def timed(page: Path) -> Any:
    return pytest.param(page, marks=() if page.name in QUICK else pytest.mark.long)


@contextmanager
def surroundings(page: Path, folder: Path) -> Iterator[Mapping[str, str]]:
    """What a page's programs find beside its own files: the environment, and for deployments a federation."""
    if page.name != "deployment.md":
        yield {}
        return
    with two_nodes(folder, folder / "policy.toml") as live:
        yield {"COMITY_IDENTITY": str(live.operator)}


WITH_PROGRAMS = [page for page in PAGES if program(page).strip() or commands(page, "console")]


@pytest.mark.parametrize("page", [timed(page) for page in WITH_PROGRAMS], ids=ids)
def test_the_programs_of_a_page_run(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.title:
            file = tmp_path / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(block.lines) + "\n")
    script = tmp_path / f"page_{page.stem.replace('-', '_')}.py"
    script.write_text(program(page))
    with surroundings(page, tmp_path) as variables:
        _succeeds([sys.executable, str(script)], tmp_path, variables)
        for line in commands(page, "console"):
            name, *arguments = shlex.split(line)
            assert name == "comity", f"{page.name}: a session runs {name}"
            _succeeds([str(COMITY), *arguments], tmp_path, variables)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    for line in commands(page, "bash") + commands(page, "console"):
        name, *arguments = shlex.split(line.partition(" > ")[0], comments=True)
        assert name == "comity"
        parse(get_command(app), arguments, name)


@pytest.mark.parametrize(
    "line", ["comity trian job.py", "comity run job.py --speed 3", "comity explain", "comity data lists"]
)
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    with pytest.raises(Exception, match=r"trian|--speed|Missing parameter|lists"):
        parse(get_command(app), shlex.split(line)[1:], "comity")


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    inside = [target for target in targets if target and not target.startswith(("http:", "https:", "mailto:"))]
    assert [target for target in inside if not (page.parent / target).exists()] == []


def _succeeds(command: list[str], folder: Path, variables: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
