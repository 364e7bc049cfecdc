"""`comity server`: make a server, start it, and let members in."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from comity.cli import server_audit, server_keys, words
from comity.cli.connection import Conversation, asking
from comity.cli.reporting import err, out, reported, tell
from comity.cli.server_home import check_installed, opened
from comity.cli.server_keys import Folder, Names, certified_hosts
from comity.cli.words import AsJson, Debug, duration, group, moment, paragraphs
from comity.core.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from pydantic import ValidationError

    from comity.identity.folder import IdentityFolder

app = group(
    "The server of a deployment: it coordinates runs and never sees data. Five commands make a federation:",
    "[bold]comity server init DIR[/bold], then [bold]comity server start DIR[/bold]; "
    "[bold]comity server invite NAME[/bold] for each party; there, [bold]comity node join TOKEN[/bold] and "
    "[bold]comity node start[/bold].",
    "Example: [bold]comity server init study --address https://study.example.org:8443[/bold]",
)
app.add_typer(server_keys.app)
app.add_typer(server_audit.app, name="audit")


@app.command(
    help=paragraphs(
        "Make a server in a new folder: a certificate authority, the server's certificate, the registrar's key, a "
        "database and a place for models.",
        "The operator's identity is made as well. If you have none yet, it becomes yours (~/.comity or "
        "COMITY_IDENTITY), so that `comity server invite` works at once.",
        "Example: [bold]comity server init study --address https://study.example.org:8443[/bold]",
    )
)
def init(
    folder: Folder,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The deployment's name.", show_default="DIR's")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="URL",
            help="Where parties reach the server: https://HOST:PORT.",
            show_default="this machine's name",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="IP", help="The address to listen on.")] = "0.0.0.0",
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="The port to listen on.", show_default="8443")
    ] = None,
    names: Names = None,
    journal: Annotated[
        str, typer.Option("--journal", metavar="URL", help="Its database, empty: or postgresql+psycopg://….")
    ] = "sqlite:///journal.db",
    registrar: Annotated[
        Path | None,
        typer.Option(
            "--registrar",
            metavar="FILE",
            help="The public half of a registrar's key that is kept elsewhere (comity registrar new).",
            show_default="a new key, in DIR",
        ),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        check_installed()
        from comity.identity.folder import IdentityFolder
        from comity.identity.keys import PublicKey
        from comity.server.home import OPERATOR, ServerHome

        where = _address(address, port)
        called = words.name(name or folder.resolve().name, "--name")
        ServerHome(folder).init(
            name=called,
            address=where,
            host=host,
            port=port or urlsplit(where).port or 443,
            hosts=certified_hosts(where, names or ()),
            now=time.time,
            registrar=None if registrar is None else PublicKey.load(registrar),
            journal=journal,
        )
        _tell_made(folder, called, where, IdentityFolder(folder / OPERATOR), as_json)


@app.command(
    help=paragraphs(
        "Start a server, and serve until told to stop (Ctrl-C, SIGTERM); what is under way is seen through. A run that "
        "was under way when the last process ended goes on.",
        "Settings come from DIR/server.toml; environment variables (COMITY_SERVER_PORT=…) come before it, and options "
        "before those. Logs go to standard error, one JSON object a line.",
        "Example: [bold]comity server start study --port 9443[/bold]",
    )
)
def start(
    folder: Folder,
    host: Annotated[str | None, typer.Option("--host", metavar="IP", help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="The port to listen on.")] = None,
    address: Annotated[str | None, typer.Option("--address", metavar="URL", help="What invitations tell.")] = None,
    journal: Annotated[
        str | None, typer.Option("--journal", metavar="URL", help="sqlite:///… or postgresql+psycopg://…")
    ] = None,
    blobs: Annotated[str | None, typer.Option("--blobs", metavar="URL", help="A folder, or s3://….")] = None,
    certificate: Annotated[str | None, typer.Option("--certificate", metavar="PEM", help="The certificate.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="PEM", help="The certificate's key.")] = None,
    tls: Annotated[
        bool | None, typer.Option("--tls/--no-tls", help="Without: for a proxy on this machine that ends TLS.")
    ] = None,
    client_certificates: Annotated[
        str | None,
        typer.Option("--client-certificates", metavar="WORD", help="required: TLS refuses whoever has none; or off."),
    ] = None,
    absence: Annotated[
        float | None,
        typer.Option("--absence", metavar="SECONDS", help="Silence after which a node loses its part of a round."),
    ] = None,
    lifetime_days: Annotated[
        float | None, typer.Option("--lifetime-days", metavar="DAYS", help="How long members' keys are good.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="Requests a second from one address.")
    ] = None,
    connections: Annotated[int | None, typer.Option("--connections", metavar="N", help="At most so many.")] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="HOST:PORT", help="Where Prometheus may scrape, unencrypted.")
    ] = None,
    log: Annotated[str | None, typer.Option("--log", metavar="LEVEL", help="debug, info, warning or error.")] = None,
    debug: Debug = False,
) -> None:
    with reported(debug):
        check_installed()
        from comity.server.config import read
        from comity.server.process import serve

        flags = {
            "host": host,
            "port": port,
            "address": address,
            "journal": journal,
            "blobs": blobs,
            "certificate": certificate,
            "key": key,
            "tls": tls,
            "client_certificates": client_certificates,
            "absence": absence,
            "lifetime_days": lifetime_days,
            "rate": rate,
            "connections": connections,
            "metrics": metrics,
            "log": log,
        }
        serve(folder, read(folder, flags))


@app.command(
    help=paragraphs(
        "Make a token that lets one joiner in, once. Give it to the party on a way that you trust: whoever has it can "
        "join in its name until it is used or has expired.",
        "It holds the server's address and the fingerprint of its certificate authority, so the joiner cannot be led "
        "to another server. This asks the server, which must run, in the operator's name.",
        "Example: [bold]comity server invite st-mary --tag oncology[/bold]",
        "For people: [bold]comity server invite analyst --role researcher[/bold]. The token alone goes to standard "
        "output.",
    )
)
@asking
def invite(
    talk: Conversation,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the joiner will be called.", show_default=False)],
    role: Annotated[
        Literal["node", "researcher", "auditor", "admin"],
        typer.Option("--role", metavar="ROLE", help="node, researcher, auditor or admin."),
    ] = "node",
    valid: Annotated[str, typer.Option("--valid", metavar="TIME", help="How long: 90s, 30m, 12h, 7d.")] = "1d",
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag of the node; may be repeated.")
    ] = None,
) -> None:
    MissingDependency.check(("aiohttp", "cryptography", "pydantic"), "node", "a conversation with a server")
    from pydantic import ValidationError

    from comity.wire.messages import Invite

    seconds = duration(valid, "--valid")
    try:
        wish = Invite(name=name, role=role, valid=seconds, tags=tuple(tags or ()))
    except ValidationError as error:
        raise _unfit(error) from None
    invited = talk.get(lambda client: client.invite(wish))
    talk.tell(invited, invited.token)
    if not talk.as_json:
        command = "comity node join" if role == "node" else "comity join"
        err.print(f"[dim]for {escape(name)}, once, until {moment(invited.expires)}; there:[/dim] {command} TOKEN")


@app.command(
    help=paragraphs(
        "Copy the database and all models into a new folder, as they are at one moment; the server may go on.",
        "Keys and settings are not copied. Keep server.toml, authority.pem, registrar.pem, registrar.pub, server.pem "
        "and server.key once, in a safe place: they do not change.",
        "Example: [bold]comity server backup study backups/2026-01-31[/bold]",
    )
)
def backup(
    folder: Folder,
    into: Annotated[Path, typer.Argument(metavar="BACKUP", help="A new folder.", show_default=False)],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        check_installed()
        from comity.store.backup import backup as copy

        with opened(folder) as (journal, blobs):
            made = copy(journal, blobs, into)
        shown = (
            f"{made.rows:,} rows and {made.parts:,} parts of models ({made.size:,} bytes) are in {escape(str(into))}"
        )
        tell({"rows": made.rows, "parts": made.parts, "bytes": made.size}, shown, as_json)


@app.command(
    help=paragraphs(
        "Put a backup into a server's folder that has its settings and keys and no database yet. Every part is "
        "verified; a restore that was cut short is simply repeated.",
        "Example: [bold]comity server restore study backups/2026-01-31[/bold]",
    )
)
def restore(
    folder: Folder,
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="The backup's folder.", show_default=False)],
    debug: Debug = False,
) -> None:
    with reported(debug):
        check_installed()
        from comity.store.backup import restore as put_back

        with opened(folder) as (journal, blobs):
            made = put_back(source, journal, blobs)
        out.print(f"{made.rows:,} rows and {made.parts:,} parts are back; comity server start {escape(str(folder))}")


@app.command(
    help=paragraphs(
        "Print the OpenAPI document of the API that this version of Comity serves; no server is needed.",
        "Example: [bold]comity server openapi > openapi.json[/bold]",
    )
)
def openapi(debug: Debug = False) -> None:
    with reported(debug):
        check_installed()
        from comity.server.openapi import text

        typer.echo(text(), nl=False)


def _address(address: str | None, port: int | None) -> str:
    """The address as it was given, or that of this machine. Raises `ConfigError` for what is none."""
    from comity.wire.http import server_address

    return server_address(address or f"https://{socket.gethostname()}:{port or 8443}", "--address")


def _install(operator: IdentityFolder) -> Path | None:
    """Make the operator's identity this person's, where there is none; the folder, None where there is one."""
    from comity.identity.folder import IdentityFolder

    mine = IdentityFolder.default()
    if mine.exists:
        return None
    mine.write(operator.read(), operator.authority, operator.signing_key(), operator.agreement_key())
    return mine.path


def _tell_made(folder: Path, name: str, address: str, operator: IdentityFolder, as_json: bool) -> None:
    """Make the operator's identity this person's, where there is none; say what there is now, and what comes next."""
    installed = _install(operator)
    facts = {"folder": str(folder), "name": name, "address": address, "identity": str(installed or operator.path)}
    if as_json:
        typer.echo(json.dumps(facts))
        return
    out.print(f"[bold]{escape(name)}[/bold] is in {escape(str(folder))}; parties reach it at {escape(address)}")
    _tell_identity(operator, installed)
    out.print(f"[dim]next[/dim]  comity server start {escape(str(folder))}", soft_wrap=True)
    option = "" if installed else f" --identity {operator.path}"
    out.print(f"      comity server invite NAME{escape(option)}", soft_wrap=True)


def _tell_identity(operator: IdentityFolder, installed: Path | None) -> None:
    if installed is not None:
        out.print(f"[dim]you are its operator: the identity is in {escape(str(installed))}[/dim]", soft_wrap=True)
        return
    out.print(f"[dim]its operator's identity is in {escape(str(operator.path))}; yours is another's[/dim]")


def _unfit(error: ValidationError) -> ConfigError:
    """What the message of an invitation does not take, as the option that was given."""
    first = error.errors()[0]
    field = {"name": "NAME", "tags": "--tag", "valid": "--valid"}.get(str(first["loc"][0]), str(first["loc"][0]))
    mend = "at most 90 days" if field == "--valid" else "use letters, digits, '.', '_' and '-', at most 64"
    return ConfigError(f"{first['input']!r} cannot be taken: {first['msg']}", where=field, mend=mend)
