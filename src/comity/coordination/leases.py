"""Leases: who works on what, until when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from typing import Any, NamedTuple

from comity.coordination.effects import Assign


class Lease(NamedTuple):
    """One assignment that has not ended, and the party's position in the population."""

    position: int
    assign: Assign


class Leases:
    """The assignments that have not ended, oldest first.

    All leases of a run last equally long and time does not go backwards, so the oldest is also the first to expire.
    """

    __slots__ = ("_open", "issued")

    def __init__(self) -> None:
        self.issued = 0
        self._open: dict[int, Lease] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._open.values())

    def issue(self, position: int, party: str, round: int, attempt: int, at: float, expires: float | None) -> Assign:
        assign = Assign(party, self.issued, round, attempt, at, expires)
        self._open[self.issued] = Lease(position, assign)
        self.issued += 1
        return assign

    def end(self, party: str, lease: int) -> Lease | None:
        """Take the lease out if it is open and this party's; otherwise None."""
        found = self._open.get(lease)
        if found is None or found.assign.party != party:
            return None
        return self._open.pop(lease)

    def is_open(self, lease: int) -> bool:
        return lease in self._open

    def first_expiry(self) -> float | None:
        for lease in self._open.values():
            return lease.assign.expires
        return None

    def expire(self, now: float) -> list[Lease]:
        """Take out every lease whose time is over."""
        over = []
        while (expiry := self.first_expiry()) is not None and expiry <= now:
            over.append(self._open.pop(next(iter(self._open))))
        return over

    def clear(self) -> list[Lease]:
        """Take out all of them."""
        leases = list(self._open.values())
        self._open.clear()
        return leases

    def snapshot(self) -> dict[str, Any]:
        return {"issued": self.issued, "open": [[lease.position, *astuple(lease.assign)] for lease in self]}

    @classmethod
    def restore(cls, snapshot: dict[str, Any]) -> Leases:
        leases = cls()
        leases.issued = snapshot["issued"]
        for position, *fields in snapshot["open"]:
            assign = Assign(*fields)
            leases._open[assign.lease] = Lease(position, assign)
        return leases
