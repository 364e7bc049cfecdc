"""`comity node policy`: what may run at a node, and why."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from comity.cli.node_home import Home, joined
from comity.cli.reporting import ExitCode, out, reported, tell
from comity.cli.words import AsJson, Debug, group, paragraphs
from comity.core.errors import ManifestError

if TYPE_CHECKING:
    from comity.node.home import NodeHome
    from comity.node.policy import Proposal

app = group(
    "The owner's policy: which jobs may run on which data. What no rule allows is refused.",
    "Example: [bold]comity node policy check job.json --dataset patients[/bold]",
)


@app.command(
    help=paragraphs(
        "Print the policy as it stands, once it has been checked; a slip in it is named by its table and its key.",
        "Example: [bold]comity node policy show[/bold]",
    )
)
def show(home: Home = None, debug: Debug = False) -> None:
    with reported(debug):
        node = joined(home)
        from comity.node.policy import Policy

        policy = Policy.load(node.policy_file)
        if not policy.exists:
            out.print(f"there is no {escape(str(node.policy_file))}, so everything is refused")
            out.print(f"[dim]begin with[/dim]  comity node policy starter > {escape(str(node.policy_file))}")
            return
        typer.echo(node.policy_file.read_text("utf-8").rstrip())
        asks = "others are refused" if policy.ask is None else "others may wait for you, as [ask] says"
        out.print(f"[dim]in force: {len(policy.allow)} \\[\\[allow]] tables; {escape(asks)}[/dim]")


@app.command(
    help=paragraphs(
        "Print a policy to begin with, in which every rule is explained and none is in force.",
        "Example: [bold]comity node policy starter > node/policy.toml[/bold]",
    )
)
def starter(home: Home = None, debug: Debug = False) -> None:
    with reported(debug):
        node = joined(home)
        from comity.node.data import DataRegistry
        from comity.node.policy import starter as first

        typer.echo(first([entry.name for entry in DataRegistry(node.path).entries()]), nl=False)


@app.command(
    help=paragraphs(
        "Say, line by line, what the policy makes of a job, without running anything. JOB.JSON is what "
        "`comity explain --json` prints, or the job.json of a run.",
        "Ends with 0 where the job is allowed, and with 1 where it is refused or waits for you.",
        "Example: [bold]comity node policy check job.json --dataset patients --submitter analyst --parties 4[/bold]",
    )
)
def check(
    file: Annotated[Path, typer.Argument(metavar="JOB.JSON", help="The job's manifest.", show_default=False)],
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="On which data.", show_default="the only one")
    ] = None,
    submitter: Annotated[str, typer.Option("--submitter", metavar="NAME", help="Who sends it.")] = "somebody",
    parties: Annotated[int, typer.Option("--parties", min=1, metavar="N", help="How many take part.")] = 1,
    source: Annotated[
        str | None, typer.Option("--source", metavar="DIGEST", help="The digest of the code that comes with it.")
    ] = None,
    bytes_up: Annotated[int, typer.Option("--bytes-up", min=0, metavar="N", help="Bytes that leave a round.")] = 0,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        node = joined(home)
        from comity.node.policy import Policy, judge
        from comity.node.requests import Requests

        proposal = _proposal(node, *_job(file), dataset, submitter, parties, source, bytes_up)
        approved = Requests(node.path, time.time).approved()
        ruling = judge(Policy.load(node.policy_file), proposal, approved)
        shown = [f"[{'green' if line.ok else 'red'}]{escape(str(line))}[/]" for line in ruling.lines]
        shown.append(f"[bold]{ruling.verdict}[/bold]: {escape(ruling.reason)}")
        facts = {"verdict": ruling.verdict, "reason": ruling.reason, "lines": ruling.lines}
        tell(facts, "\n".join(shown), as_json)
        if ruling.verdict != "allowed":
            raise typer.Exit(ExitCode.FAILED)


def _job(file: Path) -> tuple[str, Any]:
    """The id and the manifest of the job in a file of either kind, read as agents do. Raises `ManifestError`."""
    from comity.core.manifest import canonical
    from comity.node.policy import read_manifest
    from comity.wire.digests import sha256

    mend = "comity explain job.py --json > job.json"
    try:
        node = json.loads(file.read_text("utf-8"))
        if isinstance(node, dict) and isinstance(node.get("manifest"), dict):
            node = node["manifest"]
        text = canonical(node)
        id = sha256(text.encode())
    except (OSError, ValueError, RecursionError) as error:
        raise ManifestError(f"this is no manifest: {error}", where=str(file), mend=mend) from None
    if not isinstance(node, dict) or "job" not in node:
        raise ManifestError("this is no manifest of a job", where=str(file), mend=mend)
    return id, read_manifest(text, id)


def _proposal(
    node: NodeHome,
    job: str,
    manifest: Any,
    dataset: str | None,
    submitter: str,
    parties: int,
    source: str | None,
    bytes_up: int,
) -> Proposal:
    """The job as it would be proposed to this node, on its own data."""
    from comity.core.errors import ConfigError
    from comity.node.data import DataRegistry
    from comity.node.days import DayCounter
    from comity.node.policy import Proposal

    registry = DataRegistry(node.path)
    names = [entry.name for entry in registry.entries()]
    if dataset is None and len(names) != 1:
        mend = f"there are: {', '.join(names)}" if names else "comity node data add NAME PATH"
        raise ConfigError("which data set?", where="--dataset", mend=mend)
    entry = registry.entry(dataset or names[0])
    facts = registry.describe(entry.name)
    return Proposal(
        job=job,
        manifest=manifest,
        submitter=submitter,
        dataset=entry.name,
        rows=facts.rows,
        columns=entry.columns(facts),
        parties=parties,
        source=source,
        bytes_up=bytes_up,
        rounds_today=DayCounter(node.path, time.time).today(entry.name),
    )
