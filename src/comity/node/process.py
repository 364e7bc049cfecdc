"""The process of a node, `python -m comity.node.process HOME`: its agent, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from comity.core.errors import ComityError, ConfigError
from comity.identity.renewal import CurrentKey
from comity.node.agent import Agent
from comity.node.child import ChildExecutor
from comity.node.home import NodeHome
from comity.node.log import NodeLog
from comity.node.reach import reached
from comity.node.renewal import keep_keys
from comity.wire.client import Session

_PATIENCE = 5.0


def serve(home: NodeHome) -> None:
    """Work for the deployment that this node has joined, until SIGTERM or Ctrl-C. Raises `ConfigError`."""
    with _alone(home):
        asyncio.run(_serve(home))


async def _serve(home: NodeHome) -> None:
    config, task = home.config, asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    transport = reached(home)
    session = Session(transport, CurrentKey(home.signing_key), config.deployment, time.time, patience=_PATIENCE)
    log = NodeLog(home.log_file, time.time)

    def note(kind: str, facts: Mapping[str, Any]) -> None:
        log.append(kind, facts)

    executor = ChildExecutor(home, note, idle=config.idle_seconds)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(keep_keys(home, session, transport, note, time.time))
            both.create_task(Agent(home, session, executor, time.time).run())
    except asyncio.CancelledError:
        log.append("stopped", {})
    finally:
        await session.close()


@contextlib.contextmanager
def _alone(home: NodeHome) -> Iterator[None]:
    """One agent works in a folder at a time. Raises `ConfigError` where another does, or nobody has joined yet."""
    name = home.config.name
    with home.lock_file.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            what = f"another agent of {name} works in this folder"
            raise ConfigError(what, where=str(home.path), mend="end it first, or choose another home") from None
        yield


def main() -> None:
    try:
        serve(NodeHome(Path(sys.argv[1])))
    except ComityError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
