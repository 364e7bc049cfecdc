"""What commands say: answers for people and for programs, and faults without a Python traceback, with an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from enum import IntEnum
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.text import Text

from comity.core.errors import ComityError, ConfigError, DataError, ManifestError, MissingDependency
from comity.identity.errors import IdentityError


class _Console(Console):
    """Where texts of servers and nodes are shown, too: what is not printable is a dot, so none moves the cursor."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str("".join(c if c.isprintable() or c in "\n\t" else "·" for c in text), **options)


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)


class ExitCode(IntEnum):
    """`FAILED`: a run did not reach its end. `USAGE`: what was asked for cannot be done. `INTERRUPTED`: Ctrl-C."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


@contextmanager
def reported(debug: bool) -> Iterator[None]:
    """Errors of the block become a message on standard error and an exit code; with `debug` the traceback too."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("[bold]interrupted[/bold]")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        # The outermost place of every command: whatever was raised below and is nobody's yet is told here, and ends it.
        if debug:
            err.print_exception()
        show(error)
        raise typer.Exit(code_of(error)) from None


def tell(facts: object, shown: RenderableType, as_json: bool) -> None:
    """`facts` as one line of JSON, for a program; or else what is shown to a person."""
    if as_json:
        typer.echo(json.dumps(facts, default=_fields))
    else:
        out.print(shown, soft_wrap=isinstance(shown, str))


def show(error: Exception) -> None:
    """The message of an error: what was wrong, where, and how to mend it."""
    if not isinstance(error, ComityError):
        err.print(f"[bold red]error[/bold red]  {type(error).__name__}: {escape(str(error))}")
        err.print("  [green]→[/green] repeat the command with --debug to see where it comes from")
        return
    err.print(f"[bold red]error[/bold red]  {escape(error.what)}")
    if error.where:
        err.print(f"  [dim]at[/dim] {escape(error.where)}", soft_wrap=True)
    if error.mend:
        err.print(f"  [green]→[/green] {escape(error.mend)}", soft_wrap=True)  # a command in it must stay whole


def code_of(error: Exception) -> ExitCode:
    """Faults of what was asked for are the user's to mend (2); all others are a failed run (1).

    So are what a server refuses because of who asks or for what (HTTP's 4xx), and an identity that is not there.
    """
    if isinstance(error, ConfigError | DataError | IdentityError | ManifestError | MissingDependency):
        return ExitCode.USAGE
    if 400 <= getattr(error, "status", 0) < 500:
        return ExitCode.USAGE
    return ExitCode.FAILED


def _fields(value: Any) -> object:
    """A message or a dataclass as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.model_dump(mode="json")
