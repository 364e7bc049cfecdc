"""The demo: what it claims is what it measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

import comity as ct
from comity.demo import baselines, setting
from comity.demo.show import show

PLAN = ct.LocalSGD(lr=0.2, epochs=1, batch_size=8)


@pytest.fixture(scope="module")
def data() -> ct.data.Parties:
    return setting.parties(7)


def test_pooled_data_are_the_training_examples_of_all_parties(data: ct.data.Parties) -> None:
    [everyone] = baselines.pooled(data)
    together = baselines.pooled(data)[everyone]
    apart = np.concatenate([data[party].train.rows for party in data])
    assert sorted(together.train.rows) == sorted(apart)  # type: ignore[arg-type]
    assert len(together.heldout) == 0


def test_everyone_does_the_same_work_in_a_round() -> None:
    assert setting.LOCAL.epochs * setting.COHORT == setting.PASS.epochs * setting.PARTIES  # type: ignore[operator]
    assert setting.LOCAL.lr == setting.PASS.lr
    assert setting.LOCAL.batch_size == setting.PASS.batch_size


def test_a_party_alone_trains_as_a_federation_of_itself(data: ct.data.Parties) -> None:
    """Three rounds of `Alone` are three rounds of FedAvg with this party only."""
    party = list(data)[3]
    rounds = ct.Rounds(count=3)
    mine = One(data, party)
    alone = ct.run(ct.Job(baselines.Alone(setting.model(), PLAN, 5), rounds, seed=5), ct.Simulation(mine))
    averaged = ct.run(ct.Job(ct.FedAvg(setting.model(), PLAN), rounds, seed=5), ct.Simulation(mine))
    assert alone.party_memory[party]["own"] == pytest.approx(averaged.model.vector, abs=1e-5)


def test_parties_that_train_alone_send_nothing(data: ct.data.Parties) -> None:
    job = baselines.alone(7)
    assert not job.exchange.broadcast
    assert not job.exchange.contribution


@pytest.mark.long
def test_the_demo_shows_and_leaves_what_it_measured(tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=100)
    results = show(tmp_path, 7, console)
    federated, centralised, alone = results.accuracy
    assert federated >= 0.95
    assert alone < federated <= centralised + 0.02
    told = console.file.getvalue()  # type: ignore[attr-defined]
    for value in (federated, centralised, alone):
        assert f"{value:.1%}" in told
    history = json.loads((tmp_path / "history.json").read_text())
    assert history[-1]["test"]["accuracy"] == federated
    arrays = load_file(tmp_path / "model.safetensors")
    assert accuracy_by_hand(arrays) == pytest.approx(federated, abs=1e-9)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "job.json").read_text()) == results.federated.job.manifest()


def accuracy_by_hand(arrays: dict[str, Any]) -> float:
    """Of the network's two layers in NumPy, on the common test set."""
    test = setting.parties(7).test
    assert test is not None
    hidden = np.maximum(test.features() @ arrays["0.weight"].T + arrays["0.bias"], 0)
    outputs = hidden @ arrays["2.weight"].T + arrays["2.bias"]
    return float((outputs.argmax(axis=1) == test.labels()).mean())


class One:
    """A federation of one of the parties."""

    test = None

    def __init__(self, data: ct.data.Parties, party: str) -> None:
        self.ids = (party,)
        self.data = data

    def __len__(self) -> int:
        return 1

    def __getitem__(self, party: str) -> ct.data.PartyData:
        return self.data[party]


def test_what_is_missing_is_said_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ct.ComityError, match=r"matplotlib.*\n.*comity\[demo\]"):
        show(tmp_path, 7, Console(file=StringIO()))


def test_an_interrupted_run_ends_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(job: ct.Job, federation: ct.Simulation, callbacks: Sequence[Any]) -> SimpleNamespace:
        return SimpleNamespace(ending="interrupted")

    monkeypatch.setattr("comity.demo.show.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        show(tmp_path, 7, Console(file=StringIO()))
    assert not list(tmp_path.iterdir())
