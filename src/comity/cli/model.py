"""`comity model`: the models that runs have made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comity.cli.connection import LASTING, Conversation, RunName, asking, run_id
from comity.cli.reporting import err
from comity.cli.words import Assignments, group, paragraphs

if TYPE_CHECKING:
    from comity.deployment.client import Client

app = group("The models that runs have made.", "Example: [bold]comity model pull 3f9c --out model.safetensors[/bold]")


@app.callback()
def _group() -> None:
    """A group of one command stays a group."""


@app.command(
    help=paragraphs(
        "Download the model of a run, as it is after its last round, as named arrays (safetensors).",
        "Example: [bold]comity model pull 3f9c --out model.safetensors[/bold]",
        "Layers that were not trained never left the submitter's machine; with [bold]--job job.py[/bold] they are in "
        "the file as well.",
    )
)
@asking
def pull(
    talk: Conversation,
    run: RunName,
    path: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")] = Path(
        "model.safetensors"
    ),
    file: Annotated[Path | None, typer.Option("--job", metavar="JOB.PY", help="The run's job file.")] = None,
    assignments: Assignments = None,
) -> None:
    from comity.cli.prepare import prepare
    from comity.deployment.export import save_model

    job = None if file is None else prepare(file, assignments or ()).job

    async def ask(client: Client) -> tuple[str, int, tuple[str, ...]]:
        found = (await client.watch(await run_id(client, run), wait=False)).run
        return found.id, found.rounds, await save_model(client, found, path, job)

    id, rounds, missing = talk.get(ask, patience=LASTING)
    facts = {"run": id, "rounds": rounds, "file": str(path), "missing": missing}
    talk.tell(facts, f"the model of run {id} after {rounds:,} rounds is in {escape(str(path))}")
    if missing and not talk.as_json:
        err.print(f"[yellow]{len(missing)} arrays that do not travel are missing: {escape(missing[0])} …[/yellow]")
        err.print("  [green]→[/green] name the job file to have those that were not trained: --job JOB.PY")
