"""What a journal holds, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comity.core.manifest import Json


@dataclass(frozen=True)
class Record:
    """Something that happened to a run. `seq` counts from 1 without gaps; `at` is the server's time."""

    run: str
    seq: int
    at: float
    kind: str
    body: Json


@dataclass(frozen=True)
class RunRow:
    """What is known of a run beside its records; `version` is the `seq` of its last record."""

    id: str
    job: str
    submitter: str
    state: str
    detail: str
    created: float
    dataset: str
    manifest: str
    layout: str
    source: str | None
    source_digest: str | None
    parties: tuple[str, ...]
    version: int = 0


@dataclass(frozen=True)
class AuditRow:
    """Who did what: `digest` is over the row and `previous`, the digest of the row before it."""

    seq: int
    at: float
    who: str
    action: str
    detail: Json
    previous: str
    digest: str
