"""`comity run`: carry out a job file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal, NoReturn

import typer
from rich.markup import escape

from comity.cli.jobfile import federation_of
from comity.cli.prepare import Prepared, prepare
from comity.cli.reporting import ExitCode, err, out, reported
from comity.cli.summary import spreads, summary
from comity.cli.words import Assignments, Debug, alone, paragraphs
from comity.core.errors import ConfigError
from comity.jobs.job import Job
from comity.runs.evaluation import Evaluation
from comity.runs.history import RoundRecord
from comity.runs.progress import Progress
from comity.runs.run import Callback, Run
from comity.runs.run import run as carry_out

RUN = paragraphs(
    "Carry out a job file, show its progress, and leave the model and its history in a folder.",
    "A job file is a Python file of your own that defines [bold]job[/bold] (a ct.Job) and [bold]federation[/bold] "
    "(a ct.Simulation).",
    "Example: [bold]comity run job.py --set program.local.lr=0.05 --set rounds.count=50[/bold]",
    "After Ctrl-C, a crash or a power cut: [bold]comity run job.py --resume[/bold] goes on where the last checkpoint "
    "left off, with the same result as if nothing had happened.",
)

_CHECKPOINT_EVERY = 10


def run(
    file: Annotated[Path, typer.Argument(metavar="JOB.PY", help="The job file.", show_default=False)],
    assignments: Assignments = None,
    engine: Annotated[
        Literal["auto", "batched", "resident", "workers"] | None,
        typer.Option(
            metavar="NAME",
            help="How parties are computed: auto, batched, resident or workers.",
            show_default="the file's",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Worker processes.", show_default="one for each core")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Where models compute: cpu, cuda, cuda:1, mps.", show_default="the file's"),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the run leaves its files.", show_default="runs/FILE-JOBID")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")] = False,
    progress: Annotated[bool, typer.Option(help="Show a live progress bar.")] = True,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="At the end, every party judges the model on its held-out examples.")
    ] = False,
    checkpoint_every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Rounds between checkpoints.")
    ] = _CHECKPOINT_EVERY,
    debug: Debug = False,
) -> None:
    with reported(debug):
        options = {"engine": engine, "workers": workers, "device": device}
        prepared = prepare(file, assignments or (), options)
        federation = federation_of(prepared.file)
        where = folder or default_folder(file, prepared.job)
        again = _command(file, assignments or [], options, folder, checkpoint_every)
        if not resume:
            _check_folder(where, prepared.job, again)
        _announce(prepared, where, resume)
        callbacks: list[Callback] = [_Engine(), *([Progress(out)] if progress else [])]
        started = perf_counter()
        try:
            result = carry_out(
                prepared.job,
                federation,
                folder=where,
                resume=resume,
                checkpoint_every=checkpoint_every,
                callbacks=callbacks,
            )
        except KeyboardInterrupt:
            _interrupted("interrupted in the middle of a round", where, again)
        if result.ending == "interrupted":
            _interrupted(result.detail, where, again)
        seconds = perf_counter() - started
        _tell(result, where, seconds, result.evaluate() if evaluate else None)


def default_folder(file: Path, job: Job) -> Path:
    """`runs/NAME-ID`: the job file's name and the first 8 digits of the job's id."""
    return Path("runs") / f"{file.stem}-{job.id[:8]}"


class _Engine:
    """A callback that says which engine runs, and why."""

    def on_start(self, job: Job, note: str) -> None:
        out.print(f"[dim]engine[/dim]  {escape(note)}")

    def on_round(self, record: RoundRecord) -> str | None:
        return None

    def on_end(self, ending: str) -> None:
        pass


def _command(
    file: Path, assignments: list[str], options: Mapping[str, object], folder: Path | None, checkpoint_every: int
) -> str:
    """The command that goes on with this run."""
    words = ["comity", "run", str(file)]
    for assignment in assignments:
        words += ["--set", assignment]
    for name, value in options.items():
        words += [f"--{name}", str(value)] if value is not None else []
    words += ["--folder", str(folder)] if folder is not None else []
    words += ["--checkpoint-every", str(checkpoint_every)] if checkpoint_every != _CHECKPOINT_EVERY else []
    return shlex.join([*words, "--resume"])


def _check_folder(folder: Path, job: Job, again: str) -> None:
    """Raise `ConfigError` where the folder holds a run already, saying how to go on with it."""
    if not any((folder / name).exists() for name in ("checkpoint.safetensors", "model.safetensors")):
        return
    manifest = folder / "job.json"
    if manifest.is_file() and manifest.read_text() == job.to_json():
        raise ConfigError(
            "this folder holds a run of the same job",
            where=str(folder),
            mend=f"go on with it: {again}\n    or choose another folder: --folder DIR",
        )
    raise ConfigError("this folder holds a run of another job", where=str(folder), mend="choose another: --folder DIR")


def _announce(prepared: Prepared, folder: Path, resume: bool) -> None:
    verb = "going on with" if resume else "running"
    out.print(f"[bold]{verb}[/bold] {escape(str(prepared.file.path))}, job {prepared.job.id[:12]}")
    out.print(f"[dim]folder[/dim]  {escape(str(folder))}")


def _interrupted(detail: str, folder: Path, again: str) -> NoReturn:
    err.print(f"[bold yellow]{escape(detail)}[/bold yellow]")
    if (folder / "checkpoint.safetensors").exists():
        err.print(f"  [green]→[/green] go on with it: {escape(again)}", soft_wrap=True)
    else:
        err.print("  [green]→[/green] there was no checkpoint yet; start again")
    raise typer.Exit(ExitCode.INTERRUPTED)


def _tell(result: Run, folder: Path, seconds: float, evaluation: Evaluation | None) -> None:
    out.print(summary(result, seconds))
    if evaluation is not None:
        out.print(spreads(result, evaluation))
    out.print(f"[dim]files[/dim]   {escape(str(folder))}: " + ", ".join(sorted(p.name for p in folder.iterdir())))


app = alone(run, RUN)
