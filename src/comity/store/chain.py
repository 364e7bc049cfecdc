"""The chain of the audit: every row holds the digest of the one before it. What is checked here needs no database.

Whoever can write to the database can write the whole chain anew: a digest that is kept elsewhere shows that.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comity.store.errors import StoreError
from comity.store.rows import AuditRow

if TYPE_CHECKING:
    from comity.core.manifest import Json

START = "0" * 64


@dataclass(frozen=True)
class Head:
    """Where a chain ends: the number of its rows, and the digest of the last one."""

    rows: int = 0
    digest: str = START

    def link(self, at: float, who: str, action: str, detail: Json) -> AuditRow:
        """The row that comes next."""
        seq = self.rows + 1
        text = json.dumps([seq, at, who, action, detail, self.digest], sort_keys=True, separators=(",", ":"))
        return AuditRow(seq, at, who, action, detail, self.digest, hashlib.sha256(text.encode()).hexdigest())

    def follow(self, row: AuditRow) -> Head:
        """The head after `row`. Raises `StoreError` where that was changed, or does not come next."""
        if row != self.link(row.at, row.who, row.action, row.detail):
            raise StoreError(
                "the audit was tampered with", where=f"audit, row {self.rows + 1}", mend="compare it with a backup"
            )
        return Head(row.seq, row.digest)
