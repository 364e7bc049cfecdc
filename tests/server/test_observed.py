"""What is observed of runs: every part in a round ends once, every round begins once and closes or is abandoned."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import comity as ct
from comity.coordination.policies import Policy
from comity.server.federation import Federation
from comity.server.observed import (
    Aggregated,
    Happening,
    LeaseEnded,
    RoundAbandoned,
    RoundBegun,
    RoundClosed,
    RunBegun,
    RunEnded,
)
from comity.wire.messages import Refused
from support.parties import Clock, HandDriven, enrol, opened, parties, play, submit
from support.quadratic import Points, Quadratic

DATA = Points.random(6)
PLAN = ct.LocalSGD(lr=0.1, epochs=1, batch_size=2)
POLICIES: list[Policy] = [
    ct.Rounds(count=3, cohort=4, quorum=2, deadline=10.0, attempts=2),
    ct.Rounds(count=2, cohort=2, quorum=2, deadline=10.0, lease=4.0, attempts=3, pause=5.0),
    ct.Rounds(count=2, cohort=3, over_select=1.5),
    ct.Buffered(count=4, buffer=2, concurrency=3, lease=4.0),
]


def job_of(rounds: Any) -> ct.Job:
    return ct.Job(ct.FedAvg(Quadratic(), PLAN), rounds)


async def begun(folder: Path, clock: Clock, job: ct.Job) -> tuple[Federation, str, list[Happening]]:
    seen: list[Happening] = []
    federation = opened(folder, clock, observe=seen.append, absence=1000.0)
    enrol(federation, list(DATA.ids))
    return federation, (await submit(federation, job)).id, seen


def test_a_run_is_told_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    job = job_of(ct.Rounds(count=2, cohort=4))

    async def played() -> tuple[str, list[Happening]]:
        federation, run, seen = await begun(tmp_path, Clock(), job)
        await play(federation, run, parties(federation, job, DATA))
        return run, seen

    run, seen = asyncio.run(played())
    assert [type(one) for one in seen if not isinstance(one, LeaseEnded)] == [
        RunBegun,
        *[RoundBegun, Aggregated, RoundClosed] * 2,
        RunEnded,
    ]
    assert seen[0] == RunBegun(run, "researcher", 6, 2)
    assert [one for one in seen if isinstance(one, RoundBegun)] == [RoundBegun(run, n, 1, 4) for n in (1, 2)]
    closed = [one for one in seen if isinstance(one, RoundClosed)]
    assert [(one.round, one.counted, one.refused) for one in closed] == [(1, 4, 0), (2, 4, 0)]
    assert all(one.bytes_up > 0 and one.bytes_down > 0 for one in closed)
    assert Counter(one.outcome for one in seen if isinstance(one, LeaseEnded)) == {"accepted": 8}
    assert seen[-1] == RunEnded(run, "completed", 2, "2 rounds")


def test_the_seconds_of_rounds_are_those_between_them(tmp_path: Path) -> None:
    job = job_of(ct.Rounds(count=3, cohort=6))

    async def played() -> list[float]:
        clock = Clock()
        federation, _, seen = await begun(tmp_path, clock, job)
        driven = parties(federation, job, DATA)
        for pause in (3.0, 5.0, 0.5):
            clock.at += pause
            for party in driven.values():
                await party.contribute()
            await federation.settled()
        return [one.seconds for one in seen if isinstance(one, RoundClosed)]

    assert asyncio.run(played()) == pytest.approx([3.0, 5.0, 0.5])


def test_a_refusal_is_told_with_its_reason_and_is_no_new_round(tmp_path: Path) -> None:
    job = job_of(ct.Rounds(count=1, cohort=3, deadline=10.0, attempts=1))

    async def played() -> list[Happening]:
        clock = Clock()
        federation, run, seen = await begun(tmp_path, clock, job)
        name = federation.run(run).coordinator.outstanding[0].party
        federation.refuse(name, run, 0, Refused(reason="policy", detail="not here"))
        clock.at += 11
        federation.pass_time()
        return seen

    seen = asyncio.run(played())
    ended = [one for one in seen if isinstance(one, LeaseEnded)]
    assert ended[0].outcome == "policy"
    assert ended[0].detail == "not here"
    assert sum(isinstance(one, RoundBegun) for one in seen) == 1
    assert isinstance(seen[-1], RunEnded)
    assert seen[-1].state == "failed"


def test_what_is_read_again_is_not_told_again(tmp_path: Path) -> None:
    job = job_of(ct.Rounds(count=2, cohort=4))

    async def played() -> list[Happening]:
        clock = Clock()
        federation, run, _ = await begun(tmp_path, clock, job)
        driven = parties(federation, job, DATA)
        for party in driven.values():
            await party.contribute()
        await federation.settled()
        again: list[Happening] = []
        second = opened(tmp_path, clock, observe=again.append)
        second.refresh(run)
        assert second.run(run).state == "running"
        return again

    assert asyncio.run(played()) == []


STEPS = st.lists(st.sampled_from(["contribute", "refuse", "wait", "wait long"]), max_size=25)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(POLICIES), STEPS, st.booleans())
def test_each_part_ends_once_and_each_attempt_begins_once(policy: Policy, steps: list[str], stop: bool) -> None:
    job = job_of(policy)

    async def played(folder: Path) -> tuple[Federation, str, list[Happening]]:
        clock = Clock()
        federation, run, seen = await begun(folder, clock, job)
        driven = parties(federation, job, DATA)
        for number, step in enumerate(steps):
            await take(step, list(driven.values())[number % 6], federation, clock)
        if stop:
            await federation.stop(run)
        return federation, run, seen

    with tempfile.TemporaryDirectory() as folder:
        federation, run, seen = asyncio.run(played(Path(folder)))
        live = federation.run(run)
        federation.journal.close()
    parts = [(one.party, one.lease) for one in seen if isinstance(one, LeaseEnded)]
    attempts = [(one.round, one.attempt) for one in seen if isinstance(one, RoundBegun)]
    closed = [one.round for one in seen if isinstance(one, RoundClosed)]
    abandoned = [(one.round, one.attempt) for one in seen if isinstance(one, RoundAbandoned)]
    assert len(parts) == len(set(parts))
    assert len(parts) + len(live.coordinator.outstanding) >= sum(
        one.asked for one in seen if isinstance(one, RoundBegun)
    )
    assert attempts == sorted(set(attempts))
    assert closed == [facts.round for facts in live.rounds] == list(range(1, len(closed) + 1))
    assert len(abandoned) == len(set(abandoned))
    assert set(abandoned) <= set(attempts)
    assert {number for number, _ in attempts} >= set(closed)
    assert sum(isinstance(one, RunEnded) for one in seen) == (live.state != "running")


async def take(step: str, party: HandDriven, federation: Federation, clock: Clock) -> None:
    """One step of a schedule: a party acts on all that it is asked for, or time passes."""
    clock.at += {"wait": 1.0, "wait long": 6.0}.get(step, 0.1)
    if step == "contribute":
        await party.contribute()
    elif step == "refuse":
        for assignment in await party.assignments():
            federation.refuse(party.name, assignment.run, assignment.lease, Refused(reason="data", detail="broken"))
    federation.pass_time()
    await federation.settled()
