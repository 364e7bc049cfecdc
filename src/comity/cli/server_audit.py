"""`comity server audit`: who did what at a server, asked of it or read from its folder."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comity.cli.connection import Conversation, asking
from comity.cli.reporting import out
from comity.cli.server_home import opened
from comity.cli.words import group, moment, paragraphs

if TYPE_CHECKING:
    from comity.deployment.client import Client
    from comity.store.chain import Head
    from comity.store.rows import AuditRow

app = group(
    "The server's audit: who submitted, stopped, invited, joined, changed or revoked what, and when. Each entry pins "
    "all entries before it, so that none can be changed or taken out unseen.",
    "Admins and auditors ask the server; with --folder the server's own folder is read, on its machine, and the "
    "server need not run.",
    "Example: [bold]comity server audit verify[/bold]",
)

Folder = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="Read this server's folder and ask nobody.")
]


@app.command(
    help=paragraphs(
        "The entries: all, or those of one member, or of one kind: submitted, stopped, invited, enrolled, rekeyed, "
        "changed, revoked.",
        "Example: [bold]comity server audit show --who analyst --action submitted[/bold]",
    )
)
@asking
def show(
    talk: Conversation,
    after: Annotated[int, typer.Option("--after", min=0, metavar="N", help="Only those after number N.")] = 0,
    who: Annotated[str | None, typer.Option("--who", metavar="NAME", help="Only what this member did.")] = None,
    action: Annotated[str | None, typer.Option("--action", metavar="KIND", help="Only those of this kind.")] = None,
    folder: Folder = None,
) -> None:
    wanted = [row for row in _rows(talk, folder, after) if who in (None, row.who) and action in (None, row.action)]
    if talk.as_json:
        talk.tell(wanted, "")
        return
    for row in wanted:
        detail = row.detail if isinstance(row.detail, str) else json.dumps(row.detail)
        line = f"[bold]{escape(row.who)}[/bold] {escape(row.action)} {escape(detail)}"
        out.print(f"[dim]{row.seq:>6} {moment(row.at)}[/dim]  {line}", soft_wrap=True)


@app.command(
    help=paragraphs(
        "Check every entry against the one before it; what the server sends is checked here, not there. Keep the "
        "digest that it prints: with --head DIGEST a later check also tells whether entries are missing at the end, "
        "or the whole was written anew.",
        "Ends with 1 where the audit does not hold.",
        "Example: [bold]comity server audit verify[/bold]",
    )
)
@asking
def verify(
    talk: Conversation,
    head: Annotated[
        str | None, typer.Option("--head", metavar="DIGEST", help="The last entry of a check before.")
    ] = None,
    folder: Folder = None,
) -> None:
    found = _followed(_rows(talk, folder, 0), head)
    if folder is not None:
        with opened(folder) as (journal, _):
            journal.check_audit()
    talk.tell(found, f"{found.rows:,} entries hold; the last is {found.digest}")


def _rows(talk: Conversation, folder: Path | None, after: int) -> list[AuditRow]:
    if folder is not None:
        with opened(folder) as (journal, _):
            return journal.audit(after)
    return talk.get(_asked(after))


def _asked(after: int) -> Callable[[Client], Awaitable[list[AuditRow]]]:
    """Page after page, until there is none."""
    from comity.store.rows import AuditRow

    async def ask(client: Client) -> list[AuditRow]:
        rows: list[AuditRow] = []
        while page := await client.audit(rows[-1].seq if rows else after):
            rows += [AuditRow(**entry.model_dump()) for entry in page]
        return rows

    return ask


def _followed(rows: list[AuditRow], known: str | None) -> Head:
    """Where the chain of `rows` ends. Raises `StoreError` where it does not hold, or no row has the digest `known`."""
    from comity.store.chain import START, Head
    from comity.store.errors import StoreError

    found = Head()
    for row in rows:
        found = found.follow(row)
    if known is not None and known not in {START, *(row.digest for row in rows)}:
        raise StoreError(
            "no entry has this digest: entries are missing at the end, or the whole was written anew",
            where="--head",
            mend="compare it with a backup",
        )
    return found
