"""The commands, gathered: `comity run`, `explain`, `data` and `demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from comity import __version__
from comity.cli import data
from comity.cli.demo import DEMO, demo
from comity.cli.explain import EXPLAIN, explain
from comity.cli.run import RUN, run
from comity.cli.words import paragraphs

_HELP = paragraphs(
    "Federated learning: many parties train one model on data that stays where it is.",
    "See it at work in half a minute: [bold]comity demo[/bold]",
    "Run an experiment of your own: [bold]comity run job.py --set program.local.lr=0.05[/bold]",
)

app = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"comity {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


app.command(help=RUN)(run)
app.command(help=EXPLAIN)(explain)
app.add_typer(data.app, name="data")
app.command(help=DEMO)(demo)


def main() -> None:
    """The entry point of the command `comity`."""
    app()
