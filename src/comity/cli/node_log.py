"""`comity node log`: what a node was asked, what it decided, and what left."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comity.cli.node_home import Home, joined
from comity.cli.reporting import ExitCode, err, out, reported
from comity.cli.words import AsJson, Debug, group, moment, paragraphs

app = group(
    "The node's log: what it was asked, what it decided, what left it (bytes and digest). Each entry pins all entries "
    "before it, so that none can be changed or taken out unseen.",
    "Example: [bold]comity node log verify[/bold]",
)


@app.command(
    help=paragraphs(
        "The last entries, or those of one kind: ruling, refusal, leaving, verdict, fault …",
        "Example: [bold]comity node log show --kind leaving --last 50[/bold]",
    )
)
def show(
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="So many entries.")] = 20,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Only those of this kind.")] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Only those of this run.")] = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        file = joined(home).log_file
        from comity.node.log import entries

        wanted = (
            entry
            for entry in (entries(file) if file.exists() else ())
            if kind in (None, entry.kind) and (run is None or str(entry.facts.get("run", "")).startswith(run))
        )
        for entry in deque(wanted, maxlen=last):
            if as_json:
                typer.echo(json.dumps(asdict(entry)))
                continue
            facts = "  ".join(f"{name}={_short(value)}" for name, value in entry.facts.items())
            out.print(
                f"[dim]{entry.seq:>6} {moment(entry.at)}[/dim]  [bold]{escape(entry.kind)}[/bold]  {escape(facts)}",
                soft_wrap=True,
            )


@app.command(
    help=paragraphs(
        "Check every entry of the log against the one before it. Keep the hash that it prints: with --head HASH a "
        "later check also tells whether entries are missing at the end.",
        "Ends with 1 where the log does not hold.",
        "Example: [bold]comity node log verify[/bold]",
    )
)
def verify(
    head: Annotated[str | None, typer.Option("--head", metavar="HASH", help="An entry known from before.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="LOG", help="Another log.", show_default="the node's")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        log = file or joined(home).log_file
        from comity.node.log import verify as check

        checked = check(log, head)
        if as_json:
            typer.echo(json.dumps({**asdict(checked), "sound": checked.sound}))
        else:
            (out if checked.sound else err).print(escape(str(checked)), soft_wrap=True)
        if not checked.sound:
            raise typer.Exit(ExitCode.FAILED)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    plain = "".join(c if c.isprintable() else "·" for c in text)
    return plain if len(plain) <= 64 else f"{plain[:63]}…"
