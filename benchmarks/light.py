"""Light parties: members with keys, connections and sessions of their own in one process, without agent or policy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from deployed import DATASET, NAME, Loopback

from comity.identity.keys import AgreementKey, SigningKey
from comity.store.journal import Journal
from comity.wire.client import Session
from comity.wire.http import HttpTransport
from comity.wire.messages import Ask, Assignment, Contributed, Member, Verdict, Work

_YEAR = 365 * 86400.0
_WAIT = 30.0
_PATIENCE = 600.0
"""Seconds: with large models the server may be busy for long."""


@dataclass(eq=False)
class LightParty:
    """One party: it asks for work as an agent does, and answers what its caller gives it."""

    name: str
    session: Session

    async def assignment(self, run: str) -> Assignment:
        """The party's part in `run`, waited for."""
        while True:
            for assignment in (await self._ask()).open:
                if assignment.run == run:
                    return assignment

    async def wait_for_work(self) -> float:
        """Ask until there is something to do; when that was known, by `time.perf_counter`."""
        while not (await self._ask()).open:
            pass
        return time.perf_counter()

    async def stay(self, assignment: Assignment) -> None:
        """Go on asking while there is work to do: whoever is silent loses it."""
        while True:
            await self._ask(assignment)

    async def contribute(self, run: str, lease: int, given: Contributed) -> Verdict:
        path = f"/v1/runs/{run}/leases/{lease}/contribution"
        verdict = await self.session.call("POST", path, given, Verdict, timeout=_PATIENCE)
        assert verdict is not None
        return verdict

    async def _ask(self, *known: Assignment) -> Work:
        ask = Ask(open=tuple((one.run, one.lease) for one in known), datasets=(DATASET,), wait=_WAIT)
        work = await self.session.call("POST", "/v1/work", ask, Work, timeout=_WAIT + _PATIENCE)
        assert work is not None
        return work


def enrolled(here: Loopback, names: Sequence[str]) -> dict[str, SigningKey]:
    """Make members, straight into the journal of a server that is not running, and return their keys."""
    keys = {name: SigningKey.new() for name in names}
    with closing(Journal.open(f"sqlite:///{here.journal}")) as journal:
        for name, key in keys.items():
            member = Member(
                name=name,
                role="node",
                signing_key=key.public,
                agreement_key=AgreementKey.new().public,
                enrolled=time.time(),
                expires=time.time() + _YEAR,
            )
            journal.add_member(member)
            journal.offer(name, (DATASET,))
    return keys


def parties(here: Loopback, keys: Mapping[str, SigningKey]) -> list[LightParty]:
    """Parties with these keys; `leave` closes them."""
    authority = here.identity.authority
    return [
        LightParty(name, Session(HttpTransport(here.address, authority), key, NAME, time.time))
        for name, key in keys.items()
    ]


async def leave(parties: Sequence[LightParty]) -> None:
    await asyncio.gather(*(party.session.close() for party in parties))
