"""Runs: a job carried out by a federation, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from comity.core.checks import described, offers, whole
from comity.core.errors import ConfigError
from comity.jobs.job import Job
from comity.runs.evaluation import Evaluation
from comity.runs.history import History, RoundRecord
from comity.runs.model import TrainedModel


class Callback(Protocol):
    """Something that watches a run. What it returns from `on_round` is None to go on, or the reason to stop."""

    def on_start(self, job: Job, note: str) -> None: ...

    def on_round(self, record: RoundRecord) -> str | None: ...

    def on_end(self, ending: str) -> None: ...


@dataclass(frozen=True)
class Settings:
    """How a run is carried out, apart from what it computes.

    `folder` receives the manifest, the history, checkpoints every `checkpoint_every` rounds and the model; with
    `resume` the run goes on from the last checkpoint there. Without a folder nothing is written.
    """

    folder: Path | None = None
    resume: bool = False
    checkpoint_every: int = 10
    callbacks: Sequence[Callback] = ()

    def __post_init__(self) -> None:
        whole(self, "checkpoint_every", 1)
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(
                f"{self.folder} is a file", where="run.folder", mend="give a folder, or a path not in use"
            )
        if self.resume and self.folder is None:
            raise ConfigError("nothing to resume from", where="run.resume", mend="give the folder of the run")
        for callback in self.callbacks:
            if not offers(callback, "on_start", "on_round", "on_end"):
                raise ConfigError(
                    f"{described(callback)} is no callback",
                    where="run.callbacks",
                    mend="give an object with the methods on_start, on_round and on_end",
                )


class Federation(Protocol):
    """Where the parties are, and how a job reaches them."""

    def carry_out(self, job: Job, settings: Settings) -> Run: ...

    def evaluate(self, run: Run, on: str = "heldout") -> Evaluation: ...


@dataclass(frozen=True, eq=False)
class Run:
    """What a job has come to: the history, the model, and how it ended (`completed`, `stopped`, `interrupted`)."""

    job: Job
    federation: Federation
    history: History
    model: TrainedModel
    ending: str
    detail: str
    engine: str
    folder: Path | None = None
    party_memory: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def evaluate(self, on: str = "heldout") -> Evaluation:
        """The model judged by every party on its own `heldout` (or `train`) examples."""
        return self.federation.evaluate(self, on)


def run(
    job: Job,
    federation: Federation,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int = 10,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
) -> Run:
    """Carry out `job` on `federation` and return what came of it.

    With `folder` the run leaves its manifest, history, checkpoints and model there, and can be resumed after a crash
    with the same result, byte for byte. `progress` shows a live bar. Ctrl-C ends the run after the round that is
    under way; a second one at once. Raises `RunError` when the run cannot reach its end, naming what stopped it.
    """
    if not isinstance(job, Job):
        raise ConfigError(f"{type(job).__name__} is no job", where="run", mend="give ct.Job(program=..., rounds=...)")
    if not hasattr(federation, "carry_out"):
        raise ConfigError(f"{type(federation).__name__} is no federation", where="run", mend="give ct.Simulation(data)")
    if not isinstance(callbacks, Iterable):
        raise ConfigError(f"{described(callbacks)} is no list", where="run.callbacks", mend="give a list of callbacks")
    settings = Settings(None if folder is None else Path(folder), resume, checkpoint_every, tuple(callbacks))
    if progress:
        from comity.runs.progress import Progress

        settings = replace(settings, callbacks=[*callbacks, Progress()])
    return federation.carry_out(job, settings)
