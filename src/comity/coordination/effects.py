"""Effects: what the coordinator asks of whoever drives it.

Every `Assign` is ended by exactly one `Accept`, `Refuse` or `Release` that names its lease, and every `Accept` by
exactly one `Commit` or `Abandon` of its round and attempt. A further `Refuse` for a lease that has ended answers a
message that came too late or twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from comity.core.errors import Reason


@dataclass(frozen=True, slots=True)
class Assign:
    """Give a party the model of `round`, under a lease whose number is never used again.

    The lease began at `at` and ends without a result at `expires` (seconds; None: never).
    """

    party: str
    lease: int
    round: int
    attempt: int
    at: float
    expires: float | None


@dataclass(frozen=True, slots=True)
class Accept:
    """Count the contribution of this lease, times `factor`, in this attempt at `round`."""

    party: str
    lease: int
    round: int
    attempt: int
    factor: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not count what came under this lease.

    `Reason.DUPLICATE` says that the lease has been counted already: answer a repeated upload as the first one was.
    """

    party: str
    lease: int
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """Tell a party to stop: the result of this lease is no longer wanted."""

    party: str
    lease: int
    detail: str


@dataclass(frozen=True, slots=True)
class Counted:
    """One contribution of a commit: whose, computed on the model of which version, weighted by which factor."""

    party: str
    lease: int
    version: int
    factor: float


@dataclass(frozen=True, slots=True)
class Commit:
    """Make the new model of `round` from these contributions, in the order in which they were assigned.

    `Aggregated(round)` is expected once that is durable.
    """

    round: int
    attempt: int
    contributions: tuple[Counted, ...]


@dataclass(frozen=True, slots=True)
class Abandon:
    """Forget every contribution accepted in this attempt at `round`."""

    round: int
    attempt: int
    detail: str


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send a `Tick` at `time`, whatever else happens before; earlier wishes stand."""

    time: float


class Ending(StrEnum):
    """How a run came to its end."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over; nothing is outstanding and nothing more will be asked for."""

    ending: Ending
    detail: str = ""


Effect: TypeAlias = Assign | Accept | Refuse | Release | Commit | Abandon | WakeAt | Finished
