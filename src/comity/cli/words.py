"""Words of the command line: paragraphs of a help text, and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

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


def paragraphs(*texts: str) -> str:
    """A help text of several paragraphs."""
    return "\n\n".join(texts)
