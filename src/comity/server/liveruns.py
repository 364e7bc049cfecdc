"""The runs that are not over, each as its journal says, and the one way to change them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from comity.coordination.effects import Effect
from comity.server.errors import NotFound, Unreadable
from comity.server.liverun import LiveRun
from comity.server.observed import Observe, begun, written
from comity.store.journal import Journal
from comity.store.rows import Record, RunRow

_log = logging.getLogger("comity.server")

Draft: TypeAlias = tuple[str, Mapping[str, Any]]
"""A record before it is written: its kind and its body."""


@contextmanager
def unread(run: str) -> Iterator[None]:
    """Go on without a run that cannot be read, and say so in the log."""
    try:
        yield
    except Unreadable as error:
        _log.error("left out: %s", error, extra={"run": run})


@dataclass(eq=False)
class LiveRuns:
    """Every change is decided on what a run is and appended behind what it was decided on; where another replica was
    faster, the run is read anew and the decision is made again.

    `changed(run, effects)` is told what has become of a run, after it is in the journal; `observe` what this replica
    has written there. Every method may raise `StoreError`; what is held here is then read anew before it is looked at
    again.
    """

    journal: Journal
    now: Callable[[], float]
    changed: Callable[[LiveRun, Sequence[Effect]], None]
    observe: Observe
    _held: dict[str, LiveRun | None] = field(default_factory=dict)

    def get(self, run: str) -> LiveRun:
        """The run as it stands. Raises `NotFound`."""
        live = self._held.get(run)
        if live is None:
            row = self.journal.run(run)
            if row is None:
                raise NotFound(f"there is no run {run}")
            live = LiveRun.load(row, self.journal.records(run, 0))
            self._hold(live, ())
        return live

    def running(self) -> list[LiveRun]:
        """Those that are not over."""
        return [live for live in map(self.get, list(self._held)) if live.state == "running"]

    def load(self) -> None:
        """Take up every run of the journal that is not over and can be read."""
        for row in self.journal.runs(state="running"):
            with unread(row.id):
                self.get(row.id)

    def begin(self, row: RunRow, records: Sequence[Record]) -> LiveRun:
        """A new run with its first records."""
        self.journal.begin(row, records)
        live = self.get(row.id)
        for happening in begun(live):
            self.observe(happening)
        return live

    def decide(self, run: str, drafts: Callable[[LiveRun], Iterable[Draft]]) -> LiveRun:
        """Append what `drafts` makes of the run. Each draft is applied before the next one is asked for."""
        while True:
            live = self.get(run)
            effects: list[Effect] = []
            records: list[Record] = []
            at, after = self.now(), live.seq
            # What is applied here may not get into the journal: until it is there, nothing is held.
            self._held[run] = None
            for kind, body in drafts(live):
                records.append(Record(run, live.seq + 1, at, kind, dict(body)))
                effects += live.apply(records[-1])
            ended = (live.state, live.detail) if live.state != "running" else None
            if not records or self.journal.append(run, after, records, ended):
                self._hold(live, effects)
                for happening in written(live, records, effects) if records else ():
                    self.observe(happening)
                return live

    def refresh(self, run: str) -> None:
        """Another replica has appended to a run that may be held here: follow it."""
        live = self._held.get(run)
        if live is None:
            self.get(run)
            return
        self._held[run] = None
        effects = [effect for record in self.journal.records(run, live.seq) for effect in live.apply(record)]
        self._hold(live, effects)

    def _hold(self, live: LiveRun, effects: Sequence[Effect]) -> None:
        """Runs that are over are read when they are asked for."""
        if live.state == "running":
            self._held[live.row.id] = live
        else:
            self._held.pop(live.row.id, None)
        self.changed(live, effects)
