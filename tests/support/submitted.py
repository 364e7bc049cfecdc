"""Runs that are submitted and followed through whatever happens to the server, however long it takes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from comity.deployment.client import Client, Wanted
from comity.deployment.following import final_weights
from comity.deployment.source import source_of
from comity.identity.folder import IdentityFolder
from comity.jobs.job import Job
from comity.wire.client import ProblemError
from comity.wire.messages import Rounds
from comity.wire.transport import TransportError

T = TypeVar("T")
DIGITS = Wanted("digits")
_PATIENCE = 1.0
"""Seconds of pauses within a call, before it is made anew: the pauses of one call grow."""


def carry_out(identity: Path, job: Job, folder: Path, address: str | None = None) -> tuple[Rounds, Any]:
    """The rounds of a new run of `job` on the digits, and its final weights `[D]`; `folder` is for what comes."""
    return asyncio.run(_carry_out(identity, job, folder, address))


def client(identity: Path, address: str | None = None) -> Client:
    """A person's conversation, for calls that `insist` repeats."""
    return Client(IdentityFolder(identity), address, patience=_PATIENCE)


async def begin(talk: Client, job: Job, folder: Path, wanted: Wanted = DIGITS) -> str:
    """Submit `job`: the id of the run."""
    run = secrets.token_hex(8)
    folder.mkdir(exist_ok=True)
    await insist(lambda: talk.submit(job, wanted, source_of(job), folder, run))
    return run


async def ended(talk: Client, run: str) -> Rounds:
    """All rounds of the run, once it is over."""
    news = await insist(lambda: talk.watch(run, wait=False))
    while news.run.state == "running":
        known = len(news.rounds)
        await insist(lambda known=known: talk.watch(run, known))
        news = await insist(lambda: talk.watch(run, wait=False))
    return news


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer; what a server that has just started does not take is asked again."""
    while True:
        try:
            return await call()
        except TransportError:
            continue
        except ProblemError as error:
            if error.status not in (401, 502, 503, 504):
                raise


async def _carry_out(identity: Path, job: Job, folder: Path, address: str | None) -> tuple[Rounds, Any]:
    async with client(identity, address) as talk:
        news = await ended(talk, await begin(talk, job, folder))
        return news, await insist(lambda: final_weights(talk, news.run, job, folder))
