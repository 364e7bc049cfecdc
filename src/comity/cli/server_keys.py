"""`comity server certify`, `sign-request` and `admin`: what whoever holds the server's folder can vouch for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from comity.cli.reporting import out, reported, tell
from comity.cli.server_home import check_installed
from comity.cli.words import AsJson, Debug, duration, paragraphs
from comity.core.errors import ConfigError
from comity.core.files import replace_file

app = typer.Typer()

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The server's folder.", show_default=False)]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--name-in-certificate",
        metavar="HOST",
        help="One more name or IP address by which parties reach the server; may be repeated.",
    ),
]


@app.command(
    help=paragraphs(
        "Issue the server's certificate anew: for other names, or before it expires. Members need nothing new, for "
        "they trust the authority; restart the server.",
        "Example: [bold]comity server certify study --name-in-certificate 10.0.0.7[/bold]",
    )
)
def certify(folder: Folder, names: Names = None, debug: Debug = False) -> None:
    with reported(debug):
        check_installed()
        from comity.server.config import read
        from comity.server.home import ServerHome

        hosts = certified_hosts(read(folder, {}).address, names or ())
        ServerHome(folder).certify(hosts, time.time)
        out.print(f"issued for {escape(', '.join(hosts))}; now restart the server")


@app.command(
    "sign-request",
    help=paragraphs(
        "Sign a member's request for a certificate, where the server asks for client certificates. It is good for "
        "opening connections and for nothing else; end a membership by `comity nodes revoke`.",
        "Example: [bold]comity server sign-request study north.csr --out north.pem --valid 90d[/bold]",
    ),
)
def sign_request(
    folder: Folder,
    request: Annotated[Path, typer.Argument(metavar="CSR", help="The member's request.", show_default=False)],
    into: Annotated[
        Path | None, typer.Option("--out", metavar="CERT", help="The certificate.", show_default="NAME.pem")
    ] = None,
    valid: Annotated[str, typer.Option("--valid", metavar="TIME", help="How long it is good: 12h, 90d.")] = "90d",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        check_installed()
        from comity.identity.certificates import Authority
        from comity.server.home import AUTHORITY

        lifetime = timedelta(seconds=duration(valid, "--valid"))
        try:
            pem = request.read_bytes()
        except OSError as error:
            raise ConfigError(f"the request cannot be read: {error.strerror or error}", where=str(request)) from error
        name, certificate = Authority.load(folder / AUTHORITY).sign_request(pem, time.time(), lifetime)
        file = into or Path(f"{name}.pem")
        replace_file(file, certificate)
        tell({"name": name, "certificate": str(file)}, f"the certificate of [bold]{name}[/bold] is in {file}", as_json)


@app.command(
    help=paragraphs(
        "Make one more admin, with new keys in a new folder. Needs no server and no identity: whoever can write to the "
        "server's folder and its database can. This is the way back in where every admin's keys have expired or are "
        "lost; end what is lost by `comity nodes revoke`.",
        "Example: [bold]comity server admin study second --out second-admin[/bold]",
    )
)
def admin(
    folder: Folder,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that no member has.", show_default=False)],
    into: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The new identity.", show_default=False)],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        check_installed()
        from comity.identity.folder import IdentityFolder
        from comity.server.config import read
        from comity.server.home import ServerHome

        ServerHome(folder).add_admin(read(folder, {}), name, IdentityFolder(into), time.time())
        shown = f"[bold]{escape(name)}[/bold] is an admin; use --identity {escape(str(into))}, or set COMITY_IDENTITY"
        tell({"name": name, "identity": str(into)}, shown, as_json)


def _hosts(address: str, more: Sequence[str]) -> list[str]:
    """The names in the certificate: that of the address, this machine's own, and what is given."""
    return list(dict.fromkeys([str(urlsplit(address).hostname), "localhost", "127.0.0.1", *more]))


def certified_hosts(address: str, more: Sequence[str]) -> list[str]:
    """The names in the certificate: that of the address, this machine's own, and what is given."""
    return list(dict.fromkeys([str(urlsplit(address).hostname), "localhost", "127.0.0.1", *more]))
