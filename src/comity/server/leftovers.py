"""Parts that no run needs any more: of uploads that came to nothing, and of rounds whose end a crash has cut off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from comity.server.aggregate import model_parts, parts_of, run_owner
from comity.server.liverun import Model
from comity.server.liveruns import LiveRuns
from comity.store.blobs import Blobs
from comity.store.journal import Journal

Parts: TypeAlias = Mapping[str, set[str]]
"""Digests by their owner."""


@dataclass(frozen=True)
class Found:
    """What lies in the store since before some time, what runs that are over need of it, and the other runs."""

    old: Parts
    kept: Parts
    running: tuple[str, ...]


def look(journal: Journal, blobs: Blobs, before: float) -> Found:
    """Look through all that there is, which takes its time and changes nothing; `before` is in seconds since 1970."""
    old: dict[str, set[str]] = {}
    for part in blobs.each():
        if part.written < before:
            old.setdefault(part.owner, set()).add(part.digest)
    over, running = [], []
    for row in journal.runs():
        if row.state == "running":
            running.append(row.id)
        elif run_owner(row.id) in old:
            over.append(_last_model(journal, row.id))
    return Found(old, union(over), tuple(running))


def _last_model(journal: Journal, run: str) -> Parts:
    last = journal.last(run, "aggregated") or journal.last(run, "started")
    body: Any = None if last is None else last.body
    return {} if body is None else {run_owner(run): model_parts(Model.of(body))}


def let_go(found: Found, runs: LiveRuns, blobs: Blobs) -> None:
    """Doom of the old parts what no run needs. Raises `Unreadable` where nobody can tell what one needs."""
    doom_all_but(union([found.kept, *(parts_of(runs.get(run)) for run in found.running)]), found.old, blobs)


def union(parts: Iterable[Parts]) -> dict[str, set[str]]:
    """All of them, by owner."""
    together: dict[str, set[str]] = {}
    for each in parts:
        for owner, digests in each.items():
            together.setdefault(owner, set()).update(digests)
    return together


def doom_all_but(kept: Parts, candidates: Parts, blobs: Blobs) -> None:
    """Doom of the candidates what is not kept: at once, before anybody can contribute what is thought to be unused."""
    for owner, digests in candidates.items():
        blobs.doom(owner, digests - kept.get(owner, set()))
