"""What is observed of a server: what happens at it, as values that logs tell and metrics count, and how it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from comity.coordination.effects import Abandon, Accept, Assign, Effect, Refuse, Release
from comity.core.errors import ComityError
from comity.server.liverun import LiveRun
from comity.store.rows import Record
from comity.wire.messages import RunState
from comity.wire.signature import Fault


@dataclass(frozen=True, slots=True)
class RunBegun:
    """A run of so many rounds, over so many parties."""

    run: str
    submitter: str
    parties: int
    rounds: int


@dataclass(frozen=True, slots=True)
class RoundBegun:
    """`asked` parties are asked for contributions; rounds and attempts count from 1."""

    run: str
    round: int
    attempt: int
    asked: int


@dataclass(frozen=True, slots=True)
class RoundClosed:
    """A round is part of the model, `seconds` after the one before it, or after the run began."""

    run: str
    round: int
    counted: int
    refused: int
    seconds: float
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True, slots=True)
class RoundAbandoned:
    run: str
    round: int
    attempt: int
    detail: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    run: str
    state: RunState
    rounds: int
    detail: str


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """A party's part in a round is over: "accepted", "released" without a result, or refused for a `Reason`."""

    run: str
    party: str
    lease: int
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Aggregated:
    """A new model was computed and stored here in `seconds`."""

    run: str
    round: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SignatureRefused:
    """A request that is signed by no member, or not as it must be."""

    method: str
    path: str
    address: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The journal or the blobs could not be read or written; `what` has to wait, or to be asked for again."""

    what: str
    error: ComityError
    run: str | None = None


Happening: TypeAlias = (
    RunBegun
    | RoundBegun
    | RoundClosed
    | RoundAbandoned
    | RunEnded
    | LeaseEnded
    | Aggregated
    | SignatureRefused
    | StoreFailed
)
Observe: TypeAlias = Callable[[Happening], None]


@dataclass(frozen=True, slots=True)
class Standing:
    """One replica at one moment: open leases, parties present, and requests that wait for work and for rounds."""

    leases: int
    parties: int
    asking: int
    watching: int


def begun(live: LiveRun) -> Iterator[Happening]:
    """What there is to tell of a run that has just begun."""
    row = live.row
    yield RunBegun(row.id, row.submitter, len(row.parties), live.job.rounds.count)
    yield RoundBegun(row.id, 1, 1, len(live.coordinator.outstanding))


def written(live: LiveRun, records: Sequence[Record], effects: Sequence[Effect]) -> Iterator[Happening]:
    """What there is to tell of `records`, which have just been added to a run, and of what followed from them."""
    run = live.row.id
    for effect in effects:
        match effect:
            case Accept():
                yield LeaseEnded(run, effect.party, effect.lease, "accepted")
            case Refuse():
                yield LeaseEnded(run, effect.party, effect.lease, effect.reason.value, effect.detail)
            case Release():
                yield LeaseEnded(run, effect.party, effect.lease, "released", effect.detail)
            case Abandon():
                yield RoundAbandoned(run, effect.round + 1, effect.attempt + 1, effect.detail)
            case _:
                pass
    if any(record.kind == "aggregated" for record in records):
        yield _closed(live)
    asked = [effect for effect in effects if isinstance(effect, Assign)]
    if asked and _opens(records, effects):
        yield RoundBegun(run, asked[0].round + 1, asked[0].attempt + 1, len(asked))
    if live.state != "running":
        yield RunEnded(run, live.state, len(live.rounds), live.detail)


def _opens(records: Sequence[Record], effects: Sequence[Effect]) -> bool:
    """Whether those who are asked are the first of an attempt, and not in the place of others.

    An attempt follows a model or an abandoned attempt, at once or after a pause; a tick that gives work anew because
    its lease has run out releases that lease.
    """
    kinds = {record.kind for record in records}
    if "aggregated" in kinds or any(isinstance(effect, Abandon) for effect in effects):
        return True
    return "ticked" in kinds and not any(isinstance(effect, Release) for effect in effects)


def _closed(live: LiveRun) -> RoundClosed:
    facts = live.rounds[-1]
    before = live.rounds[-2].time if len(live.rounds) > 1 else 0.0
    return RoundClosed(
        run=live.row.id,
        round=facts.round,
        counted=len(facts.parties),
        refused=len(facts.refused),
        seconds=facts.time - before,
        bytes_up=facts.bytes_up,
        bytes_down=facts.bytes_down,
    )
