"""A run followed from here: its rounds as they come, and what it has come to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from comity.core import states
from comity.core.arrays import to_numpy
from comity.core.errors import Reason, Rejection, RunError
from comity.deployment.client import Client
from comity.jobs.job import Job
from comity.runs.figures import metric_value, metric_values
from comity.runs.history import Cohort, History, RoundRecord
from comity.runs.run import Callback
from comity.server.description import described
from comity.wire.messages import RoundFacts, RunFacts


async def follow(client: Client, run: str, job: Job, history: History, callbacks: Sequence[Callback] = ()) -> RunFacts:
    """Every round into `history` as it comes, to the end of the run; what a callback returns stops the run there."""
    before, stopping = history[-1].time if len(history) else 0.0, False
    while True:
        news = await client.watch(run, len(history))
        for facts in news.rounds:
            add_round(history, job, facts, before)
            before = facts.time
            reasons = [callback.on_round(history[-1]) for callback in callbacks]
            if any(reasons) and not stopping:
                stopping = True
                await client.stop(run)
        if news.run.state != "running" and len(history) >= news.run.rounds:
            return news.run


async def described_job(client: Client, run: str) -> Job:
    """The job of a run as the server tells it: with a model that is only described, so no library is needed."""
    text = await client.job(run)
    return described(text.manifest, text.layout)


def check_job(job: Job, facts: RunFacts) -> None:
    """Raises `RunError` where the run is of another job."""
    if job.id != facts.job:
        raise RunError(
            f"this is job {job.id[:12]}, and the run is of job {facts.job[:12]}",
            where=f"run {facts.id}",
            mend="give the job that was submitted; on the command line, repeat the --set values that it had",
        )


async def final_weights(client: Client, facts: RunFacts, job: Job, scratch: Path) -> NDArray[np.float32]:
    """The travelling vector `[D]` of the model after the last round. Raises `RunError` where there is none yet."""
    if facts.model is None:
        raise RunError("this run has no model yet", where=f"run {facts.id}", mend=f"comity runs watch {facts.id}")
    file = scratch / "state.safetensors"
    await client.state(facts, file)
    state = states.restore(job.program.init(job.root_seed), load_file(file))
    return np.array(to_numpy(job.program.weights(state)), dtype=np.float32)


def add_round(history: History, job: Job, facts: RoundFacts, before: float) -> None:
    """A round as the history shows it; `before` is when the one before it ended.

    Metrics that a job brings with it mean nothing where its code is not, and are left out there.
    """
    known = {"loss", *(metric.name for metric in job.program.model.metrics)}
    metrics = {name: row for name, row in facts.metrics.items() if name in known}
    each = {name: rows for name, rows in facts.each.items() if name in known}
    facts = facts.model_copy(update={"metrics": metrics, "each": each})
    history.rounds.append(_record(job, facts, before))
    history.note_parties(_cohort(job, facts))


def _record(job: Job, facts: RoundFacts, before: float) -> RoundRecord:
    return RoundRecord(
        round=facts.round,
        time=facts.time,
        seconds=facts.time - before,
        parties=len(facts.parties),
        bytes_up=facts.bytes_up,
        bytes_down=facts.bytes_down,
        train=metric_values(job, {name: np.asarray(row) for name, row in facts.metrics.items()}),
        rejected=tuple(Rejection(party, facts.round, Reason(why), detail) for party, why, detail in facts.refused),
    )


def _cohort(job: Job, facts: RoundFacts) -> Cohort:
    """Who took part in a round, with weights and, where they came in the clear, metrics of their own."""
    metrics = {
        name: np.array([metric_value(job, name, np.asarray(row)) for row in rows]) for name, rows in facts.each.items()
    }
    return Cohort(facts.round, facts.parties, np.asarray(facts.weights, dtype=np.float64), metrics)
