"""`comity submit`: a job file carried out by the nodes of a deployment."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comity.cli.connection import Conversation, asking
from comity.cli.prepare import prepare
from comity.cli.reporting import out
from comity.cli.runs import OutFolder, ProgressFlag, end, folder_of, watched
from comity.cli.words import Assignments, alone, paragraphs
from comity.core.errors import RunError

if TYPE_CHECKING:
    from comity.deployment.client import Client, Wanted
    from comity.deployment.deployment import Deployment
    from comity.wire.messages import Member, RunFacts

_GATHERING = 120.0
_LOOK = 0.5

SUBMIT = paragraphs(
    "Submit a job file to the nodes of a deployment, which decide each by its owner's policy.",
    "A job file defines [bold]job[/bold] (a ct.Job). If it defines [bold]federation[/bold] = ct.Deployment(…), that "
    "says who takes part; options come before it. A job file for a simulation is taken as it is: its data stay "
    "unused, for every node has its own.",
    "Example: [bold]comity submit job.py --dataset patients --tag oncology --watch[/bold]",
    "Without --watch the run's id is printed, and the run goes on at the server: [bold]comity runs watch RUN[/bold].",
)


@asking
def submit(
    talk: Conversation,
    file: Annotated[Path, typer.Argument(metavar="JOB.PY", help="The job file.", show_default=False)],
    assignments: Assignments = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME", help="The nodes' data set.", show_default="the file's, or default"),
    ] = None,
    nodes: Annotated[
        list[str] | None,
        typer.Option("--node", metavar="NAME", help="Who takes part; may be repeated.", show_default="all that can"),
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Only nodes with this tag; may be repeated."),
    ] = None,
    wait_for: Annotated[
        int, typer.Option("--wait-for", min=0, metavar="N", help="First wait until so many such nodes are there.")
    ] = 0,
    watch: Annotated[bool, typer.Option("--watch", help="Show its progress, to its end.")] = False,
    folder: OutFolder = None,
    progress: ProgressFlag = True,
) -> None:
    from comity.deployment.client import Wanted
    from comity.deployment.deployment import Deployment
    from comity.deployment.source import source_of

    prepared = prepare(file, assignments or ())
    told = prepared.federation if isinstance(prepared.federation, Deployment) else Deployment()
    where = _overridden(told, dataset, nodes, tags, talk)
    talk = replace(talk, identity=where.folder.path, server=where.url)
    source = source_of(prepared.job)

    async def ask(client: Client) -> RunFacts:
        wanted = Wanted(where.dataset, where.nodes, where.tags)
        await _gathered(client, wanted, wait_for)
        with tempfile.TemporaryDirectory(prefix="comity-") as scratch:
            return await client.submit(prepared.job, wanted, source, Path(scratch), secrets.token_hex(8))

    facts = talk.get(ask)
    if not (watch and talk.as_json):
        talk.tell(facts, _submitted(facts, source))
    if watch:
        kept = folder_of(facts.id, folder)
        ended = watched(talk, facts.id, kept, progress=progress)
        if not talk.as_json:
            out.print(f"[dim]files[/dim]  {escape(str(kept))}", soft_wrap=True)
        end(talk, ended)


async def _gathered(client: Client, wanted: Wanted, count: int) -> None:
    """Wait until `count` nodes that can take part have been heard of. Raises `RunError` where they do not come."""
    until, there = time.monotonic() + _GATHERING, 0
    while count:
        fits = [member for member in await client.nodes() if _fits(member, wanted)]
        if (there := len(fits)) >= count:
            return
        if time.monotonic() > until:
            raise RunError(
                f"{there} of {count} nodes are there after {_GATHERING:.0f} seconds",
                where=f"data set {wanted.dataset}",
                mend="see who is missing: comity nodes list",
            )
        await asyncio.sleep(_LOOK)


def _fits(member: Member, wanted: Wanted) -> bool:
    """Whether a node would take part, as the server will see it."""
    named = not wanted.nodes or member.name in wanted.nodes
    offers = wanted.dataset in member.datasets and set(wanted.tags) <= set(member.tags)
    return member.role == "node" and not member.revoked and member.seen is not None and named and offers


def _overridden(
    told: Deployment,
    dataset: str | None,
    nodes: list[str] | None,
    tags: list[str] | None,
    talk: Conversation,
) -> Deployment:
    """The job file's federation, with the options that were given in the place of its fields."""
    from comity.deployment.deployment import Deployment

    return Deployment(
        url=talk.server or told.url,
        dataset=dataset or told.dataset,
        nodes=nodes or told.nodes,
        tags=tags or told.tags,
        identity=talk.identity or told.identity,
    )


def _submitted(facts: RunFacts, source: dict[str, str]) -> str:
    lines = [f"run [bold]{facts.id}[/bold], {len(facts.parties):,} nodes: {', '.join(facts.parties)}"]
    if source:
        lines.append(f"[dim]with the source of {escape(', '.join(source))}, which every owner may read first[/dim]")
    return "\n".join([*lines, f"[dim]watch[/dim]  comity runs watch {facts.id}"])


app = alone(submit, SUBMIT)
