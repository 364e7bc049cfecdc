"""What goes wrong, told without a Python traceback, and the exit code that says what kind of fault it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer
from rich.console import Console
from rich.markup import escape

from comity.core.errors import ComityError, ConfigError, DataError, ManifestError, MissingDependency
from comity.identity.errors import IdentityError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


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
    except Exception as error:
        if isinstance(error, typer.Exit | typer.Abort | typer.BadParameter):
            raise
        if debug:
            err.print_exception()
        show(error)
        raise typer.Exit(code_of(error)) from None


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
