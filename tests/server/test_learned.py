"""What a chain has learned outlives the server, is shown to nobody, and noise is published once."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import comity as ct
from comity.core import states
from comity.privacy.banded import BandedSquareRoot
from comity.server import aggregate, models
from comity.server.aggregate import run_owner
from comity.server.errors import NotFound
from comity.server.routes.runs import _blob
from comity.server.vectors import StoredVectors
from comity.transforms import correlated
from comity.transforms.adaptive import AdaptiveClip
from comity.transforms.correlated import CorrelatedNoise
from comity.transforms.noise import GaussianNoise
from support.parties import RESEARCHER, Clock, HandDriven, enrol, member, opened, parties, play, submit, weights
from support.quadratic import Points, Quadratic

DATA = Points.random(6)
PLAN = ct.LocalSGD(lr=0.1, epochs=2, batch_size=2)
UNIFORM = ct.Mean(weights="uniform")
BANDED = ct.Clip(0.5) >> UNIFORM >> CorrelatedNoise(1.0, BandedSquareRoot(4, separation=2))
CHAINS = [AdaptiveClip(start=0.02) >> UNIFORM, BANDED]


def job_of(chain: Any) -> ct.Job:
    return ct.Job(ct.FedAvg(Quadratic(), PLAN), ct.Rounds(count=4, cohort=3, separation=2), aggregator=chain)


@pytest.fixture
def known_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise that is the same in every round, so that what is held of it decides what comes out."""
    monkeypatch.setattr(correlated, "gaussian", lambda size, std, dtype: np.linspace(-std, std, size).astype(dtype))


@pytest.mark.usefixtures("known_noise")
@pytest.mark.parametrize("chain", CHAINS, ids=["adaptive", "banded"])
def test_a_replica_that_starts_anew_at_any_record_goes_on_with_what_was_learned(chain: Any, tmp_path: Path) -> None:
    """Drop the process after every single step, and read everything back from the journal."""
    job = job_of(chain)
    expected = ct.run(job, ct.Simulation(DATA)).model.vector

    async def run() -> Any:
        clock = Clock()
        federation = opened(tmp_path, clock)
        enrol(federation, list(DATA.ids))
        facts = await submit(federation, job)
        driven: dict[str, HandDriven] = parties(federation, job, DATA)
        while federation.run(facts.id).state == "running":
            for party in driven.values():
                federation.journal.close()
                party.federation = federation = opened(tmp_path, clock)
                await party.contribute()
                if clock.at % 2:
                    await federation.settled()
                clock.at += 1
        return weights(federation, facts.id, job)

    np.testing.assert_array_equal(asyncio.run(run()), expected)


def test_noise_that_is_held_is_shown_to_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        federation = opened(tmp_path, Clock())
        enrol(federation, list(DATA.ids))
        facts = await submit(federation, job_of(BANDED))
        await play(federation, facts.id, parties(federation, job_of(BANDED), DATA))
        live = federation.run(facts.id)
        assert live.model.chain is not None
        held = StoredVectors.open(federation.blobs, run_owner(facts.id), live.model.chain).arrays()
        assert any(array.any() for name, array in held.items() if "held" in name)
        for name, role in ((RESEARCHER, "researcher"), ("admin", "admin"), ("auditor", "auditor"), ("p0", "node")):
            assert _is_shown(live, live.model.broadcast["weights"].digest, member(name, role))
            assert not _is_shown(live, live.model.chain.digest, member(name, role))
        state = StoredVectors.open(federation.blobs, run_owner(facts.id), live.model.state).arrays()
        assert set(state) == set(states.flatten(job_of(BANDED).program.init(job_of(BANDED).root_seed)))

    asyncio.run(run())


def test_of_two_noisy_models_of_one_round_the_second_is_dropped(tmp_path: Path) -> None:
    """Two replicas aggregate the same round: what the slower one made is neither recorded nor kept."""
    job = job_of(ct.Clip(0.5) >> UNIFORM >> GaussianNoise(1.0))
    made: list[str] = []
    original = aggregate.next_model

    async def run() -> None:
        slower = opened(tmp_path, Clock())
        enrol(slower, list(DATA.ids))
        facts = await submit(slower, job)

        def overtaken(blobs: Any, live: Any, commit: Any) -> Any:
            """While the slower one is at work, another replica publishes the round."""
            first = original(blobs, live, commit)
            if not made:
                faster = opened(tmp_path, Clock())
                faster._runs.decide(facts.id, lambda run: faster._models._concluded(run, commit, *first))
                made.append(first[0].state.digest)
                first = original(blobs, live, commit)
            made.append(first[0].state.digest)
            return first

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(models, "next_model", overtaken)
            for party in list(parties(slower, job, DATA).values()):
                if len(made) < 2:
                    await party.contribute()
                    await slower.settled()
        live = slower.run(facts.id)
        published, dropped = made
        assert [rounds.round for rounds in live.rounds] == [1]
        assert live.model.state.digest == published != dropped
        kept = {part.digest for part in slower.blobs.each() if part.owner == run_owner(facts.id)}
        assert published in kept
        assert dropped not in kept

    asyncio.run(run())


def _is_shown(live: Any, digest: str, who: Any) -> bool:
    try:
        _blob(live, digest, who)
    except NotFound:
        return False
    return True
