"""A TCP forwarder on loopback that counts what passes: encrypted or not, with all that a protocol adds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

_LOOPBACK = "127.0.0.1"
_READ_BYTES = 1 << 18


@dataclass
class Tap:
    """Bytes from clients to the server (`up`) and back (`down`), and how many connections there were."""

    target: int
    up: int = 0
    down: int = 0
    connections: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection(_LOOPBACK, self.target, limit=_READ_BYTES)
            await asyncio.gather(self._pump(reader, back, "up"), self._pump(there, writer, "down"))
        self._open.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str) -> None:
        try:
            while data := await source.read(_READ_BYTES):
                setattr(self, way, getattr(self, way) + len(data))
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()


@contextlib.asynccontextmanager
async def tapped(port: int, target: int) -> AsyncIterator[Tap]:
    """Pass on what comes to `port` of loopback to `target`, while the block lasts."""
    tap = Tap(target)
    server = await asyncio.start_server(tap.pass_on, _LOOPBACK, port, limit=_READ_BYTES)
    try:
        yield tap
    finally:
        server.close()
        for task in list(tap._open):
            task.cancel()
