"""One run as it stands: what its journal says, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from comity.coordination.coordinator import Coordinator
from comity.coordination.effects import Abandon, Assign, Effect, Ending, Refuse
from comity.coordination.events import Aggregated, Contributed, Event, Lost, Rejected, Start, Stop, Tick
from comity.core.errors import ComityError, Reason
from comity.jobs.job import Job
from comity.server.description import described
from comity.server.errors import Unreadable
from comity.store.rows import Record, RunRow
from comity.wire import messages
from comity.wire.messages import Assignment, Blob, RoundFacts, RunFacts, RunState, Verdict

_SAID = 4
"""Of so many parties the words are told when a run fails."""

_STATES: Mapping[Ending, RunState] = {
    Ending.COMPLETED: "completed",
    Ending.STOPPED: "stopped",
    Ending.FAILED: "failed",
}


@dataclass(frozen=True)
class Model:
    """The program's state after a round, and what is broadcast, as blobs of the run.

    `chain` is the state of the chain, where it has one. Nobody is given it: noise that is taken back in later rounds
    is in it, and would be known to whoever reads it.
    """

    state: Blob
    broadcast: Mapping[str, Blob]
    chain: Blob | None = None

    def to_json(self) -> dict[str, Any]:
        node = {
            "state": self.state.model_dump(mode="json"),
            "broadcast": {name: blob.model_dump(mode="json") for name, blob in self.broadcast.items()},
        }
        return node if self.chain is None else {**node, "chain": self.chain.model_dump(mode="json")}

    @classmethod
    def of(cls, node: Any) -> Model:
        broadcast = {name: _blob(blob) for name, blob in node["broadcast"].items()}
        return cls(_blob(node["state"]), broadcast, _blob(node["chain"]) if "chain" in node else None)


class Held(NamedTuple):
    """A contribution that is accepted and not yet part of the model, and whose it is."""

    party: str
    given: messages.Contributed


@dataclass(eq=False)
class LiveRun:
    """The projection of a run's journal: `apply` one record after another, in their order.

    `contributions` are those that are accepted and not yet part of the model, by lease; `verdicts` what was said of
    them; `counted` is each party's last lease that is part of it; `models` are the versions that somebody works on,
    and the current one.
    """

    row: RunRow
    job: Job
    coordinator: Coordinator
    seq: int = 0
    contributions: dict[int, Held] = field(default_factory=dict)
    verdicts: dict[int, tuple[str, Verdict]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    models: dict[int, Model] = field(default_factory=dict)
    rounds: list[RoundFacts] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    bytes_up: int = 0
    bytes_down: int = 0
    failure: str = ""

    @classmethod
    def load(cls, row: RunRow, records: Iterable[Record]) -> LiveRun:
        """The run that `records`, all from the first, have made. Raises `Unreadable`."""
        try:
            return cls._of(row, records)
        except (ComityError, LookupError, TypeError, ValueError, AssertionError) as error:
            raise Unreadable(
                f"its records cannot be read: {type(error).__name__}: {error}",
                where=f"run {row.id}",
                mend="read it with the version of Comity that it was made with",
            ) from error

    @classmethod
    def _of(cls, row: RunRow, records: Iterable[Record]) -> LiveRun:
        job = described(row.manifest, row.layout)
        run = cls(row, job, Coordinator(job.rounds, row.parties, job.root_seed.child("coordinator")))
        known = list(records)
        last = max((k for k, record in enumerate(known) if record.kind == "aggregated"), default=0)
        for record in known[:last]:
            if record.kind == "aggregated":
                run.rounds.append(_facts(record.body))
        if known and known[last].kind == "aggregated":
            run._restore(known[last])
        for record in known[last:]:
            run.apply(record)
        return run

    @property
    def state(self) -> RunState:
        finished = self.coordinator.finished
        if self.failure:
            return "failed"
        return "running" if finished is None else _STATES[finished.ending]

    @property
    def detail(self) -> str:
        """Why the run has ended; of one that has failed also what the parties have said in the round that did not come.

        They are those that know: a policy that forbids the job, data that are not there.
        """
        finished = self.coordinator.finished
        told = self.failure or ("" if finished is None else finished.detail)
        if self.state != "failed":
            return told
        said = {party: f"{party}: {reason}: {detail}" for party, reason, detail in self.refused}
        more = [f"and {len(said) - _SAID} more parties"] if len(said) > _SAID else []
        return "; ".join([told, *list(said.values())[:_SAID], *more])

    @property
    def model(self) -> Model:
        """The current one."""
        return self.models[max(self.models)]

    def facts(self) -> RunFacts:
        row = self.row
        return RunFacts(
            id=row.id,
            job=row.job,
            submitter=row.submitter,
            state=self.state,
            detail=self.detail,
            created=row.created,
            rounds=len(self.rounds),
            planned=self.job.rounds.count,
            parties=row.parties,
            dataset=row.dataset,
            version=self.seq,
            model=self.model.state,
        )

    def verdict(self, party: str, lease: int) -> tuple[str, Verdict] | None:
        """What was said, and of which blob, to a contribution under a lease that has ended; None while it is open."""
        if any(assign.lease == lease and assign.party == party for assign in self.coordinator.outstanding):
            return None
        if lease in self.verdicts:
            return self.verdicts[lease]
        if self.counted.get(party) == lease:
            return "", Verdict(accepted=True)
        return "", Verdict(accepted=False, reason=Reason.LATE.value, detail="the lease has ended")

    def assignments(self, party: str) -> list[Assignment]:
        """What `party` has to do now."""
        return [self._assignment(assign) for assign in self.coordinator.outstanding if assign.party == party]

    def apply(self, record: Record) -> list[Effect]:
        """Everything that follows from the next record; `record.seq` is `seq + 1`."""
        assert record.seq == self.seq + 1, (record.seq, self.seq)
        self.seq = record.seq
        now = record.at - self.row.created
        body: Any = record.body
        if record.kind == "started":
            self.models[0] = Model.of(body)
        elif record.kind == "contributed":
            self._note_contribution(body)
        elif record.kind == "aggregated":
            self._note_round(body)
        elif record.kind == "failed":
            self.failure = body["detail"]
        effects = self.coordinator.handle(_event(record.kind, now, body))
        for effect in effects:
            self._follow(effect)
        return effects

    def _note_contribution(self, body: Any) -> None:
        contribution = messages.Contributed.model_validate(body["contribution"], strict=False)
        self.contributions[body["lease"]] = Held(body["party"], contribution)
        self.verdicts[body["lease"]] = (contribution.vectors.digest, Verdict(accepted=True))
        self.bytes_up += contribution.vectors.size

    def _note_round(self, body: Any) -> None:
        commit = self.coordinator.pending
        self.rounds.append(_facts(body))
        self.models[self.coordinator.round] = Model.of(body)
        self.refused, self.bytes_up, self.bytes_down = [], 0, 0
        for counted in commit.contributions if commit is not None else ():
            self.counted[counted.party] = max(counted.lease, self.counted.get(counted.party, -1))
            self.contributions.pop(counted.lease, None)
        self.verdicts = {lease: kept for lease, kept in self.verdicts.items() if lease in self.contributions}
        wanted = {assign.round for assign in self.coordinator.outstanding} | {self.coordinator.round}
        self.models = {version: model for version, model in self.models.items() if version in wanted}

    def _follow(self, effect: Effect) -> None:
        match effect:
            case Assign():
                self.bytes_down += sum(blob.size for blob in self.models[effect.round].broadcast.values())
            case Refuse():
                self._refuse(effect)
            case Abandon():
                commit = self.coordinator.pending
                kept = {counted.lease for counted in commit.contributions} if commit is not None else set()
                self.contributions = {lease: c for lease, c in self.contributions.items() if lease in kept}
            case _:
                pass

    def _refuse(self, effect: Refuse) -> None:
        held = self.contributions.pop(effect.lease, None)
        digest = "" if held is None else held.given.vectors.digest
        verdict = Verdict(accepted=False, reason=effect.reason.value, detail=effect.detail)
        self.verdicts[effect.lease] = digest, verdict
        self.refused.append((effect.party, effect.reason.value, effect.detail))

    def _assignment(self, assign: Assign) -> Assignment:
        row = self.row
        return Assignment(
            run=row.id,
            job=row.job,
            dataset=row.dataset,
            lease=assign.lease,
            round=assign.round,
            attempt=assign.attempt,
            expires=None if assign.expires is None else row.created + assign.expires,
            broadcast=dict(self.models[assign.round].broadcast),
            counted=self.counted.get(assign.party),
        )

    def carried(self) -> dict[str, Any]:
        """What the record of a round must carry so that nothing before it needs to be replayed."""
        return {
            "coordinator": self.coordinator.snapshot(),
            "contributions": [
                [lease, held.party, held.given.model_dump(mode="json")] for lease, held in self.contributions.items()
            ],
            "counted": dict(self.counted),
            "models": [[version, model.to_json()] for version, model in self.models.items()],
            "tally": [[list(entry) for entry in self.refused], self.bytes_up, self.bytes_down],
        }

    def _restore(self, record: Record) -> None:
        """Stand where the run stood just before `record`."""
        body: Any = record.body
        carried = body["carried"]
        seed = self.job.root_seed.child("coordinator")
        self.coordinator = Coordinator.restore(self.job.rounds, self.row.parties, seed, carried["coordinator"])
        self.contributions = {
            lease: Held(party, messages.Contributed.model_validate(given, strict=False))
            for lease, party, given in carried["contributions"]
        }
        self.verdicts = {
            lease: (held.given.vectors.digest, Verdict(accepted=True)) for lease, held in self.contributions.items()
        }
        self.counted = dict(carried["counted"])
        self.models = {version: Model.of(model) for version, model in carried["models"]}
        refused, self.bytes_up, self.bytes_down = carried["tally"]
        self.refused = [(party, reason, detail) for party, reason, detail in refused]
        self.seq = record.seq - 1


def _event(kind: str, now: float, body: Any) -> Event:
    match kind:
        case "started":
            return Start(now)
        case "contributed":
            return Contributed(now, body["party"], body["lease"])
        case "rejected":
            return Rejected(now, body["party"], body["lease"], Reason(body["reason"]), body["detail"])
        case "lost":
            return Lost(now, body["party"], body["lease"], body["detail"])
        case "aggregated":
            return Aggregated(now, body["round"])
        case "stopped" | "failed":
            return Stop(now)
        case "ticked":
            return Tick(now)
    raise AssertionError(f"no record is called {kind!r}")


def _facts(body: Any) -> RoundFacts:
    return RoundFacts.model_validate(body["facts"], strict=False)


def _blob(node: Any) -> Blob:
    return Blob.model_validate(node, strict=False)
