"""How many reports of a node in a row did not name a check of which something fires."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.execute("alter table health_reports add column silent jsonb not null default '{}'")
