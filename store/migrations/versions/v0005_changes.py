"""Changes, their nodes, and what was said about them; a run may be a part of one."""

from alembic import op

revision = "0005"
down_revision = "0004"

CHANGES = """
create table changes (
    id bigint generated always as identity primary key,
    page text not null,
    title text not null,
    text text not null,
    params jsonb not null,
    digest text not null,
    budget integer not null check (budget >= 0),
    forecast jsonb not null,
    state text not null default 'planned' check (state in
        ('planned', 'running', 'paused', 'stopped', 'done', 'aborted')),
    why text not null default '',
    made_by text not null,
    made_at timestamptz not null default clock_timestamp(),
    approved_by text not null default '',
    approved_at timestamptz,
    ended_at timestamptz,
    check ((state in ('done', 'aborted')) = (ended_at is not null))
);
create index changes_not_ended on changes (id) where ended_at is null;

alter table runs add column change bigint references changes;
create index runs_of_change on runs (change) where change is not null;

create table change_nodes (
    change bigint not null references changes,
    node text not null,
    batch integer not null check (batch > 0),
    state text not null default 'waiting' check (state in
        ('waiting', 'under_way', 'asks', 'done', 'failed', 'left_out', 'given_back')),
    run bigint references runs,
    why text not null default '',
    began_at timestamptz,
    ended_at timestamptz,
    primary key (change, node),
    check (run is not null or state in ('waiting', 'left_out', 'given_back'))
);

create table change_history (
    id bigint generated always as identity primary key,
    change bigint not null references changes,
    at timestamptz not null default clock_timestamp(),
    who text not null,
    text text not null
);
create index change_history_of_change on change_history (change, id);
create trigger append_only before update or delete on change_history for each row execute function refuse_change();
create trigger never_emptied before truncate on change_history for each statement execute function refuse_change();
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(CHANGES)
