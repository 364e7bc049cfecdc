"""Words of the command line: help texts, options that several commands share, durations, names and moments."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from comity.core.errors import ConfigError

Debug = Annotated[
    bool, typer.Option("--debug", envvar="COMITY_DEBUG", help="Show Python's traceback when something goes wrong.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace a field of the job or the federation, by its dotted path; may be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def paragraphs(*texts: str) -> str:
    """A help text of several paragraphs."""
    return "\n\n".join(texts)


def group(*texts: str) -> typer.Typer:
    """A group of commands with this help."""
    return typer.Typer(help=paragraphs(*texts), no_args_is_help=True, rich_markup_mode="rich")


def alone(command: Callable[..., Any], help: str) -> typer.Typer:
    """One command by itself."""
    app = typer.Typer(rich_markup_mode="rich", add_completion=False)
    app.command(help=help)(command)
    return app


def duration(text: str, where: str) -> float:
    """Seconds of a text like 90s, 30m, 12h or 1d. Raises `ConfigError`."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise ConfigError(f"{text!r} is no duration", where=where, mend="write 90s, 30m, 12h or 7d")
    return float(found[1]) * _SECONDS[found[2]]


def name(text: str, where: str) -> str:
    """A name as members, deployments, tags and data sets have it. Raises `ConfigError` for what is none."""
    from pydantic import TypeAdapter, ValidationError

    from comity.wire.messages import Name

    try:
        return TypeAdapter(Name).validate_python(text)
    except ValidationError:
        mend = "use letters, digits, '.', '_' and '-', at most 64"
        raise ConfigError(f"{text!r} is no name", where=where, mend=mend) from None


def moment(seconds: float) -> str:
    """A time, given in seconds since 1970, to the minute, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")
