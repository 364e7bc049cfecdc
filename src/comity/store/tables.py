"""The tables of a journal. A change here needs a migration beside it (`migrations/versions`)."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
)

HEAD = "0002"
"""The newest migration: a database that is there already needs none."""


class JsonText(TypeDecorator[Any]):
    """JSON as ASCII text that reads back exactly: databases' own JSON types reorder, round and refuse."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


METADATA = MetaData()

RUNS = Table(
    "runs",
    METADATA,
    Column("id", String(16), primary_key=True),
    Column("job", String(64), nullable=False),
    Column("submitter", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("detail", JsonText, nullable=False),
    Column("created", Double, nullable=False),
    Column("dataset", String(64), nullable=False),
    Column("manifest", Text, nullable=False),
    Column("layout", Text, nullable=False),
    Column("source", Text),
    Column("source_digest", String(64)),
    Column("parties", JsonText, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("runs_by_submitter", "submitter"),
    Index("runs_by_state", "state"),
)

RECORDS = Table(
    "records",
    METADATA,
    Column("run", String(16), ForeignKey("runs.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("body", JsonText, nullable=False),
    PrimaryKeyConstraint("run", "seq"),
    Index("records_by_kind", "run", "kind", "seq"),
)

MEMBERS = Table(
    "members",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("thumbprint", String(43), nullable=False),
    Column("role", String(16), nullable=False),
    Column("signing_key", String(43), nullable=False),
    Column("agreement_key", String(43), nullable=False),
    Column("enrolled", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("revoked", Boolean, nullable=False),
    Column("tags", JsonText, nullable=False),
    Column("datasets", JsonText, nullable=False),
    Column("seen", Double),
    Index("members_by_thumbprint", "thumbprint", unique=True),
    Index("members_by_agreement_key", "agreement_key", unique=True),
)

INVITATIONS = Table(
    "invitations",
    METADATA,
    Column("secret_digest", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("tags", JsonText, nullable=False),
    Column("expires", Double, nullable=False),
    Column("used", Double),
)

ROSTERS = Table(
    "rosters",
    METADATA,
    Column("issued", Double, primary_key=True),
    Column("body", Text, nullable=False),
)
"""Those that a registrar signed whose key is kept elsewhere: all of them, of which the newest counts."""

NONCES = Table(
    "nonces",
    METADATA,
    Column("key", String(64), nullable=False),
    Column("nonce", String(128), nullable=False),
    Column("expires", Double, nullable=False),
    PrimaryKeyConstraint("key", "nonce"),
    Index("nonces_by_expiry", "expires"),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("who", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("detail", JsonText, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)

AUDIT_HEAD = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
)
"""One row: where the chain of the audit ends. Writers take turns on it, and a chain that was cut short shows."""
