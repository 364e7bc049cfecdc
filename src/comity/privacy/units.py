"""Whose data a guarantee covers. The units are types of their own: an ε for one says nothing of another.

An ε is a bound on how much of what anybody can learn may depend on one unit's data. Sums of losses over different
units have no meaning, so `Release` and `Account` carry their unit as a type parameter, and refuse a mixture when run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True)
class RecordLevel:
    """One record, whichever party holds it. A person with records at several parties is covered for each alone."""

    def __str__(self) -> str:
        return "one record"


@dataclass(frozen=True)
class PartyLevel:
    """Everything that one party holds."""

    def __str__(self) -> str:
        return "all of one party's data"


@dataclass(frozen=True)
class PartySampleLevel:
    """One record of one party, against everybody else: each party has an ε of its own."""

    def __str__(self) -> str:
        return "one record of one party, against everybody but that party"


Unit = RecordLevel | PartyLevel | PartySampleLevel

U = TypeVar("U", RecordLevel, PartyLevel, PartySampleLevel)
"""One of the units, and never a mixture."""
