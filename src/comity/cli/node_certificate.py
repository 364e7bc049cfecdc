"""`comity node certificate`: a node's certificate for mutual TLS, where a server asks for one."""

from __future__ import annotations

from comity.cli.certificate import Answer, MemberName, Out, take, write_request
from comity.cli.node_home import Home, home_at
from comity.cli.reporting import reported
from comity.cli.words import AsJson, Debug, group, paragraphs

app = group(
    "This node's certificate for mutual TLS, where the server asks for one. It opens the connection; who the node is "
    "is told by its signature, as ever.",
    "[bold]comity node certificate request[/bold]; the operator signs, by [bold]comity server sign-request[/bold]; "
    "[bold]comity node certificate install CERT[/bold].",
)


@app.command(
    help=paragraphs(
        "Write a request for a certificate. Its key is made here and stays here; the request is no secret, and goes to "
        "the operator. Before the node has joined, give the name of its invitation.",
        "Example: [bold]comity node certificate request --name st-mary --home /srv/comity[/bold]",
    )
)
def request(
    called: MemberName = None, out: Out = None, home: Home = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    with reported(debug):
        where = home_at(home)
        from comity.identity.client_certificate import ClientCertificate

        where.create()
        member = where.config.name if where.config_file.exists() else None
        option = f" --home {home}" if home is not None else ""
        certificate = ClientCertificate(where.client_certificate.parent)
        write_request(certificate, member, called, out, f"comity node certificate install CERT{option}", as_json)


@app.command(
    help=paragraphs(
        "Take the certificate that answers the request. From now on it is presented to the server; a node that is at "
        "work goes on.",
        "Example: [bold]comity node certificate install st-mary.pem --home /srv/comity[/bold]",
    )
)
def install(answer: Answer, home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    with reported(debug):
        where = home_at(home)
        from comity.identity.client_certificate import ClientCertificate

        authority = where.authority.read_text("ascii") if where.authority.exists() else None
        take(ClientCertificate(where.client_certificate.parent), answer, authority, as_json)
