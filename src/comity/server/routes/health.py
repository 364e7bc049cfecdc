"""Whether this replica is alive, and whether it can serve."""

from __future__ import annotations

from fastapi import FastAPI

from comity.server.federation import Federation


def add(app: FastAPI, federation: Federation) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        federation.journal.members()
        return {"status": "ready"}
