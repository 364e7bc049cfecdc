"""Rosters that a registrar signed elsewhere; nobody takes another member's agreement key."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rosters",
        sa.Column("issued", sa.Double, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("members_by_agreement_key", "members", ["agreement_key"], unique=True)
