"""`ct.Deployment` against real processes: a run belongs to its folder, and is begun once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sklearn.linear_model import SGDClassifier

import comity as ct
from comity.core.errors import RunError
from support.live import two_nodes

POLICY = """
[[allow]]
program = ["FedAvg", "Evaluate"]
datasets = ["digits"]
"""


def a_job(rounds: int) -> ct.Job:
    model = ct.sklearn.Estimator(SGDClassifier(loss="log_loss"), features=64, classes=10, metrics=["accuracy"])
    return ct.Job(ct.FedAvg(model, ct.LocalSGD(lr=0.01, epochs=1, batch_size=1)), ct.Rounds(count=rounds))


@pytest.mark.long
def test_a_folder_takes_up_its_own_run_again_and_no_other_job(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    folder = tmp_path / "run"
    with two_nodes(tmp_path, tmp_path / "policy.toml") as live:
        there = ct.Deployment(dataset="digits", identity=live.operator)
        run = ct.run(a_job(3), there, folder=folder)
        assert (run.ending, len(run.history), run.party_memory) == ("completed", 3, {})
        with pytest.raises(RunError, match="in this folder already"):
            ct.run(a_job(3), there, folder=folder)
        with pytest.raises(RunError, match="the run is of job"):
            ct.run(a_job(4), there, folder=folder, resume=True)
        again = ct.run(a_job(3), there, folder=folder, resume=True)
        assert again.model.vector.tobytes() == run.model.vector.tobytes()
        assert again.history.to_json() == run.history.to_json()
        assert len(json.loads(live.asks("runs", "list", "--json").stdout)) == 1
        judged = run.evaluate()
        assert judged.pooled["accuracy"] > 0.5
        assert {record.party for record in judged.parties} == {"north", "south"}
