"""From counted contributions to models: each commit is aggregated once, and by whoever sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np

from comity.coordination.effects import Commit
from comity.core.errors import ComityError
from comity.runs.figures import metric_value, rising
from comity.server.aggregate import model_parts, next_model, parts_of, round_facts, run_owner
from comity.server.leftovers import Parts, doom_all_but, union
from comity.server.liverun import LiveRun, Model
from comity.server.liveruns import Draft, LiveRuns
from comity.server.meanwhile import meanwhile
from comity.server.observed import Aggregated, Observe, StoreFailed
from comity.store.blobs import Blobs
from comity.store.errors import Absent, Mismatch, StoreError

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_log = logging.getLogger("comity.server")

Metrics: TypeAlias = Mapping[str, tuple[float, ...]]


@dataclass(eq=False)
class Models:
    """The models of `runs`, made one after another; what fails for good in one ends that run and no other."""

    runs: LiveRuns
    blobs: Blobs
    now: Callable[[], float]
    observe: Observe
    _aggregating: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def go_on(self, live: LiveRun) -> None:
        """A commit is aggregated by whoever sees it."""
        run = live.row.id
        if _pending(live) and run not in self._aggregating:
            self._aggregating[run] = asyncio.get_running_loop().create_task(self._aggregate(run))

    async def _aggregate(self, run: str) -> None:
        """Make commits of `run` part of its model, however long the journal or the blobs cannot be reached."""
        pause = _FIRST_PAUSE
        try:
            while True:
                try:
                    commit = _pending(self.runs.get(run))
                    if commit is None:
                        return
                    before = parts_of(self.runs.get(run))
                    made, drafts = await self._outcome(run, commit)
                    after = self.runs.decide(run, drafts)
                    self._doom(union([before, made]), after)
                    await asyncio.to_thread(self.blobs.clear)
                    pause = _FIRST_PAUSE
                except StoreError as error:
                    self.observe(StoreFailed("a round waits for the store", error, run))
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            del self._aggregating[run]

    def _doom(self, before: Mapping[str, set[str]], after: LiveRun) -> None:
        """The parts that a round has used up may go, unless this run, or another that is not over, needs them.

        So may those of a model that another replica has made first: with other noise it is a model of its own.
        """
        doom_all_but(union(parts_of(live) for live in (after, *self.runs.running())), before, self.blobs)

    async def _outcome(self, run: str, commit: Commit) -> tuple[Parts, Callable[[LiveRun], Iterable[Draft]]]:
        """What is to be written down of a commit: its model, the parts of which come with it, or why there is none."""
        live, started = self.runs.get(run), self.now()
        entries = sum(value.size for value in live.job.exchange.contribution.values())
        try:
            made = await meanwhile(4 * entries, next_model, self.blobs, live, commit)
        except ComityError as error:
            if isinstance(error, StoreError) and not isinstance(error, Absent | Mismatch):
                raise
            return {}, partial(_failed, commit, str(error))
        except Exception as error:  # a program's arithmetic: its fault must end the run and not leave it hanging
            _log.exception("round %d cannot be aggregated", commit.round + 1, extra={"run": run})
            return {}, partial(_failed, commit, f"{type(error).__name__}: {error}")
        self.observe(Aggregated(run, commit.round + 1, self.now() - started))
        return {run_owner(run): model_parts(made[0])}, lambda live: self._concluded(live, commit, *made)

    def _concluded(self, live: LiveRun, commit: Commit, model: Model, metrics: Metrics) -> Iterator[Draft]:
        """The new model becomes the run's, which ends here where the job says so."""
        if live.coordinator.pending != commit:
            return
        if self._enough(live, metrics):
            yield "stopped", {}
        facts = round_facts(live, commit, self.now(), metrics)
        carried = live.carried()
        yield (
            "aggregated",
            {"round": commit.round, "facts": facts.model_dump(mode="json"), "carried": carried, **model.to_json()},
        )

    def _enough(self, live: LiveRun, latest: Metrics) -> bool:
        stop = live.job.stop
        if stop is None:
            return False
        name = stop.metric.removeprefix("train_")
        course = [facts.metrics.get(name) for facts in live.rounds] + [latest.get(name)]
        values = [metric_value(live.job, name, np.asarray(row)) for row in course if row is not None]
        return stop.verdict(values, rising(live.job, stop.metric)) is not None

    async def settled(self) -> None:
        """Wait until no aggregation is under way."""
        while self._aggregating:
            await asyncio.gather(*self._aggregating.values())

    async def close(self) -> None:
        """Leave aggregations as they are: the next process takes them up."""
        tasks = list(self._aggregating.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _pending(live: LiveRun) -> Commit | None:
    """The commit that waits for its model, of a run that is not over."""
    return live.coordinator.pending if live.state == "running" else None


def _failed(commit: Commit, detail: str, live: LiveRun) -> Iterator[Draft]:
    if live.coordinator.pending == commit:
        yield "failed", {"detail": f"round {commit.round + 1} cannot be aggregated: {detail}"}
