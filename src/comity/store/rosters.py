"""Rosters that a registrar signed elsewhere, on a connection."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select

from comity.store.tables import ROSTERS


def publish(connection: Connection, issued: float, body: str) -> bool:
    """False where there is one as new, or newer: nobody who was left out comes back by an old one."""
    latest: float | None = connection.scalar(select(func.max(ROSTERS.c.issued)))
    if latest is not None and issued <= latest:
        return False
    connection.execute(insert(ROSTERS), {"issued": issued, "body": body})
    return True


def newest(connection: Connection) -> str | None:
    body: str | None = connection.scalar(select(ROSTERS.c.body).order_by(ROSTERS.c.issued.desc()).limit(1))
    return body
