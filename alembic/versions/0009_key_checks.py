"""Check values of the keyring's keys, by which another keyring is refused before it seals or sends anything.

Revision: 0009_key_checks, after 0008_content
"""

import sqlalchemy as sa
from alembic import op

revision = "0009_key_checks"
down_revision = "0008_content"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A row for each version; the first command or worker that comes with its keyring writes them."""
    op.create_table(
        "key_checks",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("check_value", sa.Text(), nullable=False),
        sa.Column("first_used_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_key_checks")),
    )


def downgrade() -> None:
    """Which keys were used is forgotten; the next to come write them anew after an upgrade."""
    op.drop_table("key_checks")
