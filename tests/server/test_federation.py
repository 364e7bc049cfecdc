"""The federation as a service: the same model as the simulation, and nothing lost between one process and the next."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import comity as ct
from comity.programs.base import AnyProgram
from comity.wire.messages import Ask
from support.parties import Clock, HandDriven, enrol, opened, parties, play, submit, weights
from support.quadratic import Points, Quadratic

DATA = Points.random(6)
PLAN = ct.LocalSGD(lr=0.1, epochs=2, batch_size=2)
PROGRAMS = [
    ct.FedAvg(Quadratic(), PLAN),
    ct.FedAvg(Quadratic(), PLAN, ct.optim.Adam(lr=0.1)),
    ct.Scaffold(Quadratic(), PLAN),
    ct.FedNova(Quadratic(), PLAN),
    ct.FedDyn(Quadratic(), PLAN, alpha=0.1),
]


def job_of(program: AnyProgram = PROGRAMS[0], **fields: Any) -> ct.Job:
    return ct.Job(program, ct.Rounds(count=3, cohort=4), **fields)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: type(program).__name__)
def test_a_run_gives_the_model_of_the_simulation_bit_for_bit(program: AnyProgram, tmp_path: Path) -> None:
    job = job_of(program)
    expected = ct.run(job, ct.Simulation(DATA)).model.vector

    async def run() -> Any:
        federation = opened(tmp_path, Clock())
        enrol(federation, list(DATA.ids))
        facts = await submit(federation, job)
        await play(federation, facts.id, parties(federation, job, DATA))
        live = federation.run(facts.id)
        assert live.state == "completed"
        assert [rounds.round for rounds in live.rounds] == [1, 2, 3]
        return weights(federation, facts.id, job)

    np.testing.assert_array_equal(asyncio.run(run()), expected)


def test_a_replica_that_starts_anew_at_any_record_goes_on_to_the_same_model(tmp_path: Path) -> None:
    """Drop the process after every single step, and read everything back from the journal."""
    job = job_of(PROGRAMS[2])
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


def test_a_party_is_answered_at_once_unless_it_knows_all_or_has_done_it(tmp_path: Path) -> None:
    async def run() -> list[bool]:
        federation = opened(tmp_path, Clock())
        enrol(federation, list(DATA.ids))
        job = ct.Job(PROGRAMS[0], ct.Rounds(count=3))
        facts = await submit(federation, job)
        party = parties(federation, job, DATA)["p0"]

        async def at_once(*leases: int) -> bool:
            ask = asyncio.create_task(
                federation.work("p0", Ask(open=tuple((facts.id, lease) for lease in leases), wait=60))
            )
            await asyncio.sleep(0)
            answered = ask.done()
            federation.bell.ring_all()
            await ask
            return answered

        [mine] = await party.assignments()
        found = [await at_once(), await at_once(mine.lease), await at_once(mine.lease, 999)]
        await party.contribute()
        return [*found, await at_once(), await at_once(mine.lease), await at_once(999)]

    unknown, known, ended, nothing, done, other = asyncio.run(run())
    assert (unknown, known, ended) == (True, False, True)
    assert (nothing, done, other) == (False, False, True)


def test_what_rounds_have_used_up_is_let_go(tmp_path: Path) -> None:
    """What lies in the store at the end is the last model, and what others still need."""
    job = job_of(PROGRAMS[1])

    async def run() -> tuple[set[str], set[str]]:
        federation = opened(tmp_path, Clock())
        enrol(federation, list(DATA.ids))
        facts, other = await submit(federation, job), await submit(federation, job)
        driven = parties(federation, job, DATA)
        while federation.run(facts.id).state == "running":
            for party in driven.values():
                for assignment in await party.assignments():
                    if assignment.run == facts.id:
                        given = party.compute(assignment)
                        await federation.contribute(party.name, facts.id, assignment.lease, given)
            await federation.settled()
        model = federation.run(facts.id).model
        blobs = [model.state, *model.broadcast.values()]
        found = {part.digest for part in federation.blobs.each() if part.owner == f"run-{facts.id}"}
        owners = {part.owner for part in federation.blobs.each()}
        assert owners == {f"run-{facts.id}", f"run-{other.id}", "researcher"}
        return found, {digest for blob in blobs for digest in blob.parts}

    found, expected = asyncio.run(run())
    assert found == expected
