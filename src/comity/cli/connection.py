"""A conversation with a server, from the command line: who asks, where the server is, and which run is meant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from comity.core.errors import ConfigError

if TYPE_CHECKING:
    from comity.deployment.client import Client

T = TypeVar("T")

Identity = Annotated[
    Path | None,
    typer.Option("--identity", metavar="DIR", help="Who asks.", show_default="$COMITY_IDENTITY, or ~/.comity"),
]
Server = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="Where the server is.", show_default="where you joined"),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or how it begins.", show_default=False)]

_PATIENCE = 20.0
LASTING = 600.0
"""Seconds for which a server may be away while a run is watched."""


def asked(
    identity: Path | None, server: str | None, ask: Callable[[Client], Awaitable[T]], *, patience: float = _PATIENCE
) -> T:
    """What `ask` gets from the server."""
    from comity.deployment.client import Client
    from comity.identity.folder import IdentityFolder

    async def conversation() -> T:
        folder = IdentityFolder(identity) if identity is not None else IdentityFolder.default()
        async with Client(folder, server, patience=patience) as client:
            return await ask(client)

    return asyncio.run(conversation())


async def run_id(client: Client, text: str) -> str:
    """The whole id of the run that `text` begins. Raises `ConfigError` for none, and for several."""
    if len(text) == 16:
        return text
    fits = [run.id for run in await client.runs() if text and run.id.startswith(text)]
    if len(fits) != 1:
        what = f"{len(fits)} runs begin with {text!r}" if fits else f"no run begins with {text!r}"
        raise ConfigError(what, where="RUN", mend="comity runs list")
    return fits[0]
