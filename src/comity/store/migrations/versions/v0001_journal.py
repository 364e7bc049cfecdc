"""The journal: runs and their records, members and invitations, nonces, the audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("submitter", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("layout", sa.Text, nullable=False),
        sa.Column("source", sa.Text),
        sa.Column("source_digest", sa.String(64)),
        sa.Column("parties", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_index("runs_by_submitter", "runs", ["submitter"])
    op.create_index("runs_by_state", "runs", ["state"])
    op.create_table(
        "records",
        sa.Column("run", sa.String(16), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run", "seq"),
    )
    op.create_index("records_by_kind", "records", ["run", "kind", "seq"])
    _people()
    _audit()


def _people() -> None:
    op.create_table(
        "members",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("thumbprint", sa.String(43), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("signing_key", sa.String(43), nullable=False),
        sa.Column("agreement_key", sa.String(43), nullable=False),
        sa.Column("enrolled", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("revoked", sa.Boolean, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("datasets", sa.Text, nullable=False),
        sa.Column("seen", sa.Double),
    )
    op.create_index("members_by_thumbprint", "members", ["thumbprint"], unique=True)
    op.create_table(
        "invitations",
        sa.Column("secret_digest", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("used", sa.Double),
    )
    op.create_table(
        "nonces",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("nonce", sa.String(128), nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("key", "nonce"),
    )
    op.create_index("nonces_by_expiry", "nonces", ["expires"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "digest": "0" * 64}])
