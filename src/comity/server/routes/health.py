"""Whether this replica is alive, and whether it can serve."""

from __future__ import annotations

from fastapi import FastAPI, Response

from comity.server.federation import Federation
from comity.server.routes.common import route, told
from comity.wire.messages import Health


def add(app: FastAPI, federation: Federation) -> None:
    @app.get("/healthz", **route(None, gives=Health))
    async def healthz() -> Response:
        """Whether the process lives."""
        return told(Health(status="alive"))

    @app.get("/readyz", **route(None, gives=Health))
    async def readyz() -> Response:
        """Whether the process reaches its database."""
        federation.journal.members()
        return told(Health(status="ready"))
