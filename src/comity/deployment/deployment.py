"""The federation of real parties: the same `run`, and the parties are where their data is."""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comity.coordination.synchronous import Rounds as RoundPolicy
from comity.core.errors import ConfigError, MissingDependency, RunError
from comity.core.files import replace_file
from comity.deployment.source import source_of
from comity.jobs.job import Job
from comity.programs.evaluate import Evaluate
from comity.runs.evaluation import Evaluation
from comity.runs.folder import RunFolder
from comity.runs.history import History
from comity.runs.model import TrainedModel
from comity.runs.run import Run, Settings

if TYPE_CHECKING:
    from comity.deployment.client import Client
    from comity.identity.folder import IdentityFolder


@dataclass(frozen=True)
class Deployment:
    """Parties that are nodes of a deployment.

    `url` is the server's address, by default the one that this identity joined by. Who takes part are the nodes that
    offer `dataset` and have all of `tags`, or those in `nodes`. `identity` is the folder of who submits
    (`$COMITY_IDENTITY`, or `.comity` in the home folder). Classes and functions of a job file travel as source text,
    which every party's owner may read, approve or refuse.

    The server sees each party's contribution by itself: its vectors, its weight (as a rule the number of rows) and its
    sums of metrics. `job.explain()` says what that costs.
    """

    url: str | None = None
    dataset: str = "default"
    nodes: Sequence[str] = ()
    tags: Sequence[str] = ()
    identity: str | Path | None = None

    def __post_init__(self) -> None:
        MissingDependency.check(("aiohttp", "cryptography", "pydantic"), "node", "a deployment")

    @property
    def folder(self) -> IdentityFolder:
        from comity.identity.folder import IdentityFolder

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
        from comity.deployment.client import Client
        from comity.deployment.following import final_weights, follow

        with tempfile.TemporaryDirectory(prefix="comity-") as scratch:
            folder = RunFolder(settings.folder, job) if settings.folder is not None else None
            async with Client(self.folder, self.url) as client:
                run = await self._begun(client, job, settings, Path(scratch))
                for callback in settings.callbacks:
                    callback.on_start(job, f"deployment {client.membership.deployment}, run {run}")
                history, ending = History(), "interrupted"
                try:
                    facts = await follow(client, run, job, history, settings.callbacks)
                    ending = facts.state
                finally:
                    for callback in settings.callbacks:
                        callback.on_end(ending)
                if facts.state == "failed":
                    raise RunError(facts.detail, where=f"run {run}", mend="see `comity runs show` for what was refused")
                model = TrainedModel(job.program.model, await final_weights(client, facts, job, Path(scratch)))
        if folder is not None:
            folder.finish(model, history)
        note = f"deployment, {len(facts.parties)} nodes"
        return Run(job, self, history, model, facts.state, facts.detail, note, settings.folder)

    async def _begun(self, client: Client, job: Job, settings: Settings, scratch: Path) -> str:
        """The id of the run: a new one, or that of the folder. Raises `RunError` where that is of another job."""
        from comity.deployment.client import Wanted
        from comity.deployment.following import check_job

        run = secrets.token_hex(8)
        if settings.folder is not None:
            note = settings.folder / "deployment.json"
            if settings.resume and note.exists():
                run = str(json.loads(note.read_text("utf-8"))["run"])
                if (before := await client.find(run)) is not None:
                    check_job(job, before)
                    return run
            else:
                RunFolder(settings.folder, job).begin()
                # Before the run begins: whatever happens on the way, the folder knows which run is its own.
                replace_file(note, json.dumps({"run": run}).encode())
        wanted = Wanted(self.dataset, self.nodes, self.tags)
        return (await client.submit(job, wanted, source_of(job), scratch, run)).id
