"""What software and hardware nodes have, as each told it last."""

from alembic import op

revision = "0006"
down_revision = "0005"

FINGERPRINTS = """
create table fingerprints (
    node text primary key,
    parts text not null,
    digest text not null,
    told_at timestamptz not null,
    changed_at timestamptz not null,
    check (changed_at <= told_at)
);
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(FINGERPRINTS)
