"""What is known of the content that came: whether it is whole, how it is encoded, where it is; sends after settlement.

Revision: 0008_content, after 0007_readers
"""

import sqlalchemy as sa
from alembic import op

revision = "0008_content"
down_revision = "0007_readers"
branch_labels = None
depends_on = None

# What is asked for again: few rows at any time, found without reading the others.
OWED = "delivery = 'UNDELIVERED' AND closed_at IS NOT NULL"


def upgrade() -> None:
    """Adds columns that are empty for what came before, and the index of what is owed."""
    op.add_column("api_request_logs", sa.Column("content_complete", sa.Boolean()))
    op.add_column("api_request_logs", sa.Column("content_encoding", sa.Text()))
    op.add_column("api_request_logs", sa.Column("content_location", sa.Text()))
    op.add_column("transactions", sa.Column("settled_sends", sa.Integer(), server_default="0", nullable=False))
    op.create_index("ix_api_request_logs_owed", "api_request_logs", ["closed_at"], postgresql_where=sa.text(OWED))


def downgrade() -> None:
    """Drops them; the content itself stays."""
    op.drop_index("ix_api_request_logs_owed", table_name="api_request_logs")
    op.drop_column("transactions", "settled_sends")
    for column in ("content_location", "content_encoding", "content_complete"):
        op.drop_column("api_request_logs", column)
