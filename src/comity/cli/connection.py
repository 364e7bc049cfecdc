"""A conversation with a server, from the command line: who asks, where the server is, and which run is meant."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import RenderableType

from comity.cli.reporting import reported, tell
from comity.cli.words import AsJson, Debug
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

_RUN = re.compile(r"[0-9a-f]{16}")
_PATIENCE = 20.0
LASTING = 600.0
"""Seconds for which a server may be away while a run is watched."""


@dataclass(frozen=True)
class Conversation:
    """Who asks which server, and whether a person or a program is told the answer."""

    identity: Path | None
    server: str | None
    as_json: bool

    def get(self, ask: Callable[[Client], Awaitable[T]], *, patience: float = _PATIENCE) -> T:
        """What `ask` gets from the server."""
        from comity.deployment.client import Client
        from comity.identity.folder import IdentityFolder

        async def conversation() -> T:
            async with Client(IdentityFolder.of(self.identity), self.server, patience=patience) as client:
                return await ask(client)

        return asyncio.run(conversation())

    def tell(self, facts: object, shown: RenderableType) -> None:
        """The facts as JSON where that was asked for, or else what is shown."""
        tell(facts, shown, self.as_json)


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """A command that asks a server: --identity, --server, --json and --debug stand for its first parameter, `talk`."""

    def whole(
        *, identity: Identity = None, server: Server = None, as_json: AsJson = False, debug: Debug = False, **own: Any
    ) -> None:
        with reported(debug):
            command(Conversation(identity, server, as_json), **own)

    *shared, _ = inspect.signature(whole, eval_str=True).parameters.values()
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    options = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *shared)]
    # What Typer reads: the options of the command, then those that all such commands have.
    vars(update_wrapper(whole, command))["__signature__"] = inspect.Signature(options)
    return whole


async def run_id(client: Client, text: str) -> str:
    """The whole id of the run that `text` begins. Raises `ConfigError` for none, and for several."""
    if _RUN.fullmatch(text):
        return text
    fits = [run.id for run in await client.runs() if text and run.id.startswith(text)]
    if len(fits) != 1:
        what = f"{len(fits)} runs begin with {text!r}" if fits else f"no run begins with {text!r}"
        raise ConfigError(what, where="RUN", mend="comity runs list")
    return fits[0]
