"""`comity certificate`: a person's certificate for mutual TLS, where a server asks for one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comity.cli.connection import Identity
from comity.cli.reporting import reported, tell
from comity.cli.words import AsJson, Debug, group, name, paragraphs
from comity.core.errors import ConfigError, MissingDependency
from comity.core.files import replace_file

if TYPE_CHECKING:
    from comity.identity.client_certificate import ClientCertificate
    from comity.identity.folder import IdentityFolder

app = group(
    "Your certificate for mutual TLS, where a server asks for one; a node has its own by `comity node certificate`. "
    "It opens the connection; who you are is told by your signature, as ever.",
    "[bold]comity certificate request[/bold]; the operator signs, by [bold]comity server sign-request[/bold]; "
    "[bold]comity certificate install CERT[/bold].",
)

MemberName = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="The name of the invitation.", show_default="that of the member"),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Where the request goes.", show_default="NAME.csr")
]
Answer = Annotated[
    Path, typer.Argument(metavar="CERT", help="What the operator has signed, a file in PEM.", show_default=False)
]


@app.command(
    help=paragraphs(
        "Write a request for a certificate. Its key is made here and stays here; the request is no secret, and goes to "
        "the operator. Before you have joined, give the name of your invitation.",
        "Example: [bold]comity certificate request --name analyst[/bold]",
    )
)
def request(
    called: MemberName = None,
    out: Out = None,
    identity: Identity = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        folder = _folder(identity)
        from comity.identity.client_certificate import ClientCertificate

        member = folder.read().name if folder.exists else None
        option = f" --identity {identity}" if identity is not None else ""
        certificate = ClientCertificate(folder.path)
        write_request(certificate, member, called, out, f"comity certificate install CERT{option}", as_json)


@app.command(
    help=paragraphs(
        "Take the certificate that answers your request. From now on it is presented to the server; nothing needs to "
        "be started anew.",
        "Example: [bold]comity certificate install analyst.pem[/bold]",
    )
)
def install(answer: Answer, identity: Identity = None, as_json: AsJson = False, debug: Debug = False) -> None:
    with reported(debug):
        folder = _folder(identity)
        from comity.identity.client_certificate import ClientCertificate

        take(ClientCertificate(folder.path), answer, folder.authority, as_json)


def write_request(
    certificate: ClientCertificate, member: str | None, called: str | None, out: Path | None, then: str, as_json: bool
) -> None:
    """Make the request of the member, or of who will be one under the name that was given. Raises `ConfigError`."""
    if member is None and called is None:
        mend = "give --name, the name of your invitation"
        raise ConfigError("nobody has joined here yet", where=str(certificate.folder), mend=mend)
    if member is not None and called not in (None, member):
        raise ConfigError(f"the member here is {member}", where="--name", mend="leave --name out")
    named = member or name(called or "", "--name")
    certificate.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = out or Path(f"{named}.csr")
    replace_file(file, certificate.request(named).encode("ascii"))
    shown = (
        f"the request of [bold]{named}[/bold] is in {escape(str(file))}\n"
        f"[dim]next[/dim]  the operator: comity server sign-request DIR {escape(file.name)} --out {named}.pem\n"
        f"      then here: {escape(then)}"
    )
    tell({"name": named, "request": str(file)}, shown, as_json)


def take(certificate: ClientCertificate, answer: Path, authority: str | None, as_json: bool) -> None:
    """Install what the operator has signed. Raises `ConfigError`, `IdentityError`."""
    try:
        pem = answer.read_bytes()
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror or error}", where=str(answer)) from error
    ends = certificate.install(pem, authority, time.time())
    shown = f"the certificate is good until {ends:%Y-%m-%d %H:%MZ}, and presented from now on"
    tell({"expires": ends.timestamp(), "certificate": str(certificate.file)}, shown, as_json)


def _folder(identity: Path | None) -> IdentityFolder:
    MissingDependency.check(("aiohttp", "cryptography", "pydantic"), "node", "a certificate")
    from comity.identity.folder import IdentityFolder

    return IdentityFolder.of(identity)
