"""What nobody needs any more is let go after a while, and nothing that somebody needs."""

import asyncio
import os
from pathlib import Path

import pytest

import comity as ct
from comity.server.errors import Unreadable
from comity.server.federation import Federation
from comity.store.rows import Record
from support.parties import RESEARCHER, Clock, enrol, opened, parties, play, submit
from support.quadratic import Points, Quadratic

DATA = Points.random(3)
JOB = ct.Job(ct.FedAvg(Quadratic(), ct.LocalSGD(lr=0.1, epochs=1, batch_size=2)), ct.Rounds(count=2))
WEEK = 7 * 86400.0


def owners(federation: Federation) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for part in federation.blobs.each():
        found.setdefault(part.owner, set()).add(part.digest)
    return found


def written(folder: Path, at: float) -> None:
    """As if all parts had been written then."""
    for file in (folder / "blobs").glob("*/*"):
        os.utime(file, (at, at))


def test_old_parts_go_and_models_and_what_runs_wait_for_stays(tmp_path: Path) -> None:
    clock = Clock(at=10 * WEEK)

    async def run() -> None:
        federation = opened(tmp_path, clock)
        enrol(federation, list(DATA.ids))
        over = await submit(federation, JOB)
        await play(federation, over.id, parties(federation, JOB, DATA))
        going_on = await submit(federation, JOB)
        first, *_ = parties(federation, JOB, DATA).values()
        await first.contribute()
        lost = federation.blobs.put(first.name, [b"an upload that came to nothing"])
        written(tmp_path, clock.at - 2 * WEEK)
        new = federation.blobs.put(first.name, [b"an upload that is under way"])
        written_now = tmp_path / "blobs" / first.name / new.parts[0]
        os.utime(written_now, (clock.at - 1, clock.at - 1))
        before = owners(federation)
        assert lost.parts[0] in before[first.name]
        await federation.tidy()
        after = owners(federation)
        assert RESEARCHER in before
        assert RESEARCHER not in after
        for name in (f"run-{over.id}", f"run-{going_on.id}"):
            assert after[name] == before[name]
        assert before[first.name] - after[first.name] == set(lost.parts)
        await play(federation, going_on.id, parties(federation, JOB, DATA))
        assert federation.run(going_on.id).state == "completed"

    asyncio.run(run())


def test_nothing_goes_while_nobody_can_tell_what_a_run_needs(tmp_path: Path) -> None:
    clock = Clock(at=10 * WEEK)

    async def run() -> None:
        federation = opened(tmp_path, clock)
        enrol(federation, list(DATA.ids))
        facts = await submit(federation, JOB)
        federation.journal.append(facts.id, 1, [Record(facts.id, 2, 0.0, "of another version", {})])
        written(tmp_path, 0.0)
        again = opened(tmp_path, clock)
        before = owners(again)
        with pytest.raises(Unreadable):
            await again.tidy()
        assert owners(again) == before

    asyncio.run(run())
