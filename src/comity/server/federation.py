"""The federation as a service: runs begin, contributions are counted, models are made, and all of it is in the journal.

Every change of a run is one record, decided on what the run is and appended behind what it was decided on; where
another replica was faster, the run is loaded anew and the decision is made again. Nothing is answered before its
record is committed. Times are the server's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from comity.coordination.effects import Accept, Assign, Commit, Effect, Release
from comity.core.errors import CheckpointError, Reason, RunError
from comity.runs.figures import metric_value, rising
from comity.server.aggregate import Refusal, first_model, inspect, next_model, round_facts
from comity.server.bell import Bell
from comity.server.description import described, job_digest
from comity.server.errors import Conflict, NotFound, Unfit
from comity.server.liverun import LiveRun, Model
from comity.server.vectors import VectorError
from comity.store.blobs import Blobs
from comity.store.journal import Journal
from comity.store.rows import Record, RunRow
from comity.wire.digests import source_digest
from comity.wire.messages import Ask, Contributed, Member, Refused, Rounds, RunFacts, Submit, Verdict, Work

_INLINE_BYTES = 8 << 20
"""Models up to this size are aggregated at once; larger ones in a thread, so that others are served meanwhile."""

Draft: TypeAlias = tuple[str, Mapping[str, Any]]
"""A record before it is written: its kind and its body."""

Metrics: TypeAlias = Mapping[str, tuple[float, ...]]

_REFUSALS = {
    "policy": Reason.POLICY,
    "error": Reason.ERROR,
    "no_data": Reason.NO_DATA,
    "data": Reason.DATA,
}


@dataclass(eq=False)
class Federation:
    """One replica's view of all runs.

    `absence` is the number of seconds after which a party that has not been heard of loses its leases; `now` and
    `token` are the clock and the source of names.
    """

    journal: Journal
    blobs: Blobs
    now: Callable[[], float]
    token: Callable[[int], bytes]
    absence: float = 120.0
    bell: Bell = field(default_factory=Bell)

    def __post_init__(self) -> None:
        self._started = self.now()
        self._live: dict[str, LiveRun] = {}
        self._seen: dict[str, float] = {}
        self._polling: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._aggregating: set[str] = set()

    def start(self) -> None:
        """Take up every run that is not over; what was under way when the last process ended goes on."""
        for row in self.journal.runs():
            if row.state == "running":
                self._load(row.id)

    # Runs

    def submit(self, member: Member, wish: Submit) -> RunFacts:
        """Begin a run. Raises `ManifestError`, `ConfigError` or `Unfit` for a job that cannot be carried out here."""
        job = described(wish.manifest, wish.layout)
        parties = self._participants(wish)
        job.rounds.check(len(parties))
        if missing := self.blobs.missing(member.name, list(wish.start.parts)):
            raise Conflict(f"{len(missing)} parts of the first state are not here", mend="upload them, then submit")
        at, run = self.now(), self.token(8).hex()
        try:
            model = first_model(self.blobs, run, job, member.name, wish.start)
        except (VectorError, CheckpointError, MemoryError) as error:
            raise Unfit(f"the first state does not fit the job: {error}", where="submit.start") from error
        row = RunRow(
            id=run,
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
            start=model.to_json(),
            version=1,
        )
        self.journal.begin(row, [Record(run, 1, at, "started", model.to_json())])
        live = self._load(run)
        self.bell.ring("time", *(("party", party) for party in parties))
        return live.facts()

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
        """Raises `NotFound`."""
        if run in self._live:
            return self._live[run]
        row = self.journal.run(run)
        if row is None:
            raise NotFound(f"there is no run {run}")
        return self._load(run)

    async def watch(self, run: str, after: int, wait: float) -> Rounds:
        """The rounds after the first `after`; waits for one where there is none yet and the run goes on."""
        live = self.run(run)
        if len(live.rounds) <= after and live.state == "running":
            await self.bell.wait(("run", run), wait)
            live = self.run(run)
        return Rounds(run=live.facts(), rounds=tuple(live.rounds[after:]))

    def stop(self, run: str) -> RunFacts:
        if self.run(run).state == "running":
            self._decide(run, lambda live: [("stopped", {})] if live.state == "running" else [])
        return self.run(run).facts()

    # Parties

    async def work(self, party: str, ask: Ask) -> Work:
        """What `party` has to do: at once where that is not what it knows, otherwise when it changes."""
        self._hear(party)
        self._polling[party] = self._polling.get(party, 0) + 1
        try:
            work = self._work(party)
            known = set(ask.open)
            if known == {(a.run, a.lease) for a in work.open}:
                await self.bell.wait(("party", party), ask.wait)
                work = self._work(party)
            return work
        finally:
            self._polling[party] -= 1
            self._hear(party)

    def _work(self, party: str) -> Work:
        running = (live for live in self._live.values() if live.state == "running" and party in live.row.parties)
        return Work(open=tuple(assignment for live in running for assignment in live.assignments(party)))

    def _hear(self, party: str) -> None:
        at = self.now()
        if at - self._seen.get(party, 0.0) > self.absence / 4:
            self.journal.saw(party, at)
        self._seen[party] = at

    def contribute(self, party: str, run: str, lease: int, given: Contributed) -> Verdict:
        """Count a contribution, or refuse it with the reason. The same one again gets the same answer."""
        live = self._of_party(party, run)
        if (before := live.verdict(party, lease)) is not None:
            return _again(before, given)
        if self.blobs.missing(party, list(given.vectors.parts)):
            raise Conflict("parts of the vectors are not here", mend="upload them, then send the contribution again")
        refusal = inspect(self.blobs, party, given, live.job)
        if refusal is not None:
            return self._end_lease(party, run, lease, "rejected", _told(refusal))
        body = {"contribution": given.model_dump(mode="json")}
        return self._end_lease(party, run, lease, "contributed", body)

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

        self._decide(run, drafts)
        said = self.run(run).verdict(party, lease)
        assert said is not None
        return said[1]

    def revoked(self, party: str) -> None:
        """A party is no member any more: what it was asked for is lost, at once."""
        for run in [run for run, live in self._live.items() if live.state == "running" and party in live.row.parties]:
            self._decide(run, lambda live: _lost(live, party, "its membership was revoked"))

    # The journal

    def _load(self, run: str) -> LiveRun:
        row = self.journal.run(run)
        assert row is not None
        live = LiveRun.load(row, self.journal.records(run, 0))
        self._live[run] = live
        self._go_on(live)
        return live

    def refresh(self, run: str) -> None:
        """Another replica has appended to `run`: follow."""
        live = self._live.get(run)
        if live is None:
            self._load(run)
            self.bell.ring("time", ("run", run), *(("party", party) for party in self._live[run].row.parties))
            return
        for record in self.journal.records(run, live.seq):
            self._tell(live, live.apply(record))
        self._go_on(live)

    def _decide(self, run: str, drafts: Callable[[LiveRun], Iterable[Draft]]) -> None:
        """Append what `drafts` makes of the run; it is asked again where another replica was faster.

        Each draft is applied before the next one is asked for, so that it can build on it.
        """
        while True:
            live = self.run(run)
            effects: list[Effect] = []
            records: list[Record] = []
            at, after = self.now(), live.seq
            try:
                for kind, body in drafts(live):
                    records.append(Record(run, live.seq + 1, at, kind, dict(body)))
                    effects += live.apply(records[-1])
                ended = (live.state, live.detail) if live.state != "running" else None
                appended = not records or self.journal.append(run, after, records, ended)
            except BaseException:
                self._live.pop(run, None)  # what was applied may not be in the journal: start from what is
                raise
            if appended:
                self._tell(live, effects)
                self._go_on(live)
                return
            self._live.pop(run)

    def _tell(self, live: LiveRun, effects: Sequence[Effect]) -> None:
        """Wake whoever waits for what has happened."""
        parties = {effect.party for effect in effects if isinstance(effect, Assign | Release | Accept)}
        self.bell.ring("time", ("run", live.row.id), *(("party", party) for party in parties))

    def _go_on(self, live: LiveRun) -> None:
        """A commit is aggregated by whoever sees it."""
        run, commit = live.row.id, live.coordinator.pending
        if commit is None or run in self._aggregating or live.state != "running":
            return
        self._aggregating.add(run)
        task = asyncio.get_running_loop().create_task(self._aggregate(live, commit))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _aggregate(self, live: LiveRun, commit: Commit) -> None:
        run, entries = live.row.id, sum(value.size for value in live.job.exchange.contribution.values())
        try:
            if 4 * entries <= _INLINE_BYTES:
                made = next_model(self.blobs, live, commit)
            else:
                made = await asyncio.to_thread(next_model, self.blobs, live, commit)
        except RunError as error:
            detail = f"round {commit.round + 1} cannot be aggregated: {error}"
            self._decide(run, lambda live: [("failed", {"detail": detail})])
            return
        finally:
            self._aggregating.discard(run)
        self._decide(run, lambda live: self._concluded(live, commit, *made))

    def _concluded(self, live: LiveRun, commit: Commit, model: Model, metrics: Metrics) -> Iterator[Draft]:
        """The new model becomes the run's, which ends here where the job says so."""
        if live.coordinator.pending != commit:
            return
        if self._enough(live, metrics):
            yield "stopped", {}
        facts = round_facts(live, commit, self.now(), metrics)
        carried = live.carried()
        yield (
            "aggregated",
            {"round": commit.round, "facts": facts.model_dump(mode="json"), "carried": carried} | (model.to_json()),
        )

    def _enough(self, live: LiveRun, latest: Metrics) -> bool:
        stop = live.job.stop
        if stop is None:
            return False
        name = stop.metric.removeprefix("train_")
        course = [facts.metrics.get(name) for facts in live.rounds] + [latest.get(name)]
        values = [metric_value(live.job, name, np.asarray(row)) for row in course if row is not None]
        return stop.verdict(values, rising(live.job, stop.metric)) is not None

    # Time

    def due(self) -> float | None:
        """When the next thing happens that nobody asks for: a deadline, or a party that is given up."""
        times = []
        for live in self._live.values():
            if live.state != "running":
                continue
            if live.coordinator.wake is not None:
                times.append(live.row.created + live.coordinator.wake)
            times += [self._given_up(assign.party) for assign in live.coordinator.outstanding]
        return min(times, default=None)

    def _given_up(self, party: str) -> float:
        if self._polling.get(party):
            return float("inf")
        return max(self._seen.get(party, 0.0), self._started) + self.absence

    async def keep_time(self) -> None:
        """Let deadlines and absences take effect, for as long as the server runs."""
        while True:
            due = self.due()
            pause = 3600.0 if due is None or due == float("inf") else max(0.0, due - self.now())
            if pause > 0 and await self.bell.wait("time", pause):
                continue
            self.pass_time()

    def pass_time(self) -> None:
        """Write down what has fallen due by now."""
        at = self.now()
        for run in [run for run, live in self._live.items() if live.state == "running"]:
            self._decide(run, lambda live: self._overdue(live, at))

    def _overdue(self, live: LiveRun, at: float) -> Iterator[Draft]:
        wake = live.coordinator.wake
        if wake is not None and live.row.created + wake <= at:
            yield "ticked", {}
        for party in {assign.party for assign in live.coordinator.outstanding}:
            if self._given_up(party) <= at:
                yield from _lost(live, party, f"not heard of for {self.absence:g} seconds")

    async def settled(self) -> None:
        """Wait until no aggregation is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)


def _lost(live: LiveRun, party: str, detail: str) -> Iterator[Draft]:
    for assignment in live.assignments(party):
        yield "lost", {"party": party, "lease": assignment.lease, "detail": detail}


def _again(before: tuple[str, Verdict], given: Contributed) -> Verdict:
    digest, verdict = before
    if digest and digest != given.vectors.digest:
        return Verdict(accepted=False, reason=Reason.DUPLICATE.value, detail="this lease was used for other content")
    return verdict


def _told(refusal: Refusal) -> dict[str, str]:
    return {"reason": refusal.reason.value, "detail": refusal.detail}
