"""Incidents with their alerts and timeline, runs with their steps, claims, and modes."""

from alembic import op

revision = "0001"
down_revision = None

INCIDENTS = """
create table incidents (
    id bigint generated always as identity primary key,
    alert_name text not null,
    node text not null,
    gpu text not null,
    severity text not null check (severity in ('info', 'warning', 'critical')),
    state text not null default 'open' check (state in ('open', 'acknowledged', 'closed')),
    summary text not null,
    labels jsonb not null,
    runbook text not null,
    opened_at timestamptz not null default clock_timestamp(),
    acknowledged_at timestamptz,
    acknowledged_by text not null default '',
    closed_at timestamptz,
    closed_by text not null default '',
    check ((state = 'closed') = (closed_at is not null))
);
-- of the same thing on the same node and GPU one incident is open, however many alerts arrive at once
create unique index incidents_one_open on incidents (alert_name, node, gpu) where state <> 'closed';

create table alerts (
    fingerprint text not null,
    starts_at timestamptz not null,
    incident bigint not null references incidents,
    status text not null check (status in ('firing', 'resolved')),
    labels jsonb not null,
    annotations jsonb not null,
    ends_at timestamptz,
    taken_at timestamptz not null default clock_timestamp(),
    primary key (fingerprint, starts_at)
);
create index alerts_of_incident on alerts (incident);

create table timeline (
    id bigint generated always as identity primary key,
    incident bigint not null references incidents,
    at timestamptz not null default clock_timestamp(),
    kind text not null,
    who text not null,
    text text not null,
    data jsonb not null default '{}'
);
create index timeline_of_incident on timeline (incident, id);
"""

RUNS = """
create table runs (
    id bigint generated always as identity primary key,
    runbook text not null,
    title text not null,
    incident bigint references incidents,
    params jsonb not null,
    page text not null,
    policy jsonb not null,
    digest text not null,
    mode text not null check (mode in ('observe', 'propose', 'auto')),
    state text not null check (state in
        ('planned', 'proposed', 'running', 'waiting', 'stopped', 'done', 'failed', 'aborted')),
    why text not null default '',
    blast text not null,
    asked_by text not null,
    asked_at timestamptz not null default clock_timestamp(),
    approved_by text not null default '',
    approved_at timestamptz,
    ended_at timestamptz,
    check ((state in ('done', 'failed', 'aborted')) = (ended_at is not null))
);
create index runs_of_incident on runs (incident);
create index runs_not_ended on runs (id) where ended_at is null;
-- a page is carried out once at a time for an incident
create unique index runs_one_live on runs (incident, runbook)
    where incident is not null and state in ('proposed', 'running', 'waiting', 'stopped');

create table steps (
    run bigint not null references runs,
    index integer not null check (index >= 0),
    name text not null,
    section text not null,
    action text not null,
    arguments jsonb not null,
    state text not null default 'pending' check (state in
        ('pending', 'reserved', 'waiting', 'done', 'failed', 'unknown', 'skipped')),
    before jsonb not null default '{}',
    outcome jsonb not null default '{}',
    output text not null default '',
    why text not null default '',
    attempts integer not null default 0,
    started_at timestamptz,
    ended_at timestamptz,
    primary key (run, index)
);

create table step_history (
    id bigint generated always as identity primary key,
    run bigint not null,
    index integer not null,
    at timestamptz not null default clock_timestamp(),
    state text not null,
    attempts integer not null,
    before jsonb not null,
    outcome jsonb not null,
    why text not null,
    foreign key (run, index) references steps
);
create index step_history_of_run on step_history (run, id);

create function keep_step_history() returns trigger language plpgsql as $$
begin
    insert into step_history (run, index, state, attempts, before, outcome, why)
        values (new.run, new.index, new.state, new.attempts, new.before, new.outcome, new.why);
    return null;
end $$;
create trigger keep_history after insert on steps for each row execute function keep_step_history();
create trigger keep_history_of_change after update on steps for each row
    when ((old.state, old.attempts, old.outcome, old.why)
        is distinct from (new.state, new.attempts, new.outcome, new.why))
    execute function keep_step_history();
"""

CLAIMS = """
create table claims (
    id bigint generated always as identity primary key,
    node text not null,
    owner text not null,
    kind text not null check (kind in ('node_problem', 'user_problem', 'maintenance')),
    why text not null,
    made_by text not null,
    made_at timestamptz not null default clock_timestamp(),
    released_at timestamptz,
    released_by text not null default ''
);
create unique index claims_one_open on claims (node, owner) where released_at is null;

create table mode_changes (
    id bigint generated always as identity primary key,
    runbook text not null,
    mode text not null check (mode in ('observe', 'propose', 'auto')),
    who text not null,
    at timestamptz not null default clock_timestamp()
);
create index mode_changes_of_runbook on mode_changes (runbook, id);
"""

APPEND_ONLY = """
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are only ever added', tg_table_name using errcode = 'integrity_constraint_violation';
end $$;
create trigger append_only before update or delete on timeline for each row execute function refuse_change();
create trigger append_only before update or delete on step_history for each row execute function refuse_change();
create trigger append_only before update or delete on mode_changes for each row execute function refuse_change();
create trigger never_emptied before truncate on timeline for each statement execute function refuse_change();
create trigger never_emptied before truncate on step_history for each statement execute function refuse_change();
create trigger never_emptied before truncate on mode_changes for each statement execute function refuse_change();
"""


def upgrade() -> None:
    """Make the first schema."""
    for statements in (INCIDENTS, RUNS, CLAIMS, APPEND_ONLY):
        op.execute(statements)
