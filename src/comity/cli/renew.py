"""`comity renew`: a person's keys, made anew before they end."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from comity.cli.connection import Identity, Server
from comity.cli.reporting import reported, tell
from comity.cli.words import AsJson, Debug, alone, moment, paragraphs
from comity.core.errors import MissingDependency

if TYPE_CHECKING:
    from comity.wire.messages import Member

RENEW = paragraphs(
    "Make new keys for yourself and give the server their public halves, signed by the old ones, which it refuses from "
    "then on. A renewal that was cut short is ended by the same command.",
    "A copy of the identity that lies elsewhere is of no use afterwards: copy it anew.",
    "Example: [bold]comity renew[/bold]",
    "A node renews its keys by itself, in good time; by hand: [bold]comity node renew[/bold].",
)


def renew(identity: Identity = None, server: Server = None, as_json: AsJson = False, debug: Debug = False) -> None:
    with reported(debug):
        MissingDependency.check(("aiohttp", "cryptography", "pydantic"), "node", "a conversation with a server")
        from comity.identity.keys import fingerprint

        member, where = asyncio.run(_renewed(identity, server))
        keys = fingerprint(member.signing_key, member.agreement_key)
        shown = (
            f"[bold]{member.name}[/bold] has new keys, good until {moment(member.expires)}, in {escape(str(where))}\n"
            f"[dim]their fingerprint is {keys}[/dim]"
        )
        facts = {"name": member.name, "expires": member.expires, "fingerprint": keys, "identity": str(where)}
        tell(facts, shown, as_json)


async def _renewed(identity: Path | None, server: str | None) -> tuple[Member, Path]:
    """The member as it is with its new keys, and the folder that they are in."""
    from comity.identity.folder import IdentityFolder
    from comity.identity.renewal import renew as renew_keys
    from comity.wire.http import HttpTransport

    folder = IdentityFolder.of(identity)
    me = folder.read()
    transport = HttpTransport(server or me.address, folder.authority, certificate=folder.client_certificate)
    try:
        member = await renew_keys(folder.keys, transport, name=me.name, deployment=me.deployment, now=time.time)
    finally:
        await transport.close()
    return member, folder.path


app = alone(renew, RENEW)
