"""Burn-ins with their nodes and jobs, and the certificates of nodes that passed."""

from alembic import op

revision = "0007"
down_revision = "0006"

BURN_INS = """
create table burn_ins (
    id bigint generated always as identity primary key,
    state text not null default 'running' check (state in ('running', 'done', 'aborted')),
    why text not null default '',
    workloads jsonb not null,
    seconds double precision not null check (seconds > 0),
    made_by text not null,
    made_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    wound_up boolean not null default false,
    check ((state = 'running') = (ended_at is null))
);
create index burn_ins_going on burn_ins (id) where not wound_up;

create table certificates (
    id bigint generated always as identity primary key,
    node text not null,
    burn_in bigint not null references burn_ins,
    profile text not null,
    fingerprint text not null,
    results jsonb not null,
    issued_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    revoked_why text not null default ''
);
create index certificates_of_node on certificates (node, id);

create table burn_in_nodes (
    burn_in bigint not null references burn_ins,
    node text not null,
    profile text not null,
    outcome text not null default '' check (outcome in ('', 'passed', 'failed', 'unknown')),
    why jsonb not null default '[]',
    lifts text not null default '',
    certificate bigint references certificates,
    primary key (burn_in, node),
    check ((outcome = 'passed') = (certificate is not null))
);

create table burn_in_jobs (
    id bigint generated always as identity primary key,
    burn_in bigint not null references burn_ins,
    phase text not null check (phase in ('node', 'pair', 'pair_search', 'group')),
    round integer not null check (round >= 0),
    nodes jsonb not null,
    workloads jsonb not null,
    token text not null,
    state text not null default 'planned' check (state in ('planned', 'submitted', 'ended')),
    slurm_job text not null default '',
    why text not null default '',
    log text not null default '',
    made_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
);
create index burn_in_jobs_of_burn_in on burn_in_jobs (burn_in, id);
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(BURN_INS)
