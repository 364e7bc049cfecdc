"""What a chain has learned is in the checkpoint: a run that is cut goes on with the same norm and the noise it held."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import comity as ct
from comity.privacy.banded import BandedSquareRoot
from comity.privacy.tree import BinaryTree
from comity.runs.checkpoint import read
from comity.transforms import correlated
from comity.transforms.adaptive import AdaptiveClip
from comity.transforms.correlated import CorrelatedNoise
from comity.transforms.noise import GaussianNoise
from support.quadratic import Points, Quadratic

DATA = Points.random(20)
PLAN = ct.LocalSGD(lr=0.05, epochs=2, batch_size=2)
ROUNDS = ct.Rounds(count=9, cohort=6, separation=3)
UNIFORM = ct.Mean(weights="uniform")
CHAINS = [
    AdaptiveClip(start=0.05) >> UNIFORM,
    ct.Clip(0.5) >> UNIFORM >> CorrelatedNoise(1.0, BandedSquareRoot(9, separation=3)),
    ct.Clip(0.5) >> UNIFORM >> CorrelatedNoise(1.0, BinaryTree(9, separation=3)),
]


class Cut(Exception):
    """The process ends here."""


class CutAfter:
    """A callback at which the process dies once a round is reached."""

    def __init__(self, round: int) -> None:
        self.round = round

    def on_start(self, job: ct.Job, note: str) -> None: ...

    def on_round(self, record: Any) -> str | None:
        if record.round == self.round:
            raise Cut
        return None

    def on_end(self, ending: str) -> None: ...


@pytest.fixture
def known_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise that is the same in every round, so that what is held of it decides what comes out."""
    monkeypatch.setattr(correlated, "gaussian", lambda size, std, dtype: np.linspace(-std, std, size).astype(dtype))


@pytest.mark.usefixtures("known_noise")
@pytest.mark.parametrize("chain", CHAINS, ids=["adaptive", "banded", "tree"])
@pytest.mark.parametrize("cut", [2, 5, 9])
def test_a_cut_run_resumes_to_the_same_bytes(chain: Any, cut: int, tmp_path: Path) -> None:
    job, simulation = ct.Job(ct.FedAvg(Quadratic(), PLAN), ROUNDS, aggregator=chain, seed=4), ct.Simulation(DATA)
    whole = ct.run(job, simulation, folder=tmp_path / "whole")
    with pytest.raises(Cut):
        ct.run(job, simulation, folder=tmp_path / "cut", checkpoint_every=1, callbacks=[CutAfter(cut)])
    resumed = ct.run(job, simulation, folder=tmp_path / "cut", resume=True, checkpoint_every=4)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]
    assert [r.train for r in resumed.history] == [r.train for r in whole.history]


def test_what_the_chain_learns_is_in_the_checkpoint_and_matters(tmp_path: Path) -> None:
    job = ct.Job(ct.FedAvg(Quadratic(), PLAN), ROUNDS, aggregator=CHAINS[0])
    run = ct.run(job, ct.Simulation(DATA), folder=tmp_path)
    checkpoint = read(tmp_path / "checkpoint.safetensors", job.id)
    assert checkpoint.arrays["chain.0.norm"].item() > 0.05
    fixed = ct.run(ct.Job(job.program, ROUNDS, aggregator=ct.Clip(0.05) >> UNIFORM), ct.Simulation(DATA))
    assert not np.array_equal(run.model.vector, fixed.model.vector)


def test_a_chain_without_states_adds_nothing_to_a_checkpoint(tmp_path: Path) -> None:
    job = ct.Job(ct.FedAvg(Quadratic(), PLAN), ROUNDS, aggregator=ct.Clip(0.05) >> UNIFORM)
    ct.run(job, ct.Simulation(DATA), folder=tmp_path)
    assert not [name for name in read(tmp_path / "checkpoint.safetensors", job.id).arrays if name.startswith("chain")]


def test_noise_is_no_part_of_the_seed() -> None:
    job = ct.Job(ct.FedAvg(Quadratic(), PLAN), ROUNDS, aggregator=ct.Clip(0.5) >> UNIFORM >> GaussianNoise(1.0))
    first, second = (ct.run(job, ct.Simulation(DATA)).model.vector for _ in range(2))
    assert not np.array_equal(first, second)


def test_parties_are_told_the_norm_on_every_engine() -> None:
    torch = pytest.importorskip("torch")
    data = ct.data.from_arrays(
        np.random.default_rng(0).normal(size=(160, 4)).astype(np.float32), np.arange(160) % 3, test=None
    ).split(ct.data.IID(parties=8), seed=1)
    model = ct.torch.Model(torch.nn.Linear, arguments={"in_features": 4, "out_features": 3})
    program = ct.FedAvg(model, ct.LocalSGD(lr=0.5, batch_size=5))
    job = ct.Job(program, ct.Rounds(count=6), aggregator=AdaptiveClip(start=0.01) >> UNIFORM)
    resident, workers, batched = (
        ct.run(job, ct.Simulation(data, engine=engine)).model.vector for engine in ("resident", "workers", "batched")
    )
    assert np.array_equal(resident, workers)
    assert np.allclose(resident, batched, atol=1e-6)


def test_noise_is_added_where_the_engine_computes() -> None:
    torch = pytest.importorskip("torch")
    data = ct.data.from_arrays(np.ones((16, 4), np.float32), np.arange(16) % 3, test=None).split(ct.data.IID(parties=4))
    model = ct.torch.Model(torch.nn.Linear, arguments={"in_features": 4, "out_features": 3})
    chain = AdaptiveClip(start=1e-3, count_noise=1.0) >> UNIFORM >> GaussianNoise(1e6)
    job = ct.Job(ct.FedAvg(model, ct.LocalSGD(lr=0.5)), ct.Rounds(count=1), aggregator=chain)
    run = ct.run(job, ct.Simulation(data, engine="batched"))
    # 15 entries of width 250: all within 1 of nothing would be one time in 10³⁶.
    assert np.abs(run.model.vector).max() > 1
