"""`comity registrar`: the roster, signed by a key that no server holds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comity.cli.connection import Conversation, asking
from comity.cli.reporting import err, reported, tell
from comity.cli.words import AsJson, Debug, duration, group, moment, paragraphs
from comity.core.errors import MissingDependency
from comity.core.files import replace_file

app = group(
    "The registrar vouches for the members and their keys by signing the roster. A server does that itself unless the "
    "key is kept away from it; then it serves the roster that was signed last:",
    "[bold]comity registrar draft[/bold] asks the server who the members are; [bold]comity registrar sign[/bold], on "
    "the machine with the key, shows what changes and signs; [bold]comity registrar publish[/bold] gives it to the "
    "server.",
)

KeyFile = Annotated[Path, typer.Argument(metavar="KEYFILE", help="The registrar's key.", show_default=False)]


@app.command(
    help=paragraphs(
        "Make a registrar's key, on a machine that the server cannot reach. KEYFILE.pub, its public half, is for "
        "`comity server init --registrar`.",
        "Example: [bold]comity registrar new registrar.pem[/bold]",
    )
)
def new(file: KeyFile, as_json: AsJson = False, debug: Debug = False) -> None:
    with reported(debug):
        _check_installed()
        from comity.identity.registrar import Registrar

        registrar = Registrar(file)
        public = registrar.create()
        shown = (
            f"the key is in {escape(str(file))}; keep a copy, for members know this registrar and no other\n"
            f"[dim]next[/dim]  comity server init DIR --registrar {escape(registrar.public_file.name)}"
        )
        tell({"key": str(file), "public": public.public, "public_file": str(registrar.public_file)}, shown, as_json)


@app.command(
    help=paragraphs(
        "Write down who the members are now, for the registrar to sign, and say what differs from the roster that is "
        "served.",
        "Example: [bold]comity registrar draft --out roster.draft[/bold]",
    )
)
@asking
def draft(
    talk: Conversation,
    file: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the draft goes.")] = Path("roster.draft"),
) -> None:
    _check_installed()
    from comity.deployment.client import Client
    from comity.identity.registrar import Draft, changes

    async def ask(client: Client) -> tuple[Draft, list[str]]:
        members, before = await client.nodes(), await client.roster()
        drafted = Draft.of(client.membership.deployment, members)
        return drafted, list(changes(before.members if before is not None else (), drafted.members))

    drafted, found = talk.get(ask)
    replace_file(file, drafted.model_dump_json(indent=1).encode())
    listed = _listed(found, "the roster that is served")
    shown = f"{listed}\n[dim]next[/dim]  comity registrar sign {escape(file.name)} KEYFILE"
    talk.tell({"draft": str(file), "changes": found}, shown)


@app.command(
    help=paragraphs(
        "Look at a draft and sign it. What it changes is shown, measured by what was signed last with this key, which "
        "lies beside it (KEYFILE.last.json); then you are asked.",
        "Compare the fingerprints of new keys with what the members themselves say: `comity node doctor` and `comity "
        "renew` show them. That is what the signature is for.",
        "Example: [bold]comity registrar sign roster.draft registrar.pem --valid 30d[/bold]",
    )
)
def sign(
    draft_file: Annotated[
        Path, typer.Argument(metavar="DRAFT", help="What `comity registrar draft` wrote.", show_default=False)
    ],
    file: KeyFile,
    into: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where it goes.")] = Path("roster.signed"),
    valid: Annotated[str, typer.Option("--valid", metavar="TIME", help="How long members take it: 12h, 30d.")] = "30d",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        _check_installed()
        from comity.identity.registrar import Registrar, changes, read_draft

        registrar, wanted = Registrar(file), read_draft(draft_file)
        before, seconds = registrar.last(), duration(valid, "--valid")
        found = list(changes(before.members if before is not None else (), wanted.members))
        err.print(f"[bold]{escape(wanted.deployment)}[/bold], {len(wanted.members)} members", soft_wrap=True)
        err.print(_listed(found, "what was signed last"), soft_wrap=True)
        if not yes:
            typer.confirm("sign this?", abort=True, err=True)
        roster = registrar.sign(wanted, time.time(), seconds)
        replace_file(into, roster.model_dump_json(indent=1).encode())
        shown = (
            f"signed, good until {moment(roster.expires)}\n"
            f"[dim]next[/dim]  where the server can be reached: comity registrar publish {escape(into.name)}"
        )
        tell({"signed": str(into), "expires": roster.expires, "changes": found}, shown, as_json)


@app.command(
    help=paragraphs(
        "Give the server a signed roster, which it serves from then on. It takes none that another key signed, or that "
        "is older than the one it has.",
        "Example: [bold]comity registrar publish roster.signed[/bold]",
    )
)
@asking
def publish(
    talk: Conversation,
    signed: Annotated[
        Path, typer.Argument(metavar="SIGNED", help="What `comity registrar sign` wrote.", show_default=False)
    ],
) -> None:
    _check_installed()
    from comity.identity.registrar import read_roster

    wish = read_roster(signed)
    roster = talk.get(lambda client: client.publish(wish))
    shown = f"the server serves this roster of {len(roster.members)} members, good until {moment(roster.expires)}"
    talk.tell({"members": len(roster.members), "issued": roster.issued, "expires": roster.expires}, shown)


def _listed(found: Sequence[str], since: str) -> str:
    if not found:
        return f"nothing differs from {since}"
    return "\n".join(f"  {escape(line)}" for line in found)


def _check_installed() -> None:
    MissingDependency.check(("aiohttp", "cryptography", "pydantic"), "node", "a registrar")
