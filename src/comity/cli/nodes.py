"""`comity nodes`: who belongs to a deployment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from comity.cli import words
from comity.cli.connection import Conversation, asking
from comity.cli.reporting import err
from comity.cli.words import group, moment, paragraphs

if TYPE_CHECKING:
    from comity.deployment.client import Client
    from comity.wire.messages import Member

app = group(
    "The members of a deployment: its nodes, which hold data, and its people.",
    "Example: [bold]comity nodes list[/bold]",
)

_SOON = 30 * 86400.0

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that `comity nodes list` shows.", show_default=False)]


@app.command(
    "list",
    help=paragraphs(
        "Every member: its role, the data sets that a node offers, its tags, and when it was last heard of.",
        "Example: [bold]comity nodes list --json[/bold]",
    ),
)
@asking
def list_nodes(talk: Conversation) -> None:
    async def ask(client: Client) -> tuple[Sequence[Member], str]:
        return await client.nodes(), client.membership.name

    members, me = talk.get(ask)
    table = Table(box=SIMPLE_HEAD)
    for heading in ("name", "role", "data sets", "tags", "last heard of", "keys good until"):
        table.add_column(heading, no_wrap=heading not in ("data sets", "tags"))
    for member in members:
        table.add_row(*_row(member), style="dim strike" if member.revoked else None)
    talk.tell(members, table)
    mine = next((member for member in members if member.name == me), None)
    if mine is not None and mine.expires - time.time() < _SOON:
        err.print(f"[bold]your own keys end at {moment(mine.expires)}[/bold]: comity renew")


@app.command(
    help=paragraphs(
        "End a membership at once: from now on the server refuses whatever is signed with its keys, and a round that "
        "waits for it goes on without it. To come back it needs a new invitation.",
        "Example: [bold]comity nodes revoke st-mary[/bold]",
    )
)
@asking
def revoke(talk: Conversation, name: Name) -> None:
    named = words.name(name, "NAME")
    member = talk.get(lambda client: client.revoke(named))
    talk.tell(member, f"[bold]{member.name}[/bold] is revoked")


@app.command(
    help=paragraphs(
        "Give a node these tags in the place of those it has; without any, it has none. Jobs choose nodes by tags.",
        "Example: [bold]comity nodes tag st-mary oncology europe[/bold]",
    )
)
@asking
def tag(
    talk: Conversation,
    name: Name,
    tags: Annotated[list[str] | None, typer.Argument(metavar="TAG…", help="All its tags.", show_default=False)] = None,
) -> None:
    named, wanted = words.name(name, "NAME"), [words.name(tag, "TAG") for tag in tags or ()]
    member = talk.get(lambda client: client.tag(named, wanted))
    talk.tell(member, f"[bold]{member.name}[/bold] has {', '.join(member.tags) or 'no tags'}")


def _row(member: Member) -> tuple[str, ...]:
    seen = "" if member.role != "node" else "never" if member.seen is None else moment(member.seen)
    until = f"revoked {moment(member.expires)}" if member.revoked else moment(member.expires)
    return member.name, member.role, "\n".join(member.datasets), "\n".join(member.tags), seen, until
