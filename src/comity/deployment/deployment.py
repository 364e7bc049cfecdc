"""The federation of real parties: the same `run`, and the parties are where their data is."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from comity.coordination.synchronous import Rounds as RoundPolicy
from comity.core import states
from comity.core.arrays import to_numpy
from comity.core.errors import ConfigError, Reason, Rejection, RunError
from comity.core.files import replace_file
from comity.deployment.client import Client, Wanted
from comity.deployment.source import source_of
from comity.identity.folder import IdentityFolder
from comity.jobs.job import Job
from comity.programs.evaluate import Evaluate
from comity.runs.evaluation import Evaluation
from comity.runs.figures import metric_value, metric_values
from comity.runs.folder import RunFolder
from comity.runs.history import Cohort, History, RoundRecord
from comity.runs.model import TrainedModel
from comity.runs.run import Run, Settings
from comity.wire.messages import RoundFacts, RunFacts


@dataclass(frozen=True)
class Deployment:
    """Parties that are nodes of a deployment.

    `url` is the server's address, by default the one that this identity joined by. Who takes part are the nodes that
    offer `dataset` and have all of `tags`, or those in `nodes`. `identity` is the folder of who submits
    (`$COMITY_IDENTITY`, or `.comity` in the home folder). Classes and functions of a job file travel as source text,
    which every party's owner may read, approve or refuse.
    """

    url: str | None = None
    dataset: str = "default"
    nodes: Sequence[str] = ()
    tags: Sequence[str] = ()
    identity: str | Path | None = None

    @property
    def folder(self) -> IdentityFolder:
        return IdentityFolder(Path(self.identity)) if self.identity is not None else IdentityFolder.default()

    def carry_out(self, job: Job, settings: Settings) -> Run:
        """Submit `job` and follow it to its end. Raises `RunError` where it fails; Ctrl-C leaves it running there."""
        return asyncio.run(self._carry_out(job, settings))

    def evaluate(self, run: Run, on: str = "heldout") -> Evaluation:
        """The model of `run` judged by every party, by an `Evaluate` job of its own."""
        if run.job.program.model.layout.local_size:
            raise ConfigError(
                "a part of this model stays at the parties, and belongs to the run it was trained in",
                where="Deployment.evaluate",
                mend="judge it in a simulation",
            )
        program = Evaluate(run.job.program.model, run.model.vector, on)  # type: ignore[arg-type]  # checked by Party
        job = Job(program=program, rounds=RoundPolicy(count=1), seed=run.job.seed)
        history = self.carry_out(job, Settings()).history
        return Evaluation(history[-1].train, history.party_records(), history.rejections())

    async def _carry_out(self, job: Job, settings: Settings) -> Run:
        with tempfile.TemporaryDirectory(prefix="comity-") as scratch:
            folder = RunFolder(settings.folder, job) if settings.folder is not None else None
            async with Client(self.folder, self.url) as client:
                run = await self._begun(client, job, settings, Path(scratch))
                for callback in settings.callbacks:
                    callback.on_start(job, f"deployment {client.membership.deployment}, run {run}")
                history = History()
                facts = await _followed(client, run, job, history, settings)
                for callback in settings.callbacks:
                    callback.on_end(facts.state)
                if facts.state == "failed":
                    raise RunError(facts.detail, where=f"run {run}", mend="see `comity runs show` for what was refused")
                model = await _model(client, facts, job, Path(scratch))
        if folder is not None:
            folder.finish(model, history)
        note = f"deployment, {len(facts.parties)} nodes"
        return Run(job, self, history, model, facts.state, facts.detail, note, settings.folder)

    async def _begun(self, client: Client, job: Job, settings: Settings, scratch: Path) -> str:
        """The id of the run: a new one, or the one that the folder was begun with."""
        if settings.folder is None:
            wanted = Wanted(self.dataset, self.nodes, self.tags)
            return (await client.submit(job, wanted, source_of(job), scratch)).id
        note = settings.folder / "deployment.json"
        if settings.resume and note.exists():
            return str(json.loads(note.read_text("utf-8"))["run"])
        RunFolder(settings.folder, job).begin()
        run = await self._begun(client, job, replace(settings, folder=None), scratch)
        replace_file(note, json.dumps({"run": run}).encode())
        return run


async def _followed(client: Client, run: str, job: Job, history: History, settings: Settings) -> RunFacts:
    """Every round as it comes, to the end of the run."""
    before, stopping = 0.0, False
    while True:
        news = await client.watch(run, len(history))
        for facts in news.rounds:
            history.rounds.append(record := record_of(job, facts, before))
            history.note_parties(cohort_of(job, facts))
            before = facts.time
            reasons = [callback.on_round(record) for callback in settings.callbacks]
            if any(reasons) and not stopping:
                stopping = True
                await client.stop(run)
        if news.run.state != "running" and len(history) >= news.run.rounds:
            return news.run


def record_of(job: Job, facts: RoundFacts, before: float) -> RoundRecord:
    """A round as the history shows it; `before` is when the one before it ended."""
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


def cohort_of(job: Job, facts: RoundFacts) -> Cohort:
    """Who took part in a round, with weights and, where they came in the clear, metrics of their own."""
    metrics = {
        name: np.array([metric_value(job, name, np.asarray(row)) for row in rows]) for name, rows in facts.each.items()
    }
    return Cohort(facts.round, facts.parties, np.asarray(facts.weights, dtype=np.float64), metrics)


async def _model(client: Client, facts: RunFacts, job: Job, scratch: Path) -> TrainedModel:
    file = scratch / "state.safetensors"
    await client.state(facts, file)
    state = states.restore(job.program.init(job.root_seed), load_file(file))
    return TrainedModel(job.program.model, np.array(to_numpy(job.program.weights(state)), dtype=np.float32))
