"""`comity explain`: what a job would take from a party, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comity.cli.prepare import prepare
from comity.cli.reporting import out, reported
from comity.cli.words import Assignments, Debug, alone, paragraphs
from comity.jobs.explain import human_bytes

EXPLAIN = paragraphs(
    "Show every value that would leave a party: its size, who can read it, and what it costs in privacy. "
    "Nothing is trained.",
    "Example: [bold]comity explain job.py[/bold]",
    "With [bold]--json[/bold] the job's id and its manifest, the text that a data owner can approve, go to standard "
    "output: [bold]comity explain job.py --json > job.json[/bold]",
)


def explain(
    file: Annotated[Path, typer.Argument(metavar="JOB.PY", help="The job file.", show_default=False)],
    assignments: Assignments = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print id, manifest and sizes as JSON.")] = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        job = prepare(file, assignments or ()).job
        explanation = job.explain()
        if as_json:
            facts = {
                "id": job.id,
                "manifest": job.manifest(),
                "leaves": [vars(line) for line in explanation.leaving],
                "received_bytes": explanation.received_bytes,
            }
            typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
            return
        out.print(explanation.table())
        up, down = human_bytes(explanation.sent_bytes), human_bytes(explanation.received_bytes)
        out.print(f"[dim]each round[/dim]  {up} up and {down} down for every party that takes part")
        program = type(job.program).__name__
        out.print(f"[dim]job[/dim]         {job.id}")
        out.print(f"[dim]program[/dim]     {escape(program)}, {job.rounds.count} rounds")


app = alone(explain, EXPLAIN)
