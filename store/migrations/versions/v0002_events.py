"""Events, what nodes told of faults of their GPUs and switches; and a way to what fires on a node."""

from alembic import op

revision = "0002"
down_revision = "0001"

EVENTS = """
create table events (
    id bigint generated always as identity primary key,
    node text not null,
    key text not null,
    at timestamptz not null,
    taken_at timestamptz not null default clock_timestamp(),
    kind text not null check (kind in ('xid', 'sxid')),
    code integer not null,
    gpu text not null,
    uuid text not null,
    address text not null,
    severity text not null check (severity in ('info', 'warning', 'degraded', 'fatal')),
    action text not null,
    blame text not null,
    meaning text not null,
    source text not null,
    parent text not null,
    line text not null,
    -- however often a node tells of a fault, it is one event
    unique (node, key)
);
create index events_of_node on events (node, at);
create index events_by_time on events (at);
create trigger append_only before update on events for each row execute function refuse_change();
"""


def upgrade() -> None:
    """Make table and index."""
    op.execute(EVENTS)
