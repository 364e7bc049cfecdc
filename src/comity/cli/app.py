"""The commands, gathered. A command is imported when it is asked for, so that a node's process holds a node's code."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from comity import __version__
from comity.cli.words import paragraphs

_HELP = paragraphs(
    "Federated learning: many parties train one model on data that stays where it is.",
    "See it at work in half a minute: [bold]comity demo[/bold]",
    "Run an experiment of your own: [bold]comity run job.py --set program.local.lr=0.05[/bold]",
    "Make a federation of real parties: [bold]comity server init DIR[/bold], which says how to go on.",
)
_EXPERIMENTS, _FEDERATION, _OPERATION = "Experiments", "A federation of real parties", "Its server and its nodes"

_PANELS = {
    "run": _EXPERIMENTS,
    "explain": _EXPERIMENTS,
    "data": _EXPERIMENTS,
    "demo": _EXPERIMENTS,
    "join": _FEDERATION,
    "renew": _FEDERATION,
    "certificate": _FEDERATION,
    "submit": _FEDERATION,
    "runs": _FEDERATION,
    "model": _FEDERATION,
    "nodes": _FEDERATION,
    "server": _OPERATION,
    "node": _OPERATION,
    "registrar": _OPERATION,
}
"""Every command, a module of its name in this folder: there `app` is it, or its group."""


class _Lazy(TyperGroup):
    """A group whose commands are imported one by one."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(Any, dict.fromkeys(_PANELS))  # names, from which the nearest is suggested

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_PANELS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _PANELS:
            return None
        command: Any = get_command(import_module(f"comity.cli.{cmd_name}").app)
        command.name = cmd_name
        command.rich_help_panel = _PANELS[cmd_name]
        return command


app = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    cls=_Lazy,
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


def main() -> None:
    """The entry point of the command `comity`."""
    app()
