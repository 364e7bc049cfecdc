"""Drives a coordinator by hand in the tests, and keeps account of everything that it asks for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

from comity.coordination import Buffered, Coordinator, Rounds
from comity.coordination.effects import (
    Abandon,
    Accept,
    Assign,
    Commit,
    Effect,
    Finished,
    Refuse,
    Release,
    WakeAt,
)
from comity.coordination.events import Aggregated, Contributed, Event, Lost, Rejected, Start, Stop, Tick
from comity.core.errors import Reason
from comity.core.seeds import Seed
from comity.data.examples import PartyNames

E = TypeVar("E")


def of(kind: type[E], effects: Iterable[Effect]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


class Driver:
    """A coordinator with its journal; every method sends one event and returns its effects."""

    def __init__(self, policy: Rounds | Buffered, parties: int | Sequence[str] = 20, seed: int = 7) -> None:
        self.policy = policy
        self.population = PartyNames(parties) if isinstance(parties, int) else parties
        self.number = seed
        self.seed = Seed.of(seed)
        self.coordinator = Coordinator(policy, self.population, self.seed)
        self.now = 0.0
        self.events: list[Event] = []
        self.effects: list[Effect] = []

    def send(self, event: Event) -> list[Effect]:
        effects = self.coordinator.handle(event)
        self.events.append(event)
        self.effects += effects
        return effects

    def start(self) -> list[Assign]:
        return of(Assign, self.send(Start(self.now)))

    def contribute(self, *assigns: Assign) -> list[Effect]:
        return [e for a in assigns for e in self.send(Contributed(self.now, a.party, a.lease))]

    def reject(self, *assigns: Assign) -> list[Effect]:
        return [e for a in assigns for e in self.send(Rejected(self.now, a.party, a.lease, Reason.NOT_FINITE))]

    def lose(self, *assigns: Assign) -> list[Effect]:
        return [e for a in assigns for e in self.send(Lost(self.now, a.party, a.lease))]

    def tick(self, now: float) -> list[Effect]:
        self.now = now
        return self.send(Tick(now))

    def aggregated(self) -> list[Effect]:
        commit = self.coordinator.pending
        assert commit is not None
        return self.send(Aggregated(self.now, commit.round))

    def stop(self) -> list[Effect]:
        return self.send(Stop(self.now))

    def commits(self) -> list[Commit]:
        return of(Commit, self.effects)

    def reload(self) -> None:
        """Go on with a coordinator restored from a snapshot that has been through JSON."""
        snapshot = json.loads(json.dumps(self.coordinator.snapshot()))
        assert snapshot == self.coordinator.snapshot()
        self.coordinator = Coordinator.restore(self.policy, self.population, self.seed, snapshot)
        assert self.coordinator.snapshot() == snapshot

    def replay(self) -> Driver:
        """A second coordinator that is told the same events from the start."""
        other = Driver(self.policy, self.population, self.number)
        for event in self.events:
            other.send(event)
        return other


class Books:
    """The promises of `effects.py`, checked effect by effect."""

    def __init__(self, policy: Rounds | Buffered, parties: int) -> None:
        self.policy = policy
        self.parties = parties
        self.open: dict[int, Assign] = {}
        self.issued: dict[int, Assign] = {}
        self.given: set[tuple[str, int, int]] = set()
        self.accepted: dict[tuple[int, int], dict[int, float]] = {}
        self.counted: set[int] = set()
        self.last_counted: dict[str, int] = {}
        self.commits: list[Commit] = []
        self.wakes: list[float] = []
        self.finished: Finished | None = None

    def note(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            assert self.finished is None or isinstance(effect, Refuse)
            match effect:
                case Assign():
                    self._assign(effect)
                case Accept():
                    assert self.open.pop(effect.lease).party == effect.party
                    assert 0 < effect.factor <= 1
                    self.accepted.setdefault((effect.round, effect.attempt), {})[effect.lease] = effect.factor
                case Release():
                    assert self.open.pop(effect.lease).party == effect.party
                case Refuse():
                    self._refuse(effect)
                case Commit():
                    self._commit(effect)
                case Abandon():
                    self.accepted.pop((effect.round, effect.attempt), None)
                case WakeAt():
                    self.wakes.append(effect.time)
                case Finished():
                    assert not self.open
                    assert not self.accepted
                    self.finished = effect

    def _assign(self, assign: Assign) -> None:
        assert assign.lease not in self.issued, "a lease number is used twice"
        assert assign.party not in {a.party for a in self.open.values()}, "a party is asked while it is busy"
        key = (assign.party, assign.round, assign.attempt)
        assert key not in self.given, "a party is given a version twice in one attempt"
        self.given.add(key)
        self.open[assign.lease] = self.issued[assign.lease] = assign
        most = self.policy.concurrency if isinstance(self.policy, Buffered) else self.parties
        assert len(self.open) <= most

    def _refuse(self, refuse: Refuse) -> None:
        is_open = refuse.lease in self.open and self.open[refuse.lease].party == refuse.party
        if is_open:
            assert refuse.reason not in (Reason.DUPLICATE, Reason.LATE, Reason.UNKNOWN)
            del self.open[refuse.lease]
            return
        mine = refuse.lease in self.issued and self.issued[refuse.lease].party == refuse.party
        assert refuse.reason in (Reason.DUPLICATE, Reason.LATE, Reason.UNKNOWN)
        if refuse.reason is Reason.DUPLICATE:
            assert mine
            assert refuse.lease in self.counted or any(refuse.lease in leases for leases in self.accepted.values())
        if refuse.reason is Reason.UNKNOWN:
            assert not mine

    def _commit(self, commit: Commit) -> None:
        assert commit.round == len(self.commits) < self.policy.count
        assert len(commit.contributions) >= self.policy.least(self.parties)
        if isinstance(self.policy, Rounds):
            assert len(commit.contributions) <= self.policy.target(self.parties)
        assert all(a.lease < b.lease for a, b in pairwise(commit.contributions)), "not in the order of assignment"
        factors = {counted.lease: counted.factor for counted in commit.contributions}
        assert factors == self.accepted.pop((commit.round, commit.attempt)), "accepted and committed differ"
        assert not self.counted & set(factors), "a contribution is counted twice"
        for counted in commit.contributions:
            assign = self.issued[counted.lease]
            assert (counted.party, counted.version) == (assign.party, assign.round)
            assert counted.version == commit.round or isinstance(self.policy, Buffered)
            assert counted.factor == self.policy.factor(commit.round - counted.version)
            if isinstance(self.policy, Rounds):
                last = self.last_counted.get(counted.party, -self.policy.separation)
                assert commit.round - last >= self.policy.separation, "a party is counted again too soon"
                self.last_counted[counted.party] = commit.round
        self.counted |= set(factors)
        self.commits.append(commit)
