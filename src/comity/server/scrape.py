"""A listener of its own for Prometheus: GET /metrics, plain HTTP, without credentials, for who is on this machine.

A scraper cannot sign its requests, and the port that the world reaches gives nothing without a signature.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import uvicorn
from prometheus_client import make_asgi_app
from starlette.types import ASGIApp

from comity.core.errors import ConfigError
from comity.server.app import build
from comity.server.deployment import Deployment
from comity.server.metrics import Metrics
from comity.server.observed import Happening
from comity.server.telling import tell
from comity.server.traffic import Traffic

_CONNECTIONS = 16


@dataclass(frozen=True, eq=False)
class Watch:
    """The metrics of a process, and the socket at which they are scraped."""

    listening: socket.socket
    metrics: Metrics = field(default_factory=Metrics)

    @classmethod
    def at(cls, address: str) -> Watch:
        """Listen at HOST:PORT. Raises `ConfigError` where that cannot be."""
        parts = urlsplit(f"//{address}")
        try:
            family = socket.AF_INET6 if ":" in str(parts.hostname) else socket.AF_INET
            return cls(socket.create_server((str(parts.hostname), parts.port or 0), family=family))
        except (OSError, OverflowError, ValueError) as error:
            what = f"metrics: nothing can listen at {address}: {error}"
            raise ConfigError(what, where="server.toml", mend="choose another port") from error

    def observe(self, happening: Happening) -> None:
        tell(happening)
        self.metrics.count(happening)

    def around(self, deployment: Deployment) -> ASGIApp:
        """The application of `deployment`, whose federation and gate tell `observe`, with its requests counted."""
        federation = deployment.federation
        self.metrics.watch(federation.standing, federation.journal.run_states, self.observe)
        return Traffic(build(deployment), self.metrics.registry)

    @asynccontextmanager
    async def scraped(self) -> AsyncIterator[None]:
        """Answer scrapes for the length of the block."""
        settings = uvicorn.Config(
            make_asgi_app(self.metrics.registry),
            http="httptools",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        settings.load()
        server = uvicorn.Server(settings)
        server.lifespan = settings.lifespan_class(settings)
        # Without `serve`, whose loop wakes ten times a second and takes signals, which are for the process to take.
        await server.startup([self.listening])
        try:
            yield
        finally:
            await server.shutdown([self.listening])
