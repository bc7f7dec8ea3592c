"""What fires by a node's own reports, and when its newest was made; events go only where there are too many."""

from alembic import op

revision = "0003"
down_revision = "0002"

REPORTS = """
create table health_reports (
    node text primary key,
    at timestamptz not null,
    taken_at timestamptz not null default clock_timestamp()
);

-- the node whose report an alert was made of; empty for Alertmanager's, whatever their labels say
alter table alerts add column reported_by text not null default '';
update alerts set reported_by = coalesce(labels ->> 'node', '') where labels ->> 'source' = 'node report';
create index alerts_reported on alerts (reported_by, taken_at) where reported_by <> '';
create index alerts_firing_by_report on alerts (reported_by) where reported_by <> '' and status = 'firing';
"""

EVENTS = """
create index events_taken on events (node, taken_at);
-- the daemon lets the oldest of a node go where there are too many of them, and says so; nobody else does
create trigger kept before delete on events for each row
    when (coalesce(current_setting('fleetward.forgets', true), '') <> 'events') execute function refuse_change();
create trigger never_emptied before truncate on events for each statement execute function refuse_change();
"""


def upgrade() -> None:
    """Make the table, the indices and the triggers."""
    for statements in (REPORTS, EVENTS):
        op.execute(statements)
