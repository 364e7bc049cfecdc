"""The process of a server: one replica on uvicorn, over TLS."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import sys
import time
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from pathlib import Path
from socket import socket
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from comity.server.app import build
from comity.server.bell import Bell
from comity.server.config import ServerConfig
from comity.server.home import AUTHORITY, ServerHome
from comity.server.logs import setup_logs
from comity.server.protocol import BoundedProtocol
from comity.server.telling import tell

if TYPE_CHECKING:
    from comity.server.scrape import Watch

_LOOPBACK = "127.0.0.1"
_KEEP_ALIVE = 75
_GRACE = 10
_LAST_CALL = 0.05
_SECOND = 1.0


def serve(folder: Path, config: ServerConfig) -> None:
    """Serve until told to stop; requests under way are then seen through."""
    setup_logs(config.log)
    watch = _watch(config.metrics) if config.metrics else None
    observe = tell if watch is None else watch.observe
    deployment = ServerHome(folder).open(config, time.time, secrets.token_bytes, observe)
    host = config.host if config.tls else _LOOPBACK
    asks = config.client_certificates == "required"
    logging.getLogger("comity.server").info(
        "serving", extra={"deployment": config.name, "host": host, "port": config.port, "tls": config.tls}
    )
    settings = uvicorn.Config(
        build(deployment) if watch is None else watch.around(deployment),
        host=host,
        port=config.port,
        ssl_certfile=folder / config.certificate if config.tls else None,
        ssl_keyfile=folder / config.key if config.tls else None,
        ssl_ca_certs=folder / AUTHORITY if asks else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if asks else ssl.CERT_NONE,
        http=BoundedProtocol,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=config.connections,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
    )
    _Server(settings, deployment.federation.bell, nullcontext() if watch is None else watch.scraped()).run()


def _watch(address: str) -> Watch:
    """Metrics that are scraped at `address`; where none are wanted, a process is spared what they import."""
    from comity.server.scrape import Watch

    return Watch.at(address)


class _Server(uvicorn.Server):
    """Told to stop, it answers those that wait for something to happen, so that it need not wait for them."""

    def __init__(self, settings: uvicorn.Config, bell: Bell, beside: AbstractAsyncContextManager[None]) -> None:
        super().__init__(settings)
        self._bell, self._beside = bell, beside
        self._told = asyncio.Event()

    async def serve(self, sockets: list[socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        async with self._beside:
            await super().serve(sockets)

    async def main_loop(self) -> None:
        """Wait to be told to stop, and keep the date of answers: uvicorn's own loop wakes ten times a second."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_SECOND):
                    await self._told.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._told.set)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        # Once no connection takes another request: whoever was answered before would ask again.
        asyncio.get_running_loop().call_later(_LAST_CALL, self._bell.ring_all)
        await super().shutdown(sockets)
