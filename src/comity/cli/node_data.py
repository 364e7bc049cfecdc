"""`comity node data`: the data sets of a node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from comity.cli.node_home import Home, joined
from comity.cli.reporting import out, reported, tell
from comity.cli.words import AsJson, Debug, group, paragraphs

if TYPE_CHECKING:
    from comity.node.data import DataRegistry
    from comity.node.entries import Entry, Facts

app = group(
    "The data sets of this node: CSV, Parquet and npz files, which stay where they are. Their names are told to the "
    "server, so that jobs can ask for them; nothing else is.",
    "Example: [bold]comity node data add patients records.csv --target outcome[/bold]",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The data set's name.", show_default=False)]
_DEFAULT_HELDOUT = 0.2


@app.command(
    help=paragraphs(
        "Register a file under the name by which jobs ask for it: all nodes of a study use the same name, columns and "
        "units. Its rows and columns are looked at now.",
        "Example: [bold]comity node data add patients records.csv --target outcome --feature age --feature bmi[/bold]",
        "An npz file holds x_train and y_train, and x_heldout and y_heldout if you like; it needs no target.",
    )
)
def add(
    name: Name,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A .csv, .parquet or .npz file.", show_default=False)],
    target: Annotated[str, typer.Option("--target", metavar="COLUMN", help="The column to predict.")] = "",
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--feature",
            metavar="COLUMN",
            help="A column to learn from; may be repeated, and the order counts.",
            show_default="all but the target",
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="TEXT", help="A value of a text target, in the order of their numbers."),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option("--encoder", metavar="JSON", help="An encoder that the parties have agreed on.")
    ] = None,
    heldout: Annotated[
        float, typer.Option("--heldout", metavar="SHARE", help="The share of rows that are not trained on.")
    ] = _DEFAULT_HELDOUT,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Draws the held-out rows.")] = 7,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        registry = _registry(home)
        from comity.node.entries import Entry

        entry = Entry(
            name=name,
            path=path,
            target=target,
            features=tuple(features) if features else None,
            labels=tuple(labels or ()),
            encoder=None if encoder is None else encoder.expanduser().resolve(),
            heldout=heldout,
            seed=seed,
        )
        facts = registry.add(entry)
        read = ", ".join(entry.columns(facts))
        shown = (
            f"[bold]{name}[/bold]: {facts.rows:,} rows; jobs read {escape(read)}\n"
            "[dim]what may run on it is for policy.toml to say: comity node policy show[/dim]"
        )
        tell(_facts(registry.entry(name), facts), shown, as_json)


@app.command(
    "list",
    help=paragraphs("Every data set, with what is known of its file.", "Example: [bold]comity node data list[/bold]"),
)
def list_data(home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    with reported(debug):
        registry = _registry(home)
        found = [(entry, registry.describe(entry.name)) for entry in registry.entries()]
        table = Table(box=SIMPLE_HEAD)
        for heading in ("name", "rows", "read", "sealed", "file"):
            table.add_column(heading, justify="right" if heading == "rows" else "left")
        for entry, facts in found:
            columns = escape(", ".join(entry.columns(facts)))
            table.add_row(
                entry.name, f"{facts.rows:,}", columns, "yes" if entry.sealed else "no", escape(str(entry.path))
            )
        shown = table if found else "there is none yet: comity node data add NAME PATH"
        tell([_facts(entry, facts) for entry, facts in found], shown, as_json)


@app.command(
    help=paragraphs(
        "Forget a data set. Its file stays where it is.", "Example: [bold]comity node data remove patients[/bold]"
    )
)
def remove(name: Name, home: Home = None, debug: Debug = False) -> None:
    with reported(debug):
        gone = _registry(home).remove(name)
        out.print(f"[bold]{name}[/bold] is no data set any more; its file is still {escape(str(gone.path))}")


@app.command(
    help=paragraphs(
        "Seal a data set's file at rest (AES-256-GCM) and delete the plain one. From then on the file is opened in a "
        "task's process alone, with the key that you name:",
        "file:PATH (outside the data's folder, readable by you alone), env:NAME, or command:WORDS, whose output it is.",
        "Example: [bold]comity node data seal patients --new-key /etc/comity/patients.key[/bold]",
        "Without the key the data are lost. Keep a copy of it, and not with the data.",
    )
)
def seal(
    name: Name,
    key: Annotated[str | None, typer.Option("--key", metavar="SOURCE", help="Where the key comes from.")] = None,
    new_key: Annotated[
        Path | None, typer.Option("--new-key", metavar="FILE", help="Make a key and keep it in this file.")
    ] = None,
    home: Home = None,
    debug: Debug = False,
) -> None:
    with reported(debug):
        registry = _registry(home)
        sealed = registry.seal(name, _key_source(registry, name, key, new_key))
        out.print(f"[bold]{name}[/bold] is sealed: {escape(str(sealed.path))}, opened by {escape(str(sealed.key))}")


@app.command(
    help=paragraphs(
        "Put the plain file of a sealed data set back, readable by its owner alone, and delete the sealed one.",
        "Example: [bold]comity node data unseal patients[/bold]",
    )
)
def unseal(name: Name, home: Home = None, debug: Debug = False) -> None:
    with reported(debug):
        plain = _registry(home).unseal(name)
        out.print(f"[bold]{name}[/bold] is in the plain again: {escape(str(plain.path))}")


def _registry(home: Path | None) -> DataRegistry:
    node = joined(home)
    from comity.node.data import DataRegistry

    return DataRegistry(node.path)


def _key_source(registry: DataRegistry, name: str, key: str | None, new_key: Path | None) -> str:
    """Where the key is, once a new one has been made where that was asked for. Raises `ConfigError`."""
    from comity.core.errors import ConfigError
    from comity.node.seal_key import SealKey

    if key is not None and new_key is None:
        return key
    if key is None and new_key is not None:
        file = new_key.expanduser().resolve()
        SealKey.new().save(file, apart_from=registry.entry(name).path.parent)
        return f"file:{file}"
    mend = "give --key file:PATH, env:NAME or command:WORDS, or --new-key FILE"
    raise ConfigError("one key is needed", where="--key, --new-key", mend=mend)


def _facts(entry: Entry, facts: Facts) -> dict[str, object]:
    return {
        "name": entry.name,
        "path": str(entry.path),
        "rows": facts.rows,
        "columns": list(entry.columns(facts)),
        "target": entry.target,
        "sealed": entry.sealed,
        "heldout": entry.heldout,
    }
