"""Behind nginx, which ends TLS, everything is as without it: identity is the signature and not the connection."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.neural_network import MLPClassifier

import comity as ct
from comity.demo.processes import Processes, free_port
from comity.node.home import NodeHome
from comity.runs.history import RoundRecord
from comity.runs.model import TrainedModel
from comity.wire.messages import PART_BYTES
from support import nginx, postgresql
from support.live import Live, comity, digits, until
from support.nodes import logged
from support.submitted import carry_out

POLICY = """
[[allow]]
program = "FedAvg"
datasets = ["digits"]
"""
NAMES = ("party-0", "party-1")


@dataclass(frozen=True)
class Answer:
    """A line of nginx's log."""

    method: str
    status: int
    size: int

    @classmethod
    def of(cls, line: str) -> Answer:
        _, request, told, *_ = line.split('"')
        status, size = told.split()
        return cls(request.split()[0], int(status), int(size))


@dataclass(frozen=True, eq=False)
class Proxied:
    """Servers without TLS on loopback, nginx before them, and two nodes that have joined through it."""

    live: Live

    def access(self) -> list[str]:
        """nginx's log."""
        return (self.live.folder / "nginx" / "access.log").read_text().splitlines()


@dataclass(eq=False)
class Killer:
    """A callback that kills one of the servers after some rounds."""

    live: Live
    killed: list[str] = field(default_factory=list)

    def on_start(self, job: ct.Job, note: str) -> None: ...

    def on_round(self, record: RoundRecord) -> str | None:
        if record.round == 4:
            self.live.kill("server-0")
            self.killed.append("server-0")
        return None

    def on_end(self, ending: str) -> None: ...


def proxied(stack: ExitStack, folder: Path, ports: tuple[int, ...], *words: str) -> Proxied:
    """With `words` of `comity server init`."""
    binary = nginx.program()
    if binary is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    (folder / "policy.toml").write_text(POLICY)
    files, port = digits(folder, rows=20), free_port()
    live = Live(folder, stack.enter_context(Processes(folder)))
    server, address = folder / "server", f"https://127.0.0.1:{port}"
    made = comity(
        "server", "init", server, "--name", "study", "--address", address, *words, COMITY_IDENTITY=str(folder / "me")
    )
    assert made.exit_code == 0, made.output
    for number, at in enumerate(ports):
        started = ("server", "start", str(server), "--no-tls", "--port", str(at), "--rate", "100000")
        live.processes.start(f"server-{number}", *started)
    stack.enter_context(nginx.nginx(binary, folder / "nginx", nginx.configured(port, server, ports), port))
    until(lambda: live.asks("nodes", "list").exit_code == 0)
    for name, file in zip(NAMES, files, strict=True):
        live.party(name, file, folder / "policy.toml")
    until(lambda: live.asks("nodes", "list").stdout.count("digits") == 2)
    return Proxied(live)


def a_job(width: int, rounds: int) -> ct.Job:
    model = ct.sklearn.Estimator(MLPClassifier((width,)), features=64, classes=10)
    return ct.Job(ct.FedAvg(model, ct.LocalSGD(lr=0.01, epochs=1, batch_size=4)), ct.Rounds(count=rounds))


def simulated(live: Live, job: ct.Job) -> TrainedModel:
    data = ct.data.from_folder(live.folder / "digits-by-party" / "parties", target="target")
    return ct.run(job, ct.Simulation(data, engine="resident")).model


def test_the_manual_shows_the_configuration_that_is_tested_here() -> None:
    manual = nginx.CONFIGURATION.parents[1] / "docs" / "operating.md"
    assert nginx.CONFIGURATION.read_text() in manual.read_text()


@pytest.mark.long
def test_from_joining_to_the_model_with_parts_of_full_size(tmp_path: Path) -> None:
    job = a_job(width=60_000, rounds=2)
    assert 4 * job.program.model.layout.size > PART_BYTES, "the model has two parts"
    with ExitStack() as stack:
        there = proxied(stack, tmp_path, (free_port(),))
        before = len(there.access())
        rounds, model = carry_out(there.live.operator, job, tmp_path / "mine")
        pulled = there.live.asks("model", "pull", rounds.run.id, "--out", tmp_path / "model.safetensors")
        assert pulled.exit_code == 0, pulled.output
        expected = simulated(there.live, job)
        answers = [Answer.of(line) for line in there.access()[before:]]
        waited = [logged(NodeHome(tmp_path / name), "waiting") for name in NAMES]
    assert (rounds.run.state, len(rounds.rounds)) == ("completed", 2)
    assert model.tobytes() == expected.vector.tobytes()
    arrays = load_file(tmp_path / "model.safetensors")
    assert all(np.array_equal(arrays[name], array) for name, array in expected.arrays().items())
    assert {answer.status for answer in answers} <= {200, 201, 204}
    assert max(answer.size for answer in answers) == PART_BYTES
    assert sum(answer.method == "PUT" for answer in answers) == 2 + 2 * 2 * 2, "the first state, and what parties sent"
    assert waited == [[], []], "no node has lost its server"


@pytest.mark.long
def test_of_two_servers_behind_it_one_may_be_killed(tmp_path: Path) -> None:
    found = postgresql.programs()
    if found is None:
        pytest.skip("PostgreSQL's programs are not installed (Debian: postgresql)")
    job = a_job(width=10, rounds=12)
    with ExitStack() as stack:
        journal = postgresql.create(stack.enter_context(postgresql.postgresql(*found)), "comity")
        there = proxied(stack, tmp_path, (free_port(), free_port()), "--journal", journal)
        killer = Killer(there.live)
        run = ct.run(job, ct.Deployment(dataset="digits", identity=there.live.operator), callbacks=[killer])
        expected = simulated(there.live, job)
    assert killer.killed == ["server-0"]
    assert run.model.vector.tobytes() == expected.vector.tobytes()
