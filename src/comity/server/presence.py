"""Who is there: parties that ask for work at this moment, and those that have been heard of lately."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

from comity.store.journal import Journal


@dataclass(eq=False)
class Presence:
    """A party that has not been heard of for `absence` seconds is gone; nobody is before this process is so old. One
    whose membership was revoked is gone at once, and is not waited for in the rounds that follow.

    What other replicas have heard is in the journal, and is looked up before anybody is taken for gone.
    """

    journal: Journal
    now: Callable[[], float]
    absence: float
    _seen: dict[str, float] = field(default_factory=dict)
    _written: dict[str, float] = field(default_factory=dict)
    _asking: dict[str, int] = field(default_factory=dict)
    _revoked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._started = self.now()

    @contextmanager
    def asking(self, party: str) -> Iterator[None]:
        """The party is there for the length of the block."""
        self._revoked.discard(party)  # a new member of this name
        self._hear(party)
        self._asking[party] = self._asking.get(party, 0) + 1
        try:
            yield
        finally:
            self._asking[party] -= 1
            self._hear(party)

    def revoke(self, party: str) -> None:
        """It does not come back, unless somebody joins under its name."""
        self._revoked.add(party)

    def _hear(self, party: str) -> None:
        at = self._seen[party] = self.now()
        if at - self._written.get(party, 0.0) > self.absence / 4:
            self.journal.saw(party, at)
            self._written[party] = at

    def lasts(self, party: str, since: float = 0.0) -> float:
        """Until when the party is there unless it is heard of again; it is given the whole absence from `since` on."""
        if party in self._revoked:
            return 0.0
        if self._asking.get(party):
            return inf
        return max(self._seen.get(party, 0.0), self._started, since) + self.absence

    def reason(self, party: str) -> str:
        """Why it is gone."""
        if party in self._revoked:
            return "its membership was revoked"
        return f"not heard of for {self.absence:g} seconds"

    def count(self) -> int:
        """How many parties have been heard of here within `absence` seconds."""
        return sum(at + self.absence > self.now() or self._asking.get(party, 0) > 0 for party, at in self._seen.items())

    def gone(self, parties: Iterable[str], since: float = 0.0) -> set[str]:
        """Those of the parties that are not there now."""
        late = {party for party in parties if self.lasts(party, since) <= self.now()}
        for party in late:
            member = self.journal.member(party)
            if member is not None and member.revoked:
                self._revoked.add(party)
                continue
            self._revoked.discard(party)  # another replica has heard of a new member of this name
            if member is not None and member.seen is not None:
                self._seen[party] = max(self._seen.get(party, 0.0), member.seen)
        return {party for party in late if self.lasts(party, since) <= self.now()}
