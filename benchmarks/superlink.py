"""Flower on loopback as its users would have it: a SuperLink and SuperNodes that are processes of their own, no TLS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import measure

from comity.demo.processes import free_port

APP = Path(__file__).resolve().parent / "peers" / "flower_app_deployed"
_LOOPBACK = "127.0.0.1"
_PATIENCE = 5.0
_CONFIG = """\
[superlink]
default = "here"

[superlink.here]
address = "{address}"
insecure = true
"""


@dataclass(eq=False)
class SuperLink:
    """A SuperLink that listens on `port`, and the SuperNodes, in `folder`; `binaries` is where Flower is installed."""

    folder: Path
    binaries: Path
    port: int
    link: subprocess.Popen[bytes]
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def notes(self) -> Path:
        """Where the app notes when what happened."""
        return self.folder / "notes"

    def add_nodes(self, count: int, port: int) -> None:
        """SuperNodes that find the SuperLink at `port`, where a tap may listen."""
        for number in range(len(self.nodes), len(self.nodes) + count):
            address = ("--superlink", f"{_LOOPBACK}:{port}", "--port", str(free_port()))
            self.nodes.append(_started(self, f"node{number}", "flower-supernode", "--insecure", *address))

    def run(self, rounds: int, parameters: int) -> None:
        """Start a run on all nodes."""
        config = f'rounds={rounds} nodes={len(self.nodes)} parameters={parameters} notes="{self.notes}"'
        self.others.append(_started(self, "run", "flwr", "run", str(APP), "here", "--run-config", config))

    def ends(self) -> list[float]:
        """When the run began, and when each of its rounds ended, in seconds since 1970."""
        with suppress(FileNotFoundError):
            return [float(end) for end in json.loads((self.notes / "rounds.json").read_text())]
        return []

    def calls(self) -> list[dict[str, float]]:
        """Every call of a client: its round, and when it was called and had answered."""
        return [json.loads(file.read_text()) for file in self.notes.glob("client-*.json")]


@contextmanager
def superlink(folder: Path, binaries: Path) -> Iterator[SuperLink]:
    """A SuperLink, started; all that it and the nodes have started ends with the block."""
    for place in ("home", "notes"):
        (folder / place).mkdir(parents=True)
    port = free_port()
    (folder / "home" / "config.toml").write_text(_CONFIG.format(address=f"{_LOOPBACK}:{port}"))
    # What the app needs is installed: Flower would otherwise make an environment for it at its start.
    words = ("flower-superlink", "--insecure", "--port", str(port), "--disable-runtime-dependency-installation")
    link = _process(folder, binaries, "superlink", words)
    here = SuperLink(folder, binaries, port, link)
    try:
        yield here
    finally:
        _end([*here.others, *here.nodes, link])


def _started(here: SuperLink, name: str, *words: str) -> subprocess.Popen[bytes]:
    return _process(here.folder, here.binaries, name, words)


def _process(folder: Path, binaries: Path, name: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
    own = {"FLWR_HOME": str(folder / "home"), "FLWR_TELEMETRY_ENABLED": "0"}
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [str(binaries / words[0]), *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | own | {"PATH": f"{binaries}:{os.environ['PATH']}"},
            start_new_session=True,
        )


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End these and all below them, by their ids."""
    pids = [pid for process in processes for pid in measure.descendants(process.pid)]
    _signal(pids, signal.SIGTERM)
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and any(process.poll() is None for process in processes):
        time.sleep(0.1)
    _signal([pid for pid in pids if (measure.PROC / str(pid)).exists()], signal.SIGKILL)
    for process in processes:
        process.wait()


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
