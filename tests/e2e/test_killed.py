"""A server and a node that are killed by `kill -9` in the middle of a run cost time, and not one bit of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sklearn.linear_model import SGDClassifier

import comity as ct
from comity.runs.history import RoundRecord
from support.live import Live, two_nodes

POLICY = """
[[allow]]
program = "FedAvg"
datasets = ["digits"]
"""
ROUNDS = 40


@dataclass(eq=False)
class Killer:
    """A callback that kills a process after some rounds, wherever it is by then, and starts it again."""

    live: Live
    killed: list[str] = field(default_factory=list)

    def on_start(self, job: ct.Job, note: str) -> None: ...

    def on_round(self, record: RoundRecord) -> str | None:
        if record.round % 9 == 4:
            self.kill("server")
            self.live.processes.start("server", "server", "start", str(self.live.folder / "server"))
        if record.round % 9 == 8:
            self.kill("north")
            self.live.start_node("north")
        return None

    def on_end(self, ending: str) -> None: ...

    def kill(self, name: str) -> None:
        process = self.live.processes.started[name]
        process.kill()
        process.wait()
        self.killed.append(name)


@pytest.mark.long
def test_a_run_whose_processes_are_killed_gives_the_model_of_one_that_was_left_alone(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    model = ct.sklearn.Estimator(SGDClassifier(loss="log_loss"), features=64, classes=10)
    job = ct.Job(ct.FedAvg(model, ct.LocalSGD(lr=0.01, epochs=1, batch_size=1)), ct.Rounds(count=ROUNDS))
    with two_nodes(tmp_path, tmp_path / "policy.toml") as live:
        there = ct.Deployment(dataset="digits", identity=live.operator)
        left_alone = ct.run(job, there)
        killer = Killer(live)
        killed = ct.run(job, there, callbacks=[killer])
        assert killer.killed.count("server") >= 4
        assert killer.killed.count("north") >= 4
        assert killed.ending == "completed"
        assert len(killed.history) == ROUNDS
        assert killed.model.vector.tobytes() == left_alone.model.vector.tobytes()
