"""Carrying out a job: the loop, and around it evaluation, history, checkpoints, callbacks and Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from comity.coordination.effects import Ending
from comity.core.arrays import to_numpy
from comity.core.errors import ConfigError, Reason, RunError
from comity.jobs.job import Job
from comity.learners.base import Trainer
from comity.runs.figures import metric_values, rising
from comity.runs.folder import RunFolder
from comity.runs.history import History, RoundRecord
from comity.runs.model import TrainedModel
from comity.runs.run import Callback, Run, Settings
from comity.simulation.choose import choose
from comity.simulation.loop import Committed, Loop
from comity.simulation.tasks import Engine

if TYPE_CHECKING:
    from comity.simulation.simulation import Simulation

_MENDS = {
    Reason.NOT_FINITE: "the loss diverges: lower the learning rate, or bound the gradient with clip_norm",
    Reason.LOST: "lower the quorum, select more parties (over_select), or raise the deadline",
}


class Execution:
    """One run. `memory` is what parties keep from an earlier one."""

    def __init__(
        self,
        simulation: Simulation,
        job: Job,
        settings: Settings,
        memory: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.simulation = simulation
        self.job = job
        self.settings = settings
        self.memory = memory or {}
        self.history = History()
        if job.stop is not None and not job.stop.metric.startswith("train_") and simulation.data.test is None:
            raise ConfigError(
                f"{job.stop.metric} is measured on a common test set, and this federation has none",
                where="job.stop.metric",
                mend="stop by train_loss, or give the federation a test set",
            )
        self.folder = RunFolder(settings.folder, job) if settings.folder is not None else None
        self._judge: Trainer | None = None
        self._interrupted = False
        self._ending = "failed"

    def run(self) -> Run:
        job, simulation = self.job, self.simulation
        with ExitStack() as stack:
            engine = choose(job, simulation)
            stack.callback(engine.close)
            loop = self._loop(engine)
            stack.callback(loop.close)
            stack.enter_context(self._deferred_interrupt())
            for callback in self.settings.callbacks:
                callback.on_start(job, engine.why)
                stack.callback(self._tell_end, callback)
            self._ending, detail = self._rounds(loop)
            model = TrainedModel(
                job.program.model, np.array(to_numpy(job.program.weights(loop.state)), dtype=np.float32)
            )
        if self.folder is not None and self._ending != "interrupted":
            self.folder.finish(model, self.history)
        return Run(
            job, simulation, self.history, model, self._ending, detail, engine.why, self.settings.folder, loop.memory
        )

    def _tell_end(self, callback: Callback) -> None:
        callback.on_end(self._ending)

    def _loop(self, engine: Engine) -> Loop:
        job, data, devices = self.job, self.simulation.data, self.simulation.devices
        if self.folder is not None and self.settings.resume:
            checkpoint, self.history = self.folder.resume()
            return Loop.restore(job, data, devices, engine, checkpoint.arrays, checkpoint.facts)
        if self.folder is not None:
            self.folder.begin()
        return Loop.start(job, data, devices, engine, self.memory)

    def _rounds(self, loop: Loop) -> tuple[str, str]:
        """Commit after commit to the end of the run: how it ended, and in words."""
        stopped = None
        started = perf_counter()
        while (committed := loop.advance()) is not None:
            record = self._record(loop, committed, perf_counter() - started)
            started = perf_counter()
            stopped = self._reason_to_stop(record)
            if stopped is not None:
                loop.stop()
            loop.proceed()
            self._save(loop, record)
            if self._interrupted and loop.finished is None:
                return "interrupted", f"interrupted after round {record.round}"
        if loop.finished is not None and loop.finished.ending is Ending.FAILED:
            if self.folder is not None:
                self.folder.note(self.history)
            raise self._failure(loop, loop.finished.detail)
        if stopped is not None:
            return "stopped", stopped
        assert loop.finished is not None
        return loop.finished.ending.value, loop.finished.detail

    def _record(self, loop: Loop, committed: Committed, seconds: float) -> RoundRecord:
        number, collected = committed.round + 1, committed.collected
        record = RoundRecord(
            round=number,
            time=committed.time,
            seconds=seconds,
            parties=committed.aggregate.count,
            bytes_up=collected.bytes_up,
            bytes_down=collected.bytes_down,
            train=metric_values(self.job, committed.aggregate.metrics),
            test=self._test(loop, number),
            rejected=tuple(collected.rejected),
        )
        self.history.rounds.append(record)
        self.history.note_parties(collected.cohort())
        return record

    def _test(self, loop: Loop, number: int) -> Mapping[str, float]:
        """Metrics of the new model on the common test set, in the rounds in which they are wanted.

        A model of which a part stays at the parties is not whole here, and not judged.
        """
        test, model = self.simulation.data.test, self.job.program.model
        last = number == self.job.rounds.count
        if test is None or not self.job.exchange.contribution or model.layout.local_size:
            return {}
        if number % self.job.evaluate_every and not last:
            return {}
        if self._judge is None:
            self._judge = model.build(self.simulation.hardware)
        statistics = self._judge.evaluate(self.job.program.weights(loop.state), None, [test])
        return metric_values(self.job, {name: rows[0] for name, rows in statistics.items()})

    def _reason_to_stop(self, record: RoundRecord) -> str | None:
        stop = self.job.stop
        reasons = (
            [stop.verdict(self.history.column(stop.metric), rising(self.job, stop.metric))] if stop is not None else []
        )
        reasons += [callback.on_round(record) for callback in self.settings.callbacks]
        return next((reason for reason in reasons if reason), None)

    def _save(self, loop: Loop, record: RoundRecord) -> None:
        due = record.round % self.settings.checkpoint_every == 0 or loop.finished is not None or self._interrupted
        if self.folder is not None and due:
            self.folder.checkpoint(*loop.snapshot(), self.history)

    def _failure(self, loop: Loop, detail: str) -> RunError:
        last = loop.last_rejection
        if last is None:
            return RunError(detail, where=f"job {self.job.id[:12]}", mend="lower the quorum or raise the deadline")
        what, _, mend = last.detail.partition("\n  → ")
        last = replace(last, detail=what)
        mend = mend or _MENDS.get(last.reason, "mend what the last refusal names")
        return RunError(f"{detail}; the last refusal: {last}", where=f"job {self.job.id[:12]}", mend=mend)

    @contextmanager
    def _deferred_interrupt(self) -> Iterator[None]:
        """The first Ctrl-C ends the run after the round under way, a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def note(number: int, frame: Any) -> None:
            self._interrupted = True
            sys.stderr.write("\nThe run ends after the round that is under way; Ctrl-C again ends it at once.\n")
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
