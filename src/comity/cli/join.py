"""`comity join`: a person becomes a member of a deployment."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer
from rich.markup import escape

from comity.cli.connection import Identity
from comity.cli.reporting import reported, tell
from comity.cli.words import AsJson, Debug, alone, paragraphs
from comity.core.errors import MissingDependency

JOIN = paragraphs(
    "Become a member of a deployment, by the invitation that its operator has given you.",
    "Your keys are made here and stay here: in ~/.comity, or in the folder that --identity or COMITY_IDENTITY names. "
    "The server that you talk to is the one of the invitation or none.",
    "Example: [bold]comity join comity1.AbC…[/bold]",
    "A node, which holds data, joins by [bold]comity node join TOKEN[/bold].",
)


def join(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The invitation, one line.", show_default=False)],
    identity: Identity = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        MissingDependency.check(("aiohttp", "cryptography", "pydantic"), "node", "joining a deployment")
        from comity.identity.folder import IdentityFolder
        from comity.identity.joining import join_as_person
        from comity.identity.keys import fingerprint

        folder = IdentityFolder.of(identity)
        membership = asyncio.run(join_as_person(token, folder, time.time))
        keys = fingerprint(folder.signing_key().public, folder.agreement_key().public)
        shown = (
            f"[bold]{membership.name}[/bold] is now {membership.role} of {escape(membership.deployment)}; "
            f"keys are in {escape(str(folder.path))}\n"
            f"[dim]their fingerprint is {keys}[/dim]\n"
            "[dim]next[/dim]  comity nodes list\n      comity submit job.py --watch"
        )
        tell({**membership.model_dump(mode="json"), "identity": str(folder.path)}, shown, as_json)


app = alone(join, JOIN)
