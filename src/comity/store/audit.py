"""The audit on a connection: a chain of rows, each with the digest of the one before it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, select, update

from comity.store.errors import StoreError
from comity.store.rows import AuditRow
from comity.store.tables import AUDIT, AUDIT_HEAD

if TYPE_CHECKING:
    from comity.core.manifest import Json

START = "0" * 64


def note(connection: Connection, at: float, who: str, action: str, detail: Json) -> None:
    """Add a row to the chain; those who do so take turns."""
    head = connection.execute(select(AUDIT_HEAD).with_for_update()).mappings().one()
    row = {"seq": head["seq"] + 1, "at": float(at), "who": who, "action": action, "detail": detail}
    row["previous"] = head["digest"]
    row["digest"] = _digest(row["seq"], row["at"], who, action, detail, row["previous"])
    connection.execute(insert(AUDIT), row)
    connection.execute(update(AUDIT_HEAD).values(seq=row["seq"], digest=row["digest"]))


def listed(connection: Connection, after: int) -> list[AuditRow]:
    query = select(AUDIT).where(AUDIT.c.seq > after).order_by(AUDIT.c.seq)
    return [AuditRow(**row) for row in connection.execute(query).mappings()]


def check(connection: Connection) -> int:
    """The number of rows. Raises `StoreError` at the first that was changed, or where one is missing or out of place.

    Whoever can write to the database can write the whole chain anew: a digest kept elsewhere shows that.
    """
    seq, previous = 0, START
    for row in connection.execute(select(AUDIT).order_by(AUDIT.c.seq)).mappings():
        seq += 1
        digest = _digest(row["seq"], row["at"], row["who"], row["action"], row["detail"], previous)
        if (row["seq"], row["previous"], row["digest"]) != (seq, previous, digest):
            raise StoreError("the audit was tampered with", where=f"audit, row {seq}", mend="compare it with a backup")
        previous = digest
    head = connection.execute(select(AUDIT_HEAD)).mappings().first()
    if head is None or (head["seq"], head["digest"]) != (seq, previous):
        raise StoreError("the audit was cut short", where=f"audit, row {seq + 1}", mend="compare it with a backup")
    return seq


def _digest(seq: int, at: float, who: str, action: str, detail: Json, previous: str) -> str:
    text = json.dumps([seq, at, who, action, detail, previous], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
