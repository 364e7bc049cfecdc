"""Runs, records and members to put into a journal."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from comity.store.journal import Journal
from comity.store.rows import Record, RunRow
from comity.wire.messages import Member

RUN = "00000000000000aa"


def a_run(run: str = RUN, **changes: Any) -> RunRow:
    facts: dict[str, Any] = {
        "id": run,
        "job": "ab" * 32,
        "submitter": "rae",
        "state": "running",
        "detail": "",
        "created": 12.5,
        "dataset": "scans",
        "manifest": '{"is": "job"}',
        "layout": "[]",
        "source": None,
        "source_digest": None,
        "parties": ("north", "south"),
    }
    return RunRow(**(facts | changes))


def a_record(seq: int, run: str = RUN, *, kind: str = "counted", body: Any = None) -> Record:
    return Record(run, seq, 20.0 + seq, kind, {"seq": seq} if body is None else body)


def begun(journal: Journal, run: str = RUN, **changes: Any) -> RunRow:
    """A run with its first record."""
    row = a_run(run, **changes)
    journal.begin(row, [a_record(1, run, kind="started")])
    return row


def a_key(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def a_member(name: str, **changes: Any) -> Member:
    facts: dict[str, Any] = {
        "name": name,
        "role": "node",
        "signing_key": a_key(f"signing {name}"),
        "agreement_key": a_key(f"agreement {name}"),
        "enrolled": 1.0,
        "expires": 1000.0,
    }
    return Member(**(facts | changes))
