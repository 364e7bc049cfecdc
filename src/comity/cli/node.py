"""`comity node`: a party that holds data."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comity.cli import node_certificate, node_data, node_log, node_policy, node_requests
from comity.cli.node_home import Home, home_at, joined
from comity.cli.reporting import ExitCode, err, reported, tell
from comity.cli.words import AsJson, Debug, group, moment, paragraphs

if TYPE_CHECKING:
    from comity.node.home import NodeHome
    from comity.wire.messages import Member

app = group(
    "A node: a party that holds data, and decides by its owner's policy what is computed on them. It opens one "
    "connection to the server and listens on none.",
    "[bold]comity node join TOKEN[/bold], [bold]comity node data add NAME PATH[/bold], a policy in policy.toml, and "
    "[bold]comity node start[/bold].",
    "The node's folder is ./node, or the one that --home or COMITY_NODE names.",
)
app.add_typer(node_data.app, name="data")
app.add_typer(node_policy.app, name="policy")
app.add_typer(node_requests.app, name="requests")
app.add_typer(node_log.app, name="log")
app.add_typer(node_certificate.app, name="certificate")


@app.command(
    help=paragraphs(
        "Become a node of a deployment, by the invitation that its operator has given you. The node's keys are made "
        "here and never leave; the server that you talk to is the one of the invitation or none.",
        "It leaves a policy that allows nothing: nothing runs here before you say what may.",
        "Example: [bold]comity node join comity1.AbC… --home /srv/comity[/bold]",
    )
)
def join(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The invitation, one line.", show_default=False)],
    home: Home = None,
    proxy: Annotated[
        str, typer.Option("--proxy", metavar="URL", help="A proxy on the way out: http://HOST:PORT.")
    ] = "",
    packages: Annotated[
        list[str] | None,
        typer.Option(
            "--package",
            metavar="NAME",
            help="An installed package whose classes jobs may name, such as sklearn; may be repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        where = home_at(home)
        from comity.node.join import join as become

        config = asyncio.run(become(token, where, time.time, proxy, packages or ()))
        option = f" --home {escape(str(home))}" if home is not None else ""
        shown = (
            f"[bold]{config.name}[/bold] is now a node of {escape(config.deployment)}, in {escape(str(where.path))}\n"
            f"[dim]next[/dim]  comity node data add NAME PATH{option}\n"
            f"      say what may run in {escape(str(where.policy_file))}\n"
            f"      comity node start{option}"
        )
        facts = {"name": config.name, "deployment": config.deployment, "address": config.address}
        tell({**facts, "home": str(where.path)}, shown, as_json)


@app.command(
    help=paragraphs(
        "Work for the deployment until told to stop (Ctrl-C, SIGTERM). The node asks the server for work, judges it "
        "by policy.toml, computes it in a process without keys, and sends what leaves; log.jsonl has all of it.",
        "Whatever happens to the server, the network or this machine: started again, it goes on.",
        "Example: [bold]comity node start --home /srv/comity[/bold]",
    )
)
def start(home: Home = None, debug: Debug = False) -> None:
    with reported(debug):
        where = home_at(home)
        config = where.config
        err.print(
            f"node [bold]{escape(config.name)}[/bold] works for {escape(config.deployment)} at "
            f"{escape(config.address)}; what it does is in {escape(str(where.log_file))}",
            soft_wrap=True,
        )
        sys.stderr.flush()
        # In the place of this process, without what a command line needs: a node is idle most of its life, and small.
        os.execv(sys.executable, [sys.executable, "-P", "-m", "comity.node.process", str(where.path)])


@app.command(
    help=paragraphs(
        "Make new keys for this node and give the server their public halves, signed by the old ones, which it refuses "
        "from then on. A renewal that was cut short is ended by the same command. A node that is at work takes up the "
        "new keys, and renews them by itself in good time.",
        "Example: [bold]comity node renew --home /srv/comity[/bold]",
    )
)
def renew(home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    with reported(debug):
        where = joined(home)
        from comity.identity.keys import fingerprint

        member = asyncio.run(_renewed(where))
        keys = fingerprint(member.signing_key, member.agreement_key)
        shown = (
            f"[bold]{member.name}[/bold] has new keys, good until {moment(member.expires)}\n"
            f"[dim]their fingerprint is {keys}[/dim]"
        )
        tell({"name": member.name, "expires": member.expires, "fingerprint": keys}, shown, as_json)


async def _renewed(where: NodeHome) -> Member:
    from comity.node.reach import reached
    from comity.node.renewal import renew_node

    transport = reached(where)
    try:
        return await renew_node(where, transport, time.time)
    finally:
        await transport.close()


@app.command(
    help=paragraphs(
        "Check everything that a node needs, each by itself: clock, name, certificate, proxy, keys, versions, disk, "
        "data, policy, and what the system allows; and say what to do where something is wrong.",
        "Ends with 1 where a check fails.",
        "Example: [bold]comity node doctor[/bold]",
    )
)
def doctor(home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    with reported(debug):
        where = home_at(home)
        from comity.node.doctor import examine

        findings = asyncio.run(examine(where, time.time))
        lines: list[str] = []
        for finding in findings:
            sign = "[green]ok[/green]  " if finding.ok else "[bold red]NO[/bold red]  "
            lines.append(f"{sign}{escape(finding.check)}: {escape(finding.detail)}")
            if not finding.ok and finding.mend:
                lines.append(f"    [green]→[/green] {escape(finding.mend)}")
        tell(findings, "\n".join(lines), as_json)
        if not all(finding.ok for finding in findings):
            raise typer.Exit(ExitCode.FAILED)
