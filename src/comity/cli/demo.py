"""`comity demo`: a federated run on real data from one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comity.cli.reporting import out, reported
from comity.cli.words import Debug, alone, paragraphs

DEMO = paragraphs(
    "Train a PyTorch model across 40 parties that never share their data, in less than a minute.",
    "It compares the result with training on pooled data and with every party training alone, and leaves the model, "
    "the history and a picture in a folder.",
    "Example: [bold]comity demo --folder first-run[/bold]",
)


def demo(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = Path("comity-demo"),
    seed: Annotated[int, typer.Option(metavar="N", help="Seeds the split, the model and the training.")] = 7,
    debug: Debug = False,
) -> None:
    with reported(debug):
        from comity.demo.show import show

        show(folder, seed, out)


app = alone(demo, DEMO)
