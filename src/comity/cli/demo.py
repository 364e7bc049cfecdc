"""`comity demo`: a federated run on real data from one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comity.cli.reporting import out, reported
from comity.cli.words import Debug, alone, paragraphs
from comity.core.errors import ConfigError

DEMO = paragraphs(
    "Train a PyTorch model across 40 parties that never share their data, in less than a minute.",
    "It compares the result with training on pooled data and with every party training alone, and leaves the model, "
    "the history and a picture in a folder.",
    "Example: [bold]comity demo --folder first-run[/bold]",
    "With [bold]--deployed[/bold] the parties are real: a server and four nodes on this machine, processes of their "
    "own that speak over TLS, each node with its own slice of the data and its own policy. All end with the demo.",
)


def demo(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = Path("comity-demo"),
    seed: Annotated[int, typer.Option(metavar="N", help="Seeds the split, the model and the training.")] = 7,
    deployed: Annotated[bool, typer.Option("--deployed", help="With a server and four nodes.")] = False,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, metavar="N", help="Rounds, with --deployed.", show_default="30")
    ] = None,
    debug: Debug = False,
) -> None:
    with reported(debug):
        if deployed:
            from comity.demo.deployed import ROUNDS
            from comity.demo.deployed import show as show_deployed

            show_deployed(folder, seed, rounds or ROUNDS, out)
            return
        if rounds is not None:
            raise ConfigError("this demo has rounds of its own", where="--rounds", mend="add --deployed")
        from comity.demo.show import show

        show(folder, seed, out)


app = alone(demo, DEMO)
