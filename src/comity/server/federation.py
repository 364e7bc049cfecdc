"""The federation as a service: runs begin, contributions are counted, models are made, and all of it is in the journal.

Nothing is answered before its record is committed. Times are the server's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from comity.coordination.effects import Assign, Effect, Release
from comity.core.errors import CheckpointError, Reason
from comity.server.aggregate import Refusal, first_model, inspect
from comity.server.bell import Bell
from comity.server.description import described, job_digest
from comity.server.errors import Conflict, NotFound, Unfit, Unreadable
from comity.server.leftovers import let_go, look
from comity.server.liverun import LiveRun
from comity.server.liveruns import Draft, LiveRuns
from comity.server.meanwhile import meanwhile
from comity.server.models import Models
from comity.server.observed import Observe, Standing, StoreFailed
from comity.server.presence import Presence
from comity.server.telling import tell
from comity.server.vectors import VectorError
from comity.store.blobs import Blobs
from comity.store.errors import StoreError
from comity.store.journal import Journal
from comity.store.rows import Record, RunRow
from comity.wire.digests import source_digest
from comity.wire.messages import Ask, Contributed, Member, Refused, Rounds, RunFacts, Submit, Verdict, Work

_DAY = 86400.0
_KEPT = 7 * _DAY
"""So long a part may wait for the message that speaks of it."""

_PAUSE = 60.0
_LONGEST_WAIT = 3600.0
_SEEN_THROUGH = 30.0
_log = logging.getLogger("comity.server")

_REFUSALS = {
    "policy": Reason.POLICY,
    "error": Reason.ERROR,
    "no_data": Reason.NO_DATA,
    "data": Reason.DATA,
}


@dataclass(eq=False)
class Federation:
    """One replica's view of all runs.

    `absence` is the number of seconds after which a party that has not been heard of loses its leases, as long as
    another one is there; `now` and `token` are the clock and the source of secrets.
    """

    journal: Journal
    blobs: Blobs
    now: Callable[[], float]
    token: Callable[[int], bytes]
    absence: float = 120.0
    bell: Bell = field(default_factory=Bell)
    observe: Observe = tell

    def __post_init__(self) -> None:
        self._presence = Presence(self.journal, self.now, self.absence)
        self._runs = LiveRuns(self.journal, self.now, self._changed, self.observe)
        self._models = Models(self._runs, self.blobs, self.now, self.observe)

    def start(self) -> None:
        """Take up every run that is not over; what was under way when the last process ended goes on."""
        self._runs.load()

    # Runs

    async def submit(self, member: Member, wish: Submit) -> RunFacts:
        """Begin a run; the same wish again is the same run.

        Raises `ManifestError`, `ConfigError`, `Unfit` or `Conflict` for a job that cannot be carried out here.
        """
        if (before := self.journal.run(wish.run)) is not None:
            return self._begun_before(before, member, wish)
        job = described(wish.manifest, wish.layout)
        parties = self._participants(wish)
        job.rounds.check(len(parties))
        if job.stop is not None and not job.stop.metric.startswith("train_"):
            raise Unfit(
                f"{job.stop.metric} is measured on a common test set, and a deployment has none",
                where="job.stop.metric",
                mend="stop by train_loss, or by a training metric",
            )
        if missing := self.blobs.missing(member.name, list(wish.start.parts)):
            raise Conflict(f"{len(missing)} parts of the first state are not here", mend="upload them, then submit")
        try:
            model = await meanwhile(wish.start.size, first_model, self.blobs, wish.run, job, member.name, wish.start)
        except (VectorError, CheckpointError, MemoryError) as error:
            raise Unfit(f"the first state does not fit the job: {error}", where="submit.start") from error
        if (before := self.journal.run(wish.run)) is not None:
            return self._begun_before(before, member, wish)
        at = self.now()
        row = RunRow(
            id=wish.run,
            job=job_digest(wish.manifest),
            submitter=member.name,
            state="running",
            detail="",
            created=at,
            dataset=wish.dataset,
            manifest=wish.manifest,
            layout=wish.layout,
            source=None if wish.source is None else wish.source.model_dump_json(),
            source_digest=None if wish.source is None else source_digest(wish.source.files),
            parties=parties,
        )
        return self._runs.begin(row, [Record(wish.run, 1, at, "started", model.to_json())]).facts()

    def _begun_before(self, row: RunRow, member: Member, wish: Submit) -> RunFacts:
        if row.submitter != member.name or row.manifest != wish.manifest:
            raise Conflict("this id is in use", where="submit.run", mend="draw another one")
        return self.run(row.id).facts()

    def _participants(self, wish: Submit) -> tuple[str, ...]:
        """The names, sorted: the order of a population is part of its result."""
        nodes = [m for m in self.journal.members() if m.role == "node" and not m.revoked and m.expires > self.now()]
        known = {member.name: member for member in nodes}
        if unknown := sorted(set(wish.nodes) - set(known)):
            raise Unfit(f"no node is called {unknown[0]}", where="submit.nodes", mend="see `comity nodes list`")
        chosen = [known[name] for name in set(wish.nodes)] if wish.nodes else nodes
        holding = [m.name for m in chosen if wish.dataset in m.datasets and set(wish.tags) <= set(m.tags)]
        if wish.nodes and len(holding) < len(chosen):
            lacking = sorted({member.name for member in chosen} - set(holding))
            raise Unfit(f"{lacking[0]} does not offer {wish.dataset!r} with these tags", where="submit.nodes")
        if not holding:
            raise Unfit(
                f"no node offers the data set {wish.dataset!r} with these tags",
                where="submit.dataset",
                mend="add it at the nodes: comity node data add",
            )
        return tuple(sorted(holding))

    def run(self, run: str) -> LiveRun:
        """The run as it stands. Raises `NotFound`."""
        return self._runs.get(run)

    async def watch(self, run: str, after: int, wait: float) -> Rounds:
        """The rounds after the first `after`; waits for one where there is none yet and the run goes on."""
        live = self.run(run)
        if len(live.rounds) <= after and live.state == "running":
            await self.bell.wait(("run", run), wait)
            live = self.run(run)
        return Rounds(run=live.facts(), rounds=tuple(live.rounds[after:]))

    async def stop(self, run: str) -> RunFacts:
        """End a run; a round whose contributions are counted already is seen through, and waited for."""
        self._runs.decide(run, lambda live: [("stopped", {})] if live.state == "running" else [])
        while self.run(run).state == "running" and await self.bell.wait(("run", run), _SEEN_THROUGH):
            pass
        return self.run(run).facts()

    # Parties

    async def work(self, party: str, ask: Ask) -> Work:
        """What `party` has to do: at once where that is not what it knows, otherwise when it changes."""
        if self._presence.gone([party]):
            self.bell.ring("time")
        with self._presence.asking(party):
            work = self._work(party)
            if not self._is_news(party, set(ask.open), work):
                await self.bell.wait(("party", party), ask.wait)
                work = self._work(party)
            return work

    def _is_news(self, party: str, known: set[tuple[str, int]], work: Work) -> bool:
        """Whether there is more to do than the party knows of, or less; what it has done, with success, is not told."""
        wanted = {(assignment.run, assignment.lease) for assignment in work.open}
        return not wanted <= known or any(not self._is_done(party, *lease) for lease in known - wanted)

    def _is_done(self, party: str, run: str, lease: int) -> bool:
        said = [live.verdict(party, lease) for live in self._runs.running() if live.row.id == run]
        return any(one is not None and one[1].accepted for one in said)

    def _work(self, party: str) -> Work:
        return Work(open=tuple(assignment for live in self._runs.running() for assignment in live.assignments(party)))

    async def contribute(self, party: str, run: str, lease: int, given: Contributed) -> Verdict:
        """Count a contribution, or refuse it with the reason. The same one again gets the same answer."""
        live = self._of_party(party, run)
        if (before := live.verdict(party, lease)) is not None:
            return _again(before, given)
        self._check_here(party, given)
        refusal = await meanwhile(given.vectors.size, inspect, self.blobs, party, given, live.job)
        if (before := self._of_party(party, run).verdict(party, lease)) is not None:
            return _again(before, given)
        # Whoever let go of parts meanwhile did not know that they count.
        self._check_here(party, given)
        if refusal is not None:
            return self._end_lease(party, run, lease, "rejected", _told(refusal))
        body = {"contribution": given.model_dump(mode="json")}
        return self._end_lease(party, run, lease, "contributed", body)

    def _check_here(self, party: str, given: Contributed) -> None:
        if self.blobs.missing(party, list(given.vectors.parts)):
            raise Conflict("parts of the vectors are not here", mend="upload them, then send the contribution again")

    def refuse(self, party: str, run: str, lease: int, given: Refused) -> Verdict:
        """A party does not take part in this round, and says why."""
        live = self._of_party(party, run)
        if (before := live.verdict(party, lease)) is not None:
            return before[1]
        return self._end_lease(party, run, lease, "rejected", _told(Refusal(_REFUSALS[given.reason], given.detail)))

    def _of_party(self, party: str, run: str) -> LiveRun:
        live = self.run(run)
        if party not in live.row.parties:
            raise NotFound(f"there is no run {run}")
        return live

    def _end_lease(self, party: str, run: str, lease: int, kind: str, body: Mapping[str, Any]) -> Verdict:
        def drafts(live: LiveRun) -> Iterable[Draft]:
            open_still = live.verdict(party, lease) is None
            return [(kind, {"party": party, "lease": lease, **body})] if open_still else []

        said = self._runs.decide(run, drafts).verdict(party, lease)
        assert said is not None
        return said[1]

    def revoked(self, party: str) -> None:
        """A party is no member any more: what it was asked for is lost, at once."""
        self._presence.revoke(party)
        for live in self._runs.running():
            self._runs.decide(live.row.id, lambda live: _lost(live, {party}, self._presence.reason(party)))

    def refresh(self, run: str) -> None:
        """Another replica has appended to `run`, or, where that is empty, may have to any."""
        if not run:
            self._runs.load()
        for changed in [run] if run else [live.row.id for live in self._runs.running()]:
            self._runs.refresh(changed)

    def _changed(self, live: LiveRun, effects: Sequence[Effect]) -> None:
        """Wake whoever waits for what has happened, of a run that is new here everybody; go on with a commit."""
        told = effects or live.coordinator.outstanding
        # Whose contribution was accepted knows it already, and is not made to ask again before there is more to do.
        parties = dict.fromkeys(one.party for one in told if isinstance(one, Assign | Release))
        self.bell.ring("time", ("run", live.row.id), *(("party", party) for party in parties))
        self._models.go_on(live)

    # Time

    def due(self) -> float:
        """When the next thing happens that nobody asks for: a deadline, or a party that is given up."""
        times = [inf]
        for live in self._runs.running():
            if live.coordinator.wake is not None:
                times.append(live.row.created + live.coordinator.wake)
            if self._anybody(live):
                times += [self._presence.lasts(a.party, live.row.created + a.at) for a in live.coordinator.outstanding]
        return min(times)

    def _anybody(self, live: LiveRun) -> bool:
        """Whether a party of the run is there: while none is, none could take over, and the run waits for the first."""
        return len(self._presence.gone(live.row.parties)) < len(live.row.parties)

    async def keep_time(self) -> None:
        """Let deadlines and absences take effect, for as long as the server runs."""
        while True:
            try:
                pause = min(max(0.0, self.due() - self.now()), _LONGEST_WAIT)
                if pause > 0 and await self.bell.wait("time", pause):
                    continue
                self.pass_time()
            except StoreError as error:
                self.observe(StoreFailed("time stands still", error))
                await asyncio.sleep(_PAUSE)

    def pass_time(self) -> None:
        """Write down what has fallen due by now."""
        at = self.now()
        for live in self._runs.running():
            self._runs.decide(live.row.id, lambda live: self._overdue(live, at))

    def _overdue(self, live: LiveRun, at: float) -> Iterator[Draft]:
        wake = live.coordinator.wake
        if wake is not None and live.row.created + wake <= at:
            yield "ticked", {}
        for assign in live.coordinator.outstanding if self._anybody(live) else ():
            if self._presence.gone([assign.party], live.row.created + assign.at):
                yield from _lost(live, {assign.party}, self._presence.reason(assign.party))

    def standing(self) -> Standing:
        """How this replica stands at this moment."""
        leases, waiting = sum(len(live.coordinator.outstanding) for live in self._runs.running()), self.bell.waiting()
        return Standing(leases, self._presence.count(), waiting["party"], waiting["run"])

    async def keep_order(self) -> None:
        """Once a day let go of what came to nothing, for as long as the server runs."""
        while True:
            try:
                await self.tidy()
            except (StoreError, Unreadable) as error:
                self.observe(StoreFailed("what is left over stays", error))
            await asyncio.sleep(_DAY)

    async def tidy(self) -> None:
        """Drop old parts that no run needs. Raises `Unreadable` where nobody can tell what one needs."""
        let_go(await asyncio.to_thread(look, self.journal, self.blobs, self.now() - _KEPT), self._runs, self.blobs)
        await asyncio.to_thread(self.blobs.clear)

    async def settled(self) -> None:
        """Wait until no aggregation is under way."""
        await self._models.settled()

    async def close(self) -> None:
        """Leave aggregations as they are: the next process takes them up."""
        await self._models.close()


def _lost(live: LiveRun, parties: set[str], detail: str) -> Iterator[Draft]:
    for assign in live.coordinator.outstanding:
        if assign.party in parties:
            yield "lost", {"party": assign.party, "lease": assign.lease, "detail": detail}


def _again(before: tuple[str, Verdict], given: Contributed) -> Verdict:
    digest, verdict = before
    if digest and digest != given.vectors.digest:
        return Verdict(accepted=False, reason=Reason.DUPLICATE.value, detail="this lease was used for other content")
    return verdict


def _told(refusal: Refusal) -> dict[str, str]:
    return {"reason": refusal.reason.value, "detail": refusal.detail}
