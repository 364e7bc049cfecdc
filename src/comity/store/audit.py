"""The audit on a connection: a chain of rows, each with the digest of the one before it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, select, update

from comity.store.chain import Head
from comity.store.errors import StoreError
from comity.store.rows import AuditRow
from comity.store.tables import AUDIT, AUDIT_HEAD

if TYPE_CHECKING:
    from comity.core.manifest import Json


def note(connection: Connection, at: float, who: str, action: str, detail: Json) -> None:
    """Add a row to the chain; those who do so take turns."""
    head = connection.execute(select(AUDIT_HEAD).with_for_update()).mappings().one()
    row = Head(head["seq"], head["digest"]).link(float(at), who, action, detail)
    connection.execute(insert(AUDIT), asdict(row))
    connection.execute(update(AUDIT_HEAD).values(seq=row.seq, digest=row.digest))


def listed(connection: Connection, after: int, limit: int | None) -> list[AuditRow]:
    query = select(AUDIT).where(AUDIT.c.seq > after).order_by(AUDIT.c.seq).limit(limit)
    return [AuditRow(**row) for row in connection.execute(query).mappings()]


def check(connection: Connection) -> Head:
    """Where the chain ends. Raises `StoreError` at the first row that was changed, or is missing or out of place."""
    found = Head()
    for row in connection.execute(select(AUDIT).order_by(AUDIT.c.seq)).mappings():
        found = found.follow(AuditRow(**row))
    kept = connection.execute(select(AUDIT_HEAD)).mappings().first()
    if kept is None or Head(kept["seq"], kept["digest"]) != found:
        raise StoreError(
            "the audit was cut short", where=f"audit, row {found.rows + 1}", mend="compare it with a backup"
        )
    return found
