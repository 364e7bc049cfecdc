"""The files in deploy/: units that systemd takes, an image and services that linters take, and commands that exist.

They are not started here: no machine of the tests runs systemd or a container engine.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from comity.cli.app import app
from comity.demo.processes import Processes
from support.commands import parse
from support.live import serve, until

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
INSTALLED = "/opt/comity/bin/comity"
LEAST_EXPOSED = {"comity-server": 15, "comity-node": 30}
"""What `systemd-analyze security` may find at most, in tenths: 0 is nothing, 100 all that a service can do."""

SYSTEMD = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(SYSTEMD is None, reason="systemd-analyze is not installed (Debian: systemd)")


def tool(name: str) -> str:
    """A program of the development environment."""
    return str(Path(sys.executable).with_name(name))


def settings(unit: Path) -> list[tuple[str, str]]:
    lines = (line.partition("=") for line in unit.read_text().splitlines() if re.match(r"[A-Z]\w+=", line))
    return [(name, value) for name, _, value in lines]


def succeeds(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, ""), done.stdout + done.stderr


@pytest.fixture(params=UNITS, ids=lambda unit: str(unit.name))
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit whose program is the one of this environment."""
    unit = tmp_path / request.param.name
    text = request.param.read_text()
    assert f"ExecStart={INSTALLED} " in text
    unit.write_text(text.replace(INSTALLED, tool("comity")))
    return unit


@needs_systemd
def test_systemd_takes_the_units_without_a_warning(installed: Path) -> None:
    succeeds(str(SYSTEMD), "verify", str(installed))


@needs_systemd
def test_a_unit_gives_up_what_its_service_does_not_need(installed: Path) -> None:
    most = LEAST_EXPOSED[installed.stem]
    succeeds(str(SYSTEMD), "security", "--offline=true", "--no-pager", f"--threshold={most}", str(installed))


def test_a_node_may_make_the_namespaces_that_isolate_its_tasks() -> None:
    node = settings(DEPLOY / "systemd" / "comity-node.service")
    names = {name for name, _ in node}
    assert not names & {"RestrictNamespaces", "PrivateUsers", "MemoryDenyWriteExecute"}
    filters = [value.split() for name, value in node if name == "SystemCallFilter"]
    assert filters == [["@system-service", "@mount"]]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
def test_a_unit_writes_where_its_command_works_and_nowhere_else(unit: Path) -> None:
    found = dict(settings(unit))
    assert found["ProtectSystem"] == "strict"
    assert "ReadWritePaths" not in found
    assert found["ExecStart"].split()[-1] == f"/var/lib/{found['StateDirectory']}" == found["WorkingDirectory"]
    assert found["User"] == found["Group"] == unit.stem


def test_hadolint_takes_the_image() -> None:
    succeeds(tool("hadolint"), str(DEPLOY / "Dockerfile"))


def test_the_services_are_what_the_specification_of_compose_says() -> None:
    succeeds(
        tool("check-jsonschema"), "--quiet", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yml")
    )


def test_services_use_what_is_declared() -> None:
    whole: Any = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    for name, service in whole["services"].items():
        granted = {s if isinstance(s, str) else s["source"] for s in service.get("secrets", ())}
        mounted = {s if isinstance(s, str) else s["target"] for s in service.get("secrets", ())}
        volumes = {entry.split(":")[0] for entry in service["volumes"] if not entry.startswith((".", "/"))}
        assert granted <= set(whole["secrets"]), name
        assert volumes <= set(whole["volumes"]), name
        assert set(service["networks"]) <= set(whole["networks"]), name
        assert set(service.get("depends_on", ())) <= set(whole["services"]), name
        assert set(re.findall(r"/run/secrets/([\w-]+)", json.dumps(service))) <= mounted, name
        stage = service.get("build", {}).get("target")
        assert stage is None or f" AS {stage}\n" in (DEPLOY / "Dockerfile").read_text(), name


def test_no_service_of_ours_runs_with_privileges() -> None:
    whole: Any = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    assert re.findall(r"^USER (.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE) == ["10001"]
    for name in ("server", "north", "south"):
        service = whole["services"][name]
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert "no-new-privileges:true" in service["security_opt"]
        assert not service.get("privileged")


def test_what_the_image_copies_is_there_and_let_through() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    lines = re.findall(r"^COPY (?!--from)(.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    copied = {source for line in lines for source in line.split()[:-1]}
    assert copied == let_through
    assert [source for source in copied if not (ROOT / source).exists()] == []


def commands(text: str) -> Iterator[list[str]]:
    """The words after `comity` of every command in a text, as a shell has them or as a JSON list."""
    for line in text.replace("\\\n", " ").splitlines():
        if listed := re.search(r'\["comity", .*\]', line):
            yield json.loads(listed[0])[1:]
        elif typed := re.search(r"(?:^|[\s/])comity ([a-z].*)", line):
            words = shlex.split(typed[1].partition(" > ")[0], comments=True)
            yield [word.rstrip(";") for word in words]


FILES = [*UNITS, DEPLOY / "Dockerfile", DEPLOY / "compose.yml"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_the_commands_in_a_file_exist(file: Path) -> None:
    found = list(commands(file.read_text()))
    assert found
    for words in found:
        parse(get_command(app), words, "comity")


def test_the_health_of_a_real_server_is_found_and_its_absence(tmp_path: Path) -> None:
    def healthy() -> bool:
        command = [sys.executable, str(DEPLOY / "healthy.py"), str(tmp_path / "server")]
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0

    with Processes(tmp_path) as processes:
        serve(tmp_path, processes)
        until(healthy)
    assert not healthy()
