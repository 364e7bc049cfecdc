"""Parts that no run needs any more: of uploads that came to nothing, and of rounds whose end a crash has cut off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from comity.server.aggregate import model_parts, parts_of, run_owner
from comity.server.liverun import Model
from comity.server.liveruns import LiveRuns
from comity.store.blobs import Blobs
from comity.store.journal import Journal

Parts: TypeAlias = Mapping[str, set[str]]
"""Digests by their owner."""


def parts_before(blobs: Blobs, at: float) -> dict[str, set[str]]:
    """All parts that were written before `at` (seconds since 1970)."""
    found: dict[str, set[str]] = {}
    for part in blobs.each():
        if part.written < at:
            found.setdefault(part.owner, set()).add(part.digest)
    return found


def needed(journal: Journal, runs: LiveRuns) -> dict[str, set[str]]:
    """What the runs of the journal need: all of those that go on, and the last model of those that are over.

    Raises `Unreadable` where one that goes on cannot be read.
    """
    return union(_needed(journal, runs, row.id, row.state) for row in journal.runs())


def _needed(journal: Journal, runs: LiveRuns, run: str, state: str) -> Parts:
    if state == "running":
        return parts_of(runs.get(run))
    last = journal.last(run, "aggregated") or journal.last(run, "started")
    body: Any = None if last is None else last.body
    return {} if body is None else {run_owner(run): model_parts(Model.of(body))}


def union(parts: Iterable[Parts]) -> dict[str, set[str]]:
    """All of them, by owner."""
    together: dict[str, set[str]] = {}
    for each in parts:
        for owner, digests in each.items():
            together.setdefault(owner, set()).update(digests)
    return together


def drop_all_but(kept: Parts, candidates: Parts, blobs: Blobs) -> None:
    """Drop of the candidates what is not kept."""
    for owner, digests in candidates.items():
        blobs.drop(owner, sorted(digests - kept.get(owner, set())))
