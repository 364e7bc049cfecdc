"""Who is there: a silent party is given its time, one that was revoked none."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import comity as ct
from comity.server.presence import Presence
from comity.store.journal import Journal
from comity.wire.messages import Invite
from support.deployments import loop_time
from support.journals import a_key
from support.parties import Clock, enrol, member, opened, parties, submit
from support.quadratic import Points, Quadratic
from support.virtual_time import run_virtually

DATA = Points.random(3)
ABSENCE = 100.0


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    opened = Journal.open(f"sqlite:///{tmp_path / 'journal.db'}")
    opened.add_member(member("north"))
    yield opened
    opened.close()


def joins_again(journal: Journal, at: float) -> None:
    journal.invite("00" * 32, Invite(name="north", role="node", valid=60.0), at + 60.0)
    assert journal.enrol("00" * 32, at, a_key("another"), a_key("one more"), "north", 1e6) is not None


class TestAPartyThatIsSilent:
    def test_is_there_for_its_time_and_then_gone(self, journal: Journal) -> None:
        clock = Clock()
        presence = Presence(journal, clock, ABSENCE)
        with presence.asking("north"):
            clock.at += 10 * ABSENCE
            assert not presence.gone(["north"]), "it asks at this moment"
        clock.at += ABSENCE - 1
        assert not presence.gone(["north"])
        clock.at += 1
        assert presence.gone(["north"]) == {"north"}
        assert presence.reason("north") == "not heard of for 100 seconds"

    def test_is_there_if_another_replica_has_heard_of_it(self, journal: Journal) -> None:
        clock = Clock()
        here, there = Presence(journal, clock, ABSENCE), Presence(journal, clock, ABSENCE)
        clock.at += ABSENCE
        with there.asking("north"):
            assert not here.gone(["north"])


class TestAPartyThatIsRevoked:
    def test_is_gone_at_once_and_for_every_later_lease(self, journal: Journal) -> None:
        clock = Clock()
        presence = Presence(journal, clock, ABSENCE)
        with presence.asking("north"):
            journal.revoke("north", clock.at)
            presence.revoke("north")
            assert presence.gone(["north"], since=clock.at + 1) == {"north"}
        assert presence.gone(["north"]) == {"north"}, "the end of a request of before is no sign of it"
        assert presence.reason("north") == "its membership was revoked"

    def test_is_given_its_time_once_at_a_replica_that_has_not_been_told(self, journal: Journal) -> None:
        clock = Clock()
        presence = Presence(journal, clock, ABSENCE)
        journal.revoke("north", clock.at)
        assert not presence.gone(["north"])
        clock.at += ABSENCE
        assert presence.gone(["north"]) == presence.gone(["north"], since=clock.at) == {"north"}

    def test_is_there_again_when_somebody_has_joined_under_its_name(self, journal: Journal) -> None:
        clock = Clock()
        here, there = Presence(journal, clock, ABSENCE), Presence(journal, clock, ABSENCE)
        journal.revoke("north", clock.at)
        for presence in (here, there):
            presence.revoke("north")
            assert presence.gone(["north"])
        joins_again(journal, clock.at)
        with here.asking("north"):
            assert not here.gone(["north"])
            assert not there.gone(["north"]), "the other replica sees the new member"

    def test_costs_the_rounds_that_follow_no_time(self, tmp_path: Path) -> None:
        job = ct.Job(ct.FedAvg(Quadratic(), ct.LocalSGD(lr=0.1, epochs=1, batch_size=2)), ct.Rounds(count=4))

        async def run() -> float:
            federation = opened(tmp_path, loop_time, absence=ABSENCE)
            enrol(federation, list(DATA.ids))
            clock = asyncio.create_task(federation.keep_time())
            facts = await submit(federation, job)
            driven = parties(federation, job, DATA)
            name, _ = driven.popitem()
            federation.journal.revoke(name, loop_time())
            federation.revoked(name)
            started = loop_time()
            while federation.run(facts.id).state == "running":
                for party in driven.values():
                    await party.contribute()
                await federation.settled()
                await asyncio.sleep(1)
            clock.cancel()
            return loop_time() - started

        assert run_virtually(run()) == 4.0
