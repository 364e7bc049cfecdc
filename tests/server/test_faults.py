"""What goes wrong at a server, and what it may not cost: a run, a round, or another party's work."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import comity as ct
from comity.core import manifest
from comity.core.layout import Layout
from comity.server import models as module
from comity.server.errors import Conflict, TooMany, Unfit, Unreadable
from comity.server.federation import Federation
from comity.server.rates import Rates
from comity.store.errors import StoreError
from comity.store.rows import Record
from comity.wire.messages import Ask, Refused
from support.deployments import loop_time
from support.parties import RESEARCHER, Clock, enrol, member, opened, parties, play, submission, submit, weights
from support.quadratic import Points, Quadratic
from support.virtual_time import run_virtually

DATA = Points.random(4)
PLAN = ct.LocalSGD(lr=0.1, epochs=1, batch_size=2)


def job_of(**rounds: Any) -> ct.Job:
    return ct.Job(ct.FedAvg(Quadratic(), PLAN), ct.Rounds(**{"count": 2, **rounds}))


def served(folder: Path, **options: Any) -> Federation:
    """A federation in virtual time, with everybody enrolled."""
    federation = opened(folder, loop_time, **options)
    enrol(federation, list(DATA.ids))
    return federation


def kinds(federation: Federation, run: str) -> list[str]:
    return [record.kind for record in federation.journal.records(run, 0)]


class TestAggregation:
    def test_it_waits_for_a_store_that_cannot_be_reached(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        job = job_of()
        expected = ct.run(job, ct.Simulation(DATA)).model.vector

        async def run() -> Any:
            federation = served(tmp_path)
            facts = await submit(federation, job)
            put, append = federation.blobs.put, federation.journal.append
            faults: list[str] = []

            def failing(call: Any, times: int) -> Any:
                """`call`, which fails the first few times."""
                left = iter(range(times))

                def called(*given: Any) -> Any:
                    if next(left, None) is not None:
                        faults.append(call.__name__)
                        raise StoreError("the disk is gone for a moment")
                    return call(*given)

                return called

            driven = parties(federation, job, DATA)
            for _ in range(2):
                for party in driven.values():
                    await party.contribute()
                monkeypatch.setattr(federation.blobs, "put", failing(put, 3))
                monkeypatch.setattr(federation.journal, "append", failing(append, 2))
                await federation.settled()
                monkeypatch.setattr(federation.blobs, "put", put)
                monkeypatch.setattr(federation.journal, "append", append)
            assert faults == (["put"] * 3 + ["append"] * 2) * 2
            assert federation.run(facts.id).state == "completed"
            return weights(federation, facts.id, job)

        np.testing.assert_array_equal(run_virtually(run()), expected)

    def test_an_error_in_a_program_ends_the_run_and_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def divided(*given: Any) -> Any:
            raise ZeroDivisionError("by nobody")

        async def run() -> tuple[str, str]:
            federation = served(tmp_path)
            facts = await submit(federation, job_of())
            monkeypatch.setattr(module, "next_model", divided)
            await play(federation, facts.id, parties(federation, job_of(), DATA))
            live = federation.run(facts.id)
            return live.state, live.detail

        state, detail = run_virtually(run())
        assert state == "failed"
        assert "round 1 cannot be aggregated: ZeroDivisionError: by nobody" in detail


class TestContributions:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"metrics": {}}, "shape"),
            ({"metrics": {"loss": (1.0, 2.0), "more": (1.0,)}}, "shape"),
            ({"metrics": {"loss": (1.0,)}}, "shape"),
            ({"weight": 0.0}, "weight"),
            ({"weight": -1.0}, "weight"),
            ({"weight": 1e308}, "not finite"),
        ],
    )
    def test_an_unfit_one_is_refused_and_the_round_goes_on(
        self, change: dict[str, Any], reason: str, tmp_path: Path
    ) -> None:
        async def run() -> tuple[str, list[tuple[str, str]]]:
            federation = served(tmp_path)
            facts = await submit(federation, job_of(count=1))
            first, *others = parties(federation, job_of(count=1), DATA).values()
            (assignment,) = await first.assignments()
            given = first.compute(assignment).model_copy(update=change)
            verdict = await federation.contribute(first.name, facts.id, assignment.lease, given)
            assert not verdict.accepted
            for party in others:
                await party.contribute()
            await federation.settled()
            live = federation.run(facts.id)
            return live.state, [(party, reason) for party, reason, _ in live.rounds[0].refused]

        first = next(iter(DATA.ids))
        assert run_virtually(run()) == ("completed", [(first, reason)])

    def test_the_same_one_again_gets_the_same_answer_and_another_one_none(self, tmp_path: Path) -> None:
        async def run() -> list[tuple[bool, str]]:
            federation = served(tmp_path)
            facts = await submit(federation, job_of())
            party = parties(federation, job_of(), DATA)[next(iter(DATA.ids))]
            (assignment,) = await party.assignments()
            given = party.compute(assignment)
            other = given.model_copy(update={"vectors": given.vectors.model_copy(update={"digest": "0" * 64})})
            said = [
                await federation.contribute(party.name, facts.id, assignment.lease, one)
                for one in (given, given, other)
            ]
            assert kinds(federation, facts.id) == ["started", "contributed"]
            return [(verdict.accepted, verdict.reason) for verdict in said]

        assert run_virtually(run()) == [(True, ""), (True, ""), (False, "duplicate")]


class TestSubmission:
    def test_repeated_it_is_one_run(self, tmp_path: Path) -> None:
        async def run() -> None:
            federation = served(tmp_path)
            federation.journal.add_member(member("another", "researcher"))
            researcher, another = (federation.journal.member(name) for name in (RESEARCHER, "another"))
            assert researcher is not None
            assert another is not None
            wish = submission(federation, job_of())
            assert await federation.submit(researcher, wish) == await federation.submit(researcher, wish)
            assert len(federation.journal.runs()) == 1
            with pytest.raises(Conflict, match="in use"):
                await federation.submit(another, wish)
            with pytest.raises(Conflict, match="in use"):
                await federation.submit(researcher, wish.model_copy(update={"manifest": job_of(count=3).to_json()}))

        run_virtually(run())

    def test_a_layout_of_more_than_was_sent_is_refused_before_anything_is_made_of_it(self, tmp_path: Path) -> None:
        async def run() -> None:
            federation = served(tmp_path)
            huge = Layout.build([("w", (1 << 34,), "float32", "shared")])
            wish = submission(federation, job_of())
            researcher = federation.journal.member(RESEARCHER)
            assert researcher is not None
            with pytest.raises(Unfit, match="shorter than the layout"):
                await federation.submit(
                    researcher, wish.model_copy(update={"layout": manifest.canonical(manifest.encode(huge))})
                )

        run_virtually(run())

    def test_a_target_on_a_test_set_is_refused(self, tmp_path: Path) -> None:
        async def run() -> None:
            federation = served(tmp_path)
            with pytest.raises(Unfit, match="common test set"):
                await submit(federation, replace(job_of(), stop=ct.EarlyStopping("loss", target=0.1)))

        run_virtually(run())


class TestTime:
    def test_a_wait_between_attempts_is_one_tick_each(self, tmp_path: Path) -> None:
        job = job_of(count=1, pause=5.0, attempts=3)

        async def run() -> list[str]:
            federation = served(tmp_path)
            facts = await submit(federation, job)
            clock = asyncio.get_running_loop().create_task(federation.keep_time())
            while federation.run(facts.id).state == "running":
                for party in parties(federation, job, DATA).values():
                    for assignment in await party.assignments():
                        federation.refuse(party.name, facts.id, assignment.lease, Refused(reason="policy", detail="no"))
                await asyncio.sleep(1.0)
            clock.cancel()
            return kinds(federation, facts.id)

        found = run_virtually(run())
        assert found.count("rejected") == 3 * len(DATA.ids)
        assert found.count("ticked") == 2

    def test_nobody_is_given_up_while_nobody_is_there_and_the_absent_when_somebody_is(self, tmp_path: Path) -> None:
        job = job_of(count=1, quorum=1)

        async def run() -> tuple[list[str], list[str]]:
            federation = served(tmp_path)
            facts = await submit(federation, job)
            clock = asyncio.get_running_loop().create_task(federation.keep_time())
            await asyncio.sleep(3600)
            before = kinds(federation, facts.id)
            party = parties(federation, job, DATA)[next(iter(DATA.ids))]
            await party.contribute()
            await asyncio.sleep(1)
            await federation.settled()
            clock.cancel()
            assert federation.run(facts.id).state == "completed"
            return before, kinds(federation, facts.id)

        before, after = run_virtually(run())
        assert before == ["started"]
        assert after.count("lost") == len(DATA.ids) - 1

    def test_a_party_that_another_replica_hears_is_there(self, tmp_path: Path) -> None:
        job = job_of(count=1)

        async def run() -> list[str]:
            one = served(tmp_path)
            facts = await submit(one, job)
            other = opened(tmp_path, loop_time)
            clock = asyncio.get_running_loop().create_task(other.keep_time())
            for _ in range(20):
                for name in DATA.ids:
                    known = tuple((a.run, a.lease) for a in (await one.work(name, Ask(wait=0))).open)
                    await one.work(name, Ask(open=known, wait=10))
            clock.cancel()
            return kinds(one, facts.id)

        assert run_virtually(run()) == ["started"]


def test_a_flood_is_told_to_wait() -> None:
    clock = Clock()
    rates = Rates(clock, rate=10, burst=20)
    for _ in range(20):
        rates.take("here")
    with pytest.raises(TooMany, match="too many requests"):
        rates.take("here")
    rates.take("elsewhere")
    clock.at += 0.1
    rates.take("here")


class TestStop:
    def test_a_round_that_is_counted_is_seen_through_before_the_answer(self, tmp_path: Path) -> None:
        async def run() -> tuple[str, int, list[str]]:
            federation = served(tmp_path)
            facts = await submit(federation, job_of(count=5))
            for party in parties(federation, job_of(count=5), DATA).values():
                await party.contribute()
            stopped = await federation.stop(facts.id)
            return stopped.state, stopped.rounds, kinds(federation, facts.id)[-2:]

        assert run_virtually(run()) == ("stopped", 1, ["stopped", "aggregated"])


class TestJournal:
    def test_a_run_that_cannot_be_read_costs_no_other_run_anything(self, tmp_path: Path) -> None:
        job = job_of()
        expected = ct.run(job, ct.Simulation(DATA)).model.vector

        async def run() -> Any:
            federation = served(tmp_path)
            bad, good = await submit(federation, job), await submit(federation, job)
            federation.journal.append(bad.id, 1, [Record(bad.id, 2, 0.0, "of another version", {})])
            again = opened(tmp_path, loop_time)
            with pytest.raises(Unreadable, match="of another version"):
                again.run(bad.id)
            await play(again, good.id, parties(again, job, DATA))
            return weights(again, good.id, job)

        np.testing.assert_array_equal(run_virtually(run()), expected)
