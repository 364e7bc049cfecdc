"""The coordinator: the life of every round as a state machine without I/O, clock or randomness of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from enum import StrEnum
from typing import Any

from comity.coordination.effects import (
    Abandon,
    Accept,
    Assign,
    Commit,
    Counted,
    Effect,
    Ending,
    Finished,
    Refuse,
    Release,
    WakeAt,
)
from comity.coordination.events import Aggregated, Contributed, Event, Lost, Rejected, Start, Stop, Tick
from comity.coordination.leases import Leases
from comity.coordination.policies import Policy, Tally
from comity.coordination.selection import Draw
from comity.core.errors import CheckpointError, ConfigError, Reason
from comity.core.seeds import Seed

_FORMAT = 1


class Phase(StrEnum):
    """Where the current round stands."""

    NEW = "new"
    COLLECTING = "collecting"
    WAITING = "waiting"
    AGGREGATING = "aggregating"
    FINISHED = "finished"


class Coordinator:
    """`handle(event)` returns the effects of one event; nothing else changes the state.

    A round goes from collecting to aggregating (`Commit` … `Aggregated`) and on to the next one, or is abandoned and
    tried again, at once or after a wait. The coordinator sees names and lease numbers, never vectors. Its state is a
    function of the policy, the population, the seed and the events: replaying a journal of events restores it, and
    so does `restore` with a `snapshot` and the events since. Events may come late, twice and out of order; a clock
    that goes backwards stands still here. One event costs constant time for each effect that it has, whatever the
    population; `population` is only indexed.

    Raises `ConfigError` where the policy asks for more parties than there are.
    """

    def __init__(self, policy: Policy, population: Sequence[str], seed: Seed) -> None:
        parties = len(population)
        if not parties:
            raise ConfigError("there is no party", where="population", mend="give at least one party")
        policy.check(parties)
        self.policy = policy
        self.population = population
        self.seed = seed
        self._parties = parties
        self._target = policy.target(parties)
        self._least = policy.least(parties)
        self.phase = Phase.NEW
        self.round = 0
        self.attempt = 0
        self.now = 0.0
        self.wake: float | None = None
        self.finished: Finished | None = None
        self.committed: Commit | None = None
        self._stopping = False
        self._closes: float | None = None
        self._resumes: float | None = None
        self._asked = 0
        self._rejected = 0
        self._draw: Draw | None = None
        self._leases = Leases()
        self._accepted: dict[int, Counted] = {}
        self._counted: dict[int, str] = {}
        self._seats: dict[int, int] = {}
        self._resting: dict[int, int] = {}

    @property
    def outstanding(self) -> tuple[Assign, ...]:
        """The assignments that have not ended, oldest first: what to hand out again after a restart."""
        return tuple(lease.assign for lease in self._leases)

    @property
    def pending(self) -> Commit | None:
        """The commit that `Aggregated` has not confirmed yet: what to aggregate again after a restart."""
        return self.committed if self.phase is Phase.AGGREGATING else None

    def handle(self, event: Event) -> list[Effect]:
        """Everything that follows from `event`, in order."""
        effects: list[Effect] = []
        if self.phase is Phase.FINISHED:
            if isinstance(event, Contributed | Rejected):
                effects.append(self._answer(event))
            return effects
        self.now = max(self.now, event.now)
        self._pass_time(effects)
        match event:
            case Contributed():
                self._contributed(event, effects)
            case Rejected() | Lost():
                self._failed(event, effects)
            case Aggregated():
                self._aggregated(event, effects)
            case Start():
                if self.phase is Phase.NEW:
                    self._open(effects)
            case Stop():
                self._stop(effects)
            case Tick():
                pass
        self._settle(effects)
        self._set_wake(effects)
        return effects

    def _pass_time(self, effects: list[Effect]) -> None:
        """What falls due by now comes before the event: all leases end at the deadline, and then a result is late."""
        if self._resumes is not None and self._resumes <= self.now:
            self._open(effects)
        for lease in self._leases.expire(self.now):
            self._free(lease.position)
            effects.append(Release(lease.assign.party, lease.assign.lease, "the lease has run out"))

    def _contributed(self, event: Contributed, effects: list[Effect]) -> None:
        lease = self._leases.end(event.party, event.lease)
        if lease is None:
            effects.append(self._answer(event))
            return
        self._free(lease.position)
        version = lease.assign.round
        factor = self.policy.factor(self.round - version)
        if factor is None:
            detail = f"the model has moved {self.round - version} versions on"
            effects.append(Refuse(event.party, event.lease, Reason.STALE, detail))
            return
        self._accepted[event.lease] = Counted(event.party, event.lease, version, factor)
        if self.policy.separation > 1:
            self._seats[event.lease] = lease.position
        effects.append(Accept(event.party, event.lease, self.round, self.attempt, factor))

    def _failed(self, event: Rejected | Lost, effects: list[Effect]) -> None:
        lease = self._leases.end(event.party, event.lease)
        if lease is not None:
            self._free(lease.position)
            reason = Reason.LOST if isinstance(event, Lost) else event.reason
            self._rejected += isinstance(event, Rejected)
            effects.append(Refuse(event.party, event.lease, reason, event.detail))
        elif isinstance(event, Rejected):
            effects.append(self._answer(event))

    def _answer(self, event: Contributed | Rejected) -> Refuse:
        """What to say to a result that no open lease waits for."""
        counted = self._accepted.get(event.lease)
        owner = counted.party if counted is not None else self._counted.get(event.lease)
        if owner == event.party:
            return Refuse(event.party, event.lease, Reason.DUPLICATE, "this lease has been counted")
        open_elsewhere = owner is not None or self._leases.is_open(event.lease)
        if open_elsewhere or not 0 <= event.lease < self._leases.issued:
            return Refuse(event.party, event.lease, Reason.UNKNOWN, "no such lease was given to this party")
        return Refuse(event.party, event.lease, Reason.LATE, "the lease has ended")

    def _free(self, position: int) -> None:
        if self._draw is not None:
            self._draw.free(position)

    def _open(self, effects: list[Effect]) -> None:
        """Begin an attempt at the current round."""
        self.phase = Phase.COLLECTING
        self._resumes = None
        self._asked = self._rejected = 0
        self._closes = None if self.policy.deadline is None else self.now + self.policy.deadline
        self._resting = {position: until for position, until in self._resting.items() if until > self.round}
        busy = (lease.position for lease in self._leases)
        self._draw = Draw(self._selection_seed(), self._parties, (*busy, *self._resting))

    def _selection_seed(self) -> Seed:
        return self.seed.child("select", round=self.round, attempt=self.attempt)

    def _settle(self, effects: list[Effect]) -> None:
        """Close the round, or ask whom the policy wants asked."""
        if self.phase is not Phase.COLLECTING:
            return
        accepted = len(self._accepted)
        if accepted >= self._target:
            self._commit("enough contributions have come", effects)
            return
        if self._closes is not None and self._closes <= self.now:
            self._close("the deadline has passed", effects)
            return
        tally = Tally(self._asked, len(self._leases), accepted, self._rejected)
        wanted = self.policy.wanted(tally, self._parties)
        if wanted > 0:
            self._ask(wanted, effects)
        if not self._leases or accepted + len(self._leases) < self._least:
            self._close("too few parties are left", effects)

    def _ask(self, count: int, effects: list[Effect]) -> None:
        assert self._draw is not None
        expires = self._closes
        if self.policy.lease is not None:
            over = self.now + self.policy.lease
            expires = over if expires is None else min(over, expires)
        for position in self._draw.take(count):
            party = self.population[position]
            effects.append(self._leases.issue(position, party, self.round, self.attempt, self.now, expires))
            self._asked += 1

    def _close(self, detail: str, effects: list[Effect]) -> None:
        if len(self._accepted) >= self._least:
            self._commit(detail, effects)
        else:
            self._abandon(f"{detail}: {len(self._accepted)} contributions, at least {self._least} needed", effects)
            self._retry(effects)

    def _commit(self, detail: str, effects: list[Effect]) -> None:
        contributions = tuple(counted for _, counted in sorted(self._accepted.items()))
        self.committed = Commit(self.round, self.attempt, contributions)
        self._counted = {counted.lease: counted.party for counted in contributions}
        self._resting |= dict.fromkeys(self._seats.values(), self.round + self.policy.separation)
        self._accepted, self._seats = {}, {}
        self._closes = self._draw = None
        self.phase = Phase.AGGREGATING
        effects.append(self.committed)
        self.round += 1
        self.attempt = 0
        if not self.policy.carries or self.round == self.policy.count:
            self._release(detail, effects)

    def _abandon(self, detail: str, effects: list[Effect]) -> None:
        effects.append(Abandon(self.round, self.attempt, detail))
        self._accepted, self._seats = {}, {}
        self._closes = self._draw = None
        self._release("the round is abandoned", effects)

    def _retry(self, effects: list[Effect]) -> None:
        if self.attempt + 1 >= self.policy.attempts:
            detail = f"round {self.round + 1} was abandoned {self.attempt + 1} times"
            self._finish(Ending.FAILED, detail, effects)
            return
        self.attempt += 1
        if self.policy.pause:
            self.phase = Phase.WAITING
            self._resumes = self.now + self.policy.pause
        else:
            self._open(effects)
            self._settle(effects)

    def _aggregated(self, event: Aggregated, effects: list[Effect]) -> None:
        if self.phase is not Phase.AGGREGATING or event.round != self.round - 1:
            return
        if self.round == self.policy.count:
            self._finish(Ending.COMPLETED, f"{self.round} rounds", effects)
        elif self._stopping:
            self._finish(Ending.STOPPED, f"stopped after {self.round} rounds", effects)
        else:
            self._open(effects)

    def _stop(self, effects: list[Effect]) -> None:
        """A commit under way is seen through; anything else is dropped at once."""
        self._stopping = True
        if self.phase is Phase.COLLECTING or self._accepted:
            self._abandon("the run was stopped", effects)
        self._release("the run was stopped", effects)
        if self.phase is not Phase.AGGREGATING:
            self._finish(Ending.STOPPED, f"stopped after {self.round} rounds", effects)

    def _finish(self, ending: Ending, detail: str, effects: list[Effect]) -> None:
        self.phase = Phase.FINISHED
        self._resumes = None
        self.finished = Finished(ending, detail)
        effects.append(self.finished)

    def _release(self, detail: str, effects: list[Effect]) -> None:
        effects.extend(Release(lease.assign.party, lease.assign.lease, detail) for lease in self._leases.clear())

    def _set_wake(self, effects: list[Effect]) -> None:
        """Ask for a tick at the next time that matters, unless one that comes before it is on its way already."""
        due = self._leases.first_expiry()
        for time in (self._resumes, self._closes):
            if time is not None and (due is None or time < due):
                due = time
        if self.wake is not None and self.wake <= self.now:
            self.wake = None
        if due is not None and (self.wake is None or due < self.wake):
            self.wake = due
            effects.append(WakeAt(due))

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON-able data."""
        return {
            "format": _FORMAT,
            "parties": self._parties,
            "phase": self.phase.value,
            "round": self.round,
            "attempt": self.attempt,
            "now": self.now,
            "wake": self.wake,
            "stopping": self._stopping,
            "closes": self._closes,
            "resumes": self._resumes,
            "asked": self._asked,
            "rejected": self._rejected,
            "draw": None if self._draw is None else self._draw.snapshot(),
            "leases": self._leases.snapshot(),
            "accepted": [list(astuple(counted)) for counted in self._accepted.values()],
            "seats": [list(pair) for pair in self._seats.items()],
            "resting": [list(pair) for pair in self._resting.items()],
            "committed": None if self.committed is None else _commit_row(self.committed),
            "finished": None if self.finished is None else [self.finished.ending.value, self.finished.detail],
        }

    @classmethod
    def restore(cls, policy: Policy, population: Sequence[str], seed: Seed, snapshot: Mapping[str, Any]) -> Coordinator:
        """The coordinator that `snapshot` was taken of, given the same policy, population and seed.

        Raises `CheckpointError` where the snapshot is of another format or of a population of another size.
        """
        for name, expected in (("format", _FORMAT), ("parties", len(population))):
            if snapshot.get(name) != expected:
                raise CheckpointError(
                    f"{name} is {snapshot.get(name)!r}, expected {expected}",
                    where="coordinator snapshot",
                    mend="restore with the population and the version of Comity that the snapshot was taken with",
                )
        self = cls(policy, population, seed)
        self.phase = Phase(snapshot["phase"])
        self.round, self.attempt = snapshot["round"], snapshot["attempt"]
        self.now, self.wake = snapshot["now"], snapshot["wake"]
        self._stopping = snapshot["stopping"]
        self._closes, self._resumes = snapshot["closes"], snapshot["resumes"]
        self._asked, self._rejected = snapshot["asked"], snapshot["rejected"]
        self._leases = Leases.restore(snapshot["leases"])
        self._accepted = {row[1]: Counted(*row) for row in snapshot["accepted"]}
        # A snapshot of a version that kept no rounds apart has neither.
        self._seats, self._resting = dict(snapshot.get("seats", ())), dict(snapshot.get("resting", ()))
        if snapshot["draw"] is not None:
            self._draw = Draw.restore(self._selection_seed(), len(population), snapshot["draw"])
        if snapshot["committed"] is not None:
            round, attempt, rows = snapshot["committed"]
            self.committed = Commit(round, attempt, tuple(Counted(*row) for row in rows))
            self._counted = {counted.lease: counted.party for counted in self.committed.contributions}
        if snapshot["finished"] is not None:
            ending, detail = snapshot["finished"]
            self.finished = Finished(Ending(ending), detail)
        return self


def _commit_row(commit: Commit) -> list[Any]:
    return [commit.round, commit.attempt, [list(astuple(counted)) for counted in commit.contributions]]
