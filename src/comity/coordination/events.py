"""Events: what the coordinator is told. Each says when it happened, in seconds on whatever clock drives the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from comity.core.errors import Reason


@dataclass(frozen=True, slots=True)
class Start:
    """The run begins."""

    now: float


@dataclass(frozen=True, slots=True)
class Contributed:
    """A party's contribution has arrived, and the admission checks have passed it."""

    now: float
    party: str
    lease: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A party's contribution has arrived and the admission checks have refused it, or its own training raised."""

    now: float
    party: str
    lease: int
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """A party will not deliver: it is offline, its connection is gone, or it has crashed."""

    now: float
    party: str
    lease: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; the answer to `WakeAt`. A tick too many does no harm."""

    now: float


@dataclass(frozen=True, slots=True)
class Aggregated:
    """The server has made the new model of `round` durable: what `Commit` asked for is done."""

    now: float
    round: int


@dataclass(frozen=True, slots=True)
class Stop:
    """The run should end early and gracefully: early stopping, or the owner's wish."""

    now: float


Event: TypeAlias = Start | Contributed | Rejected | Lost | Tick | Aggregated | Stop
