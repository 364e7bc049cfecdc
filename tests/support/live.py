"""A real server on loopback and real nodes, as processes that the tests end by their ids."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from typer.testing import CliRunner, Result

from comity.cli.app import app
from comity.demo.processes import Processes, free_port
from comity.identity.folder import IdentityFolder
from comity.node.home import NodeHome

RUNNER = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def comity(*words: str | Path, **variables: str) -> Result:
    """The command in this process."""
    return RUNNER.invoke(app, [str(word) for word in words], env=variables)


def until(ready: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


@dataclass(frozen=True, eq=False)
class Live:
    """A server in `folder`, the operator's identity, and the processes."""

    folder: Path
    processes: Processes

    @property
    def operator(self) -> Path:
        return self.folder / "server" / "operator"

    @property
    def port(self) -> int:
        """Where the server listens."""
        found = urlsplit(IdentityFolder(self.operator).read().address).port
        assert found is not None
        return found

    def kill(self, name: str) -> None:
        """As `kill -9`."""
        process = self.processes.started[name]
        process.kill()
        process.wait()

    def asks(self, *words: str | Path) -> Result:
        """The command in the operator's name."""
        return comity(*words, COMITY_IDENTITY=str(self.operator))

    def token(self, name: str, *words: str) -> str:
        invited = self.asks("server", "invite", name, *words)
        assert invited.exit_code == 0, invited.output
        return invited.stdout.strip()

    def node(self, name: str, *words: str) -> Path:
        """A node that has joined; its folder."""
        home = self.folder / name
        ended = comity("node", "join", self.token(name), "--home", home, *words)
        assert ended.exit_code == 0, ended.output
        return home

    def party(self, name: str, file: Path, policy: Path, address: str | None = None) -> None:
        """A node at work, with this file as its data set `digits`, which finds the server at `address`."""
        home = self.node(name, "--package", "sklearn")
        added = comity("node", "data", "add", "digits", file, "--target", "target", "--home", home)
        assert added.exit_code == 0, added.output
        # Public digits: nothing is at stake where this system cannot isolate tasks.
        settings = (home / "node.toml").read_text()
        settings = settings.replace('isolation = "required"', 'isolation = "optional"')
        if address is not None:
            settings = settings.replace(NodeHome(home).config.address, address)
        (home / "node.toml").write_text(settings)
        (home / "policy.toml").write_bytes(policy.read_bytes())
        self.start_node(name)

    def start_node(self, name: str) -> None:
        self.processes.start(name, "node", "start", "--home", str(self.folder / name))


def serve(folder: Path, processes: Processes) -> Live:
    """Make a server in `folder/server` and start it."""
    port = free_port()
    words = ("server", "init", folder / "server", "--name", "study", "--host", "127.0.0.1")
    address = f"https://127.0.0.1:{port}"
    made = comity(*words, "--address", address, COMITY_IDENTITY=str(folder / "operator"))
    assert made.exit_code == 0, made.output
    processes.start("server", "server", "start", str(folder / "server"))
    return Live(folder, processes)


def digits(folder: Path, rows: int | None = None) -> list[Path]:
    """Two files, each with half of the digits, or with the first `rows` of that half."""
    halves = folder / "digits-by-party"
    split = comity("data", "split", "digits", "--partition", "iid(parties=2)", "--out", halves)
    assert split.exit_code == 0, split.output
    files = [halves / "parties" / f"party-{number}.csv" for number in range(2)]
    for file in [] if rows is None else files:
        file.write_text("".join(file.read_text().splitlines(keepends=True)[: rows + 1]))
    return files


@contextmanager
def two_nodes(folder: Path, policy: Path, rows: int | None = None) -> Iterator[Live]:
    """A federation at work: nodes `north` and `south`, each with such a file of digits and this policy."""
    files = digits(folder, rows)
    with Processes(folder) as processes:
        live = serve(folder, processes)
        until(lambda: live.asks("nodes", "list").exit_code == 0)
        for name, file in zip(("north", "south"), files, strict=True):
            live.party(name, file, policy)
        until(lambda: live.asks("nodes", "list").stdout.count("digits") == 2)
        yield live
