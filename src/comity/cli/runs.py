"""`comity runs`: the runs of a deployment, seen and steered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from comity.cli.connection import LASTING, Conversation, RunName, asking, run_id
from comity.cli.reporting import ExitCode, err, out
from comity.cli.words import group, moment, paragraphs

if TYPE_CHECKING:
    from comity.deployment.client import Client
    from comity.runs.history import History
    from comity.wire.messages import RunFacts

app = group(
    "The runs of a deployment. A run is the server's: it goes on whether or not anybody watches it, and after a crash "
    "of the server or of a node it goes on by itself.",
    "Example: [bold]comity runs list[/bold]",
)

ProgressFlag = Annotated[bool, typer.Option(help="Show a live progress bar.")]
OutFolder = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="Where the files go.", show_default="runs/RUN")
]

_SHOWN = 20
_NAMED = 8


@app.command(
    "list",
    help=paragraphs(
        "Your runs, the newest first; an admin's list has everybody's.", "Example: [bold]comity runs list[/bold]"
    ),
)
@asking
def list_runs(talk: Conversation) -> None:
    runs = talk.get(lambda client: client.runs())
    table = Table(box=SIMPLE_HEAD)
    for heading in ("run", "state", "rounds", "data set", "by", "since"):
        wraps = heading in ("data set", "by")
        table.add_column(heading, justify="right" if heading == "rounds" else "left", no_wrap=not wraps)
    for run in runs:
        rounds = f"{run.rounds:,}/{run.planned:,}"
        table.add_row(run.id, run.state, rounds, run.dataset, run.submitter, moment(run.created))
    talk.tell(runs, table)


@app.command(
    help=paragraphs(
        "A run as it stands: its state, its rounds with their metrics, and every contribution that did not count, "
        "with the reason.",
        "Example: [bold]comity runs show 3f9c[/bold]",
    )
)
@asking
def show(talk: Conversation, run: RunName) -> None:
    facts, history = talk.get(lambda client: _as_it_stands(client, run))
    tables = [facts_table(facts), *([_rounds(history)] if len(history) else [])]
    talk.tell({"run": facts, "rounds": json.loads(history.to_json())}, Group(*tables))
    for rejection in () if talk.as_json else history.rejections():
        out.print(f"[yellow]refused[/yellow]  {escape(str(rejection))}", soft_wrap=True)


@app.command(
    help=paragraphs(
        "Watch a run to its end. Ctrl-C ends the watching, not the run.",
        "Example: [bold]comity runs watch 3f9c[/bold]",
    )
)
@asking
def watch(talk: Conversation, run: RunName, progress: ProgressFlag = True) -> None:
    end(talk, watched(talk, run, None, progress=progress))


@app.command(
    help=paragraphs(
        "Take up a run from here again: watch it to its end, then leave its job, its history and its model in a "
        "folder.",
        "The run itself needs no resuming: the server has every round on its disk and goes on by itself after a "
        "crash, and so does every node. This is for whoever lost the terminal in which it was submitted.",
        "Example: [bold]comity runs resume 3f9c --folder study-1[/bold]",
    )
)
@asking
def resume(talk: Conversation, run: RunName, folder: OutFolder = None, progress: ProgressFlag = True) -> None:
    whole = talk.get(lambda client: run_id(client, run))
    end(talk, watched(talk, whole, folder_of(whole, folder), progress=progress))


@app.command(
    help=paragraphs(
        "End a run after the rounds that it has; its model stays. A run that was stopped does not go on.",
        "Example: [bold]comity runs stop 3f9c[/bold]",
    )
)
@asking
def stop(talk: Conversation, run: RunName) -> None:
    async def ask(client: Client) -> RunFacts:
        return await client.stop(await run_id(client, run))

    facts = talk.get(ask)
    rounds = f"{facts.rounds:,} of {facts.planned:,} rounds"
    talk.tell(facts, f"run {facts.id}: [bold]{facts.state}[/bold] after {rounds}")


@app.command(
    help=paragraphs(
        "Write what the server knows of a run into a folder: run.json, the job's manifest (job.json), the source that "
        "came with it (source/), the history (history.json) and, once there is one, the model (model.safetensors).",
        "Example: [bold]comity runs export 3f9c --folder study-1[/bold]",
    )
)
@asking
def export(talk: Conversation, run: RunName, folder: OutFolder = None) -> None:
    from comity.deployment.export import export as write

    async def ask(client: Client) -> tuple[RunFacts, Path, tuple[str, ...]]:
        facts, history = await _as_it_stands(client, run)
        where = folder_of(facts.id, folder)
        return facts, where, await write(client, facts, history, where)

    facts, where, files = talk.get(ask)
    shown = f"[dim]files[/dim]  {escape(str(where))}: {escape(', '.join(files))}"
    talk.tell({"run": facts.id, "folder": str(where), "files": files}, shown)


def folder_of(run: str, folder: Path | None) -> Path:
    """Where the files of a run go, unless another folder was named."""
    return folder or Path("runs") / run


def watched(talk: Conversation, run: str, folder: Path | None, *, progress: bool) -> RunFacts:
    """Follow a run to its end, for a person with a bar, and leave its files in `folder`, where one is given."""
    from comity.deployment.export import export as write
    from comity.deployment.following import described_job, follow
    from comity.runs.history import History
    from comity.runs.progress import Progress

    found: list[str] = []

    async def ask(client: Client) -> RunFacts:
        found.append(await run_id(client, run))
        job, history = await described_job(client, found[0]), History()
        bars = [Progress(out)] if progress and not talk.as_json else []
        for bar in bars:
            bar.on_start(job, "")
        try:
            facts = await follow(client, found[0], job, history, bars)
        finally:
            for bar in bars:
                bar.on_end("")
        if folder is not None:
            await write(client, facts, history, folder)
        return facts

    try:
        return talk.get(ask, patience=LASTING)
    except KeyboardInterrupt:
        left_alone(found[0] if found else run)


def left_alone(run: str) -> NoReturn:
    """Say that the run goes on without whoever watched it, and end."""
    err.print("[bold yellow]not watching any more; the run goes on[/bold yellow]")
    err.print(f"  [green]→[/green] comity runs resume {escape(run)}, or comity runs stop {escape(run)}", soft_wrap=True)
    raise typer.Exit(ExitCode.INTERRUPTED)


def end(talk: Conversation, facts: RunFacts) -> None:
    """Tell how a run has ended; a failed one ends the command with 1."""
    talk.tell(facts, facts_table(facts))
    if facts.state == "failed":
        raise typer.Exit(ExitCode.FAILED)


def facts_table(facts: RunFacts) -> Table:
    """A run at a glance."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    rows = {
        "run": facts.id,
        "state": f"[bold]{facts.state}[/bold]" + (f": {escape(facts.detail)}" if facts.detail else ""),
        "rounds": f"{facts.rounds:,} of {facts.planned:,}",
        "parties": f"{len(facts.parties):,}: {_names(facts.parties)}",
        "data set": facts.dataset,
        "submitted": f"by {facts.submitter}, {moment(facts.created)}",
        "job": facts.job,
    }
    for heading, text in rows.items():
        table.add_row(heading, text)
    return table


async def _as_it_stands(client: Client, run: str) -> tuple[RunFacts, History]:
    from comity.deployment.following import add_round, described_job
    from comity.runs.history import History

    found = await run_id(client, run)
    job, history, before = await described_job(client, found), History(), 0.0
    news = await client.watch(found, wait=False)
    for facts in news.rounds:
        add_round(history, job, facts, before)
        before = facts.time
    return news.run, history


def _rounds(history: History) -> Table:
    """The last rounds, one a line."""
    table = Table(box=SIMPLE_HEAD)
    names = list(history[-1].train)
    for heading in ("round", "parties", "refused", "seconds", *names):
        table.add_column(heading, justify="right")
    for record in history.rounds[-_SHOWN:]:
        values = [f"{record.train[name]:.4f}" if name in record.train else "" for name in names]
        refused = str(len(record.rejected) or "")
        table.add_row(f"{record.round:,}", f"{record.parties:,}", refused, f"{record.seconds:.2f}", *values)
    return table


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED:,} more"
