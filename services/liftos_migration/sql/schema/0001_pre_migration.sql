-- Migration's tables. Every key begins with the org, and every table has a row-level security policy: a session
-- sees the org that it has set and no other. Codes of enums are their numbers in the contract.

create table migrations (
    org text collate "C" not null,
    migration text collate "C" not null,
    -- What a person decided.
    display_name text not null,
    module text collate "C" not null,
    source jsonb not null,
    mapping jsonb not null,
    capture_mode smallint not null default 0,
    gates jsonb not null,
    cut_over_gates jsonb not null,
    budgets jsonb not null,
    throttle jsonb not null,
    triggers jsonb not null,
    cut_over_windows jsonb not null,
    pace smallint not null,
    rehearsal boolean not null,
    plan_sha256 text not null,
    -- Where it is.
    state smallint not null default 1,
    resume_state smallint,
    state_reason text not null default '',
    cut_over_phase smallint not null default 0,
    rollback_level smallint not null default 0,
    -- Where a rollback ends.
    rollback_end smallint,
    purge boolean not null default false,
    progress jsonb not null default '{}',
    progress_time timestamptz,
    -- Rises where what was done before no longer counts and is done again.
    generation int not null default 1,
    -- Who advances it, by the clock of this database. The epoch rises with each worker that takes it, is proved by
    -- each of its transactions and travels with each of its writes to Memory: a worker that was frozen and wakes up
    -- can write nothing.
    epoch bigint not null default 0,
    lease_owner text not null default '',
    lease_end_time timestamptz,
    -- The end of the ledger's chain.
    head_link bigint not null default 0,
    head_sha256 bytea not null default decode(repeat('00', 32), 'hex'),
    revision bigint not null default 1,
    create_time timestamptz not null default now(),
    update_time timestamptz not null default now(),
    primary key (org, migration),
    -- A stopped migration, and no other, knows where it goes on.
    check ((state in (15, 16, 17)) = (resume_state is not null))
);
create index migrations_create_time on migrations (org, create_time);
create index migrations_working on migrations (update_time) where state not in (1, 14, 15, 16, 17, 19, 20);

-- The ledger. Attempts of steps that have ended and decisions are one chain: `link` is the place in it, and `sha256`
-- is taken over the hash of the row before and all other columns. An attempt that is under way is in no chain yet.
create table steps (
    org text collate "C" not null,
    migration text collate "C" not null,
    sequence bigint not null,
    phase smallint not null,
    title text collate "C" not null,
    generation int not null,
    attempt int not null,
    -- 2 under way, 3 done, 4 failed or stopped, 5 taken back.
    state smallint not null,
    epoch bigint not null,
    snapshot text not null default '',
    input jsonb not null,
    output jsonb,
    error text not null default '',
    link bigint,
    previous_sha256 bytea,
    sha256 bytea,
    start_time timestamptz not null default clock_timestamp(),
    end_time timestamptz,
    primary key (org, migration, sequence),
    unique (org, migration, phase, title, generation, attempt),
    foreign key (org, migration) references migrations on delete cascade,
    check ((state = 2) = (link is null))
);
-- One attempt at a time, and each step done once.
create unique index steps_under_way on steps (org, migration) where state = 2;
create unique index steps_done on steps (org, migration, phase, title, generation) where state = 3;

create table decisions (
    org text collate "C" not null,
    migration text collate "C" not null,
    sequence bigint not null,
    action text not null,
    subject text not null,
    reason text not null,
    readings jsonb not null,
    inputs jsonb not null,
    state_before smallint not null,
    state_after smallint not null,
    dry_run boolean not null,
    link bigint not null,
    previous_sha256 bytea not null,
    sha256 bytea not null,
    create_time timestamptz not null default clock_timestamp(),
    primary key (org, migration, sequence),
    foreign key (org, migration) references migrations on delete cascade
);

-- Snapshots of the source that can be restored; one counts once its restore was tested.
create table snapshots (
    org text collate "C" not null,
    migration text collate "C" not null,
    snapshot text collate "C" not null,
    -- The attempt of a step that it was taken before.
    before_step bigint not null,
    tables text[] not null,
    row_count bigint not null,
    size_bytes bigint not null,
    sha256 text not null,
    schema_sha256 text not null,
    plan_sha256 text not null,
    lsn text not null,
    restore_seconds double precision,
    create_time timestamptz not null,
    primary key (org, migration, snapshot),
    foreign key (org, migration) references migrations on delete cascade
);

-- Tables that are copied in parts, with the rows that they had when they were cut.
create table copied_tables (
    org text collate "C" not null,
    migration text collate "C" not null,
    generation int not null,
    table_name text collate "C" not null,
    row_count bigint not null,
    primary key (org, migration, generation, table_name),
    foreign key (org, migration) references migrations on delete cascade
);

-- Ranges of a table's keys, each copied in order. Keys are texts of their columns; null begins or ends with the
-- table.
create table parts (
    org text collate "C" not null,
    migration text collate "C" not null,
    generation int not null,
    table_name text collate "C" not null,
    part int not null,
    after_key text[],
    up_to_key text[],
    -- Up to where it is copied; null where nothing is.
    last_key text[],
    chunk_count int not null default 0,
    row_count bigint not null default 0,
    done boolean not null default false,
    primary key (org, migration, generation, table_name, part),
    foreign key (org, migration, generation, table_name) references copied_tables on delete cascade
);

-- Chunks that Memory has acknowledged; each is recorded once.
create table chunks (
    org text collate "C" not null,
    migration text collate "C" not null,
    generation int not null,
    table_name text collate "C" not null,
    part int not null,
    chunk int not null,
    last_key text[],
    row_count bigint not null,
    -- Of what was sent.
    sha256 bytea not null,
    epoch bigint not null,
    commit_time timestamptz not null default clock_timestamp(),
    primary key (org, migration, generation, table_name, part, chunk),
    foreign key (org, migration, generation, table_name, part) references parts on delete cascade
);

-- What sees changes of the source, and how far they were applied.
create table captures (
    org text collate "C" not null,
    migration text collate "C" not null,
    mode smallint not null,
    -- Which server, timeline and slot or triggers it belongs to.
    identity jsonb not null,
    -- Up to where the source may forget.
    position text not null default '',
    -- What of the source the newest round saw, and when that was by the source's clock.
    snapshot text not null default '',
    round_count bigint not null default 0,
    applied_count bigint not null default 0,
    apply_time timestamptz,
    primary key (org, migration),
    foreign key (org, migration) references migrations on delete cascade
);

-- Rows that could not be taken in.
create table rejects (
    org text collate "C" not null,
    migration text collate "C" not null,
    reject uuid not null default gen_random_uuid(),
    table_name text collate "C" not null,
    -- Compact JSON, columns by name.
    key text collate "C" not null,
    -- copy, apply or reverse.
    phase text not null,
    row jsonb not null,
    errors jsonb not null,
    -- 1 open, 2 resolved, 3 waived.
    state smallint not null default 1,
    -- What a person said the row should be; null where nothing was said.
    corrected_row jsonb,
    reason text not null default '',
    subject text not null default '',
    attempt_count int not null default 1,
    create_time timestamptz not null default now(),
    update_time timestamptz not null default now(),
    end_time timestamptz,
    primary key (org, migration, reject),
    foreign key (org, migration) references migrations on delete cascade
);
-- The same record refused again is the same reject.
create unique index rejects_open on rejects (org, migration, table_name, key) where state = 1;
create index rejects_create_time on rejects (org, migration, create_time);

create table verifications (
    org text collate "C" not null,
    migration text collate "C" not null,
    verification uuid not null default gen_random_uuid(),
    -- 1 running, 2 passed, 3 failed, 4 unverified, 5 cancelled.
    state smallint not null default 1,
    tier smallint not null,
    incremental boolean not null,
    -- Only these; none means all.
    tables text[] not null default '{}',
    check_kinds smallint[] not null default '{}',
    -- Whether it is of a repair, and writes what differs before it compares anew.
    repair boolean not null default false,
    checks jsonb not null default '[]',
    accuracy double precision not null default 0,
    completeness double precision not null default 0,
    source_position text not null default '',
    write_token text not null default '',
    done_buckets bigint not null default 0,
    total_buckets bigint not null default 0,
    -- The step that asked for it; null where a person did.
    step bigint,
    subject text not null default '',
    error text not null default '',
    epoch bigint not null default 0,
    create_time timestamptz not null default now(),
    start_time timestamptz,
    end_time timestamptz,
    primary key (org, migration, verification),
    foreign key (org, migration) references migrations on delete cascade
);
create index verifications_create_time on verifications (org, migration, create_time);

create table verification_entities (
    org text collate "C" not null,
    migration text collate "C" not null,
    verification uuid not null,
    table_name text collate "C" not null,
    source_count bigint not null,
    matched_count bigint not null,
    missing_count bigint not null,
    extra_count bigint not null,
    different_count bigint not null,
    rejected_count bigint not null,
    waived_count bigint not null,
    merged_count bigint not null,
    unverified text not null default '',
    source_root bytea not null,
    target_root bytea not null,
    primary key (org, migration, verification, table_name),
    foreign key (org, migration, verification) references verifications on delete cascade
);

create table differences (
    org text collate "C" not null,
    migration text collate "C" not null,
    verification uuid not null,
    table_name text collate "C" not null,
    -- Compact JSON, columns by name; of an extra record the record's name.
    key text collate "C" not null,
    kind smallint not null,
    target_record text not null default '',
    fields jsonb not null default '[]',
    cause text not null default '',
    primary key (org, migration, verification, table_name, key),
    foreign key (org, migration, verification) references verifications on delete cascade
);

-- The newest inventory of the source; `item` is its place, by kind and name.
create table inventories (
    org text collate "C" not null,
    migration text collate "C" not null,
    sha256 text not null,
    inspect_time timestamptz not null default now(),
    primary key (org, migration),
    foreign key (org, migration) references migrations on delete cascade
);

create table inventory_items (
    org text collate "C" not null,
    migration text collate "C" not null,
    item int not null,
    kind smallint not null,
    object text collate "C" not null,
    columns jsonb not null,
    key_columns text[] not null,
    row_count bigint not null,
    size_bytes bigint not null,
    sha256 text not null,
    depends_on text[] not null,
    definition text not null,
    mapped boolean not null,
    waived boolean not null,
    unmapped_columns text[] not null,
    primary key (org, migration, item),
    foreign key (org, migration) references inventories on delete cascade
);

create table preflights (
    org text collate "C" not null,
    migration text collate "C" not null,
    preflight uuid not null default gen_random_uuid(),
    plan_sha256 text not null,
    findings jsonb not null,
    capture_modes smallint[] not null,
    startable boolean not null,
    cut_over_allowed boolean not null,
    row_count bigint not null,
    size_bytes bigint not null,
    estimated_copy_seconds double precision,
    estimated_pause_seconds double precision,
    estimated_rollback_seconds double precision,
    clock_offset_seconds double precision,
    check_time timestamptz not null default now(),
    primary key (org, migration, preflight),
    foreign key (org, migration) references migrations on delete cascade
);
create index preflights_check_time on preflights (org, migration, check_time);

create table request_ids (
    org text collate "C" not null,
    method text not null,
    request_id uuid not null,
    payload_digest bytea not null,
    response bytea,
    create_time timestamptz not null default now(),
    primary key (org, method, request_id)
);
create index request_ids_create_time on request_ids (create_time);

-- Leases. Each is one statement, so that a worker that is frozen never holds a lock between two.
-- Takes a migration that wants to go on, where nobody has it.
create function take_migration(p_org text, p_migration text, p_owner text, p_lease interval) returns bigint
language plpgsql as $$
declare
    taken bigint;
begin
    perform set_config('liftos.org', p_org, true);
    update migrations
    set epoch = epoch + 1, lease_owner = p_owner, lease_end_time = clock_timestamp() + p_lease
    where org = p_org and migration = p_migration and state not in (1, 14, 15, 16, 17, 19, 20)
      and (lease_end_time is null or lease_end_time < clock_timestamp())
    returning epoch into taken;
    return taken;
end $$;

create function renew_migration(p_org text, p_migration text, p_epoch bigint, p_lease interval, p_progress jsonb)
returns table (state smallint, generation int, revision bigint) language plpgsql as $$
begin
    perform set_config('liftos.org', p_org, true);
    return query update migrations m
    set lease_end_time = clock_timestamp() + p_lease, progress = coalesce(p_progress, m.progress),
        progress_time = case when p_progress is null then m.progress_time else clock_timestamp() end
    where m.org = p_org and m.migration = p_migration and m.epoch = p_epoch and m.lease_end_time is not null
    returning m.state, m.generation, m.revision;
end $$;

create function release_migration(p_org text, p_migration text, p_epoch bigint) returns void
language plpgsql as $$
begin
    perform set_config('liftos.org', p_org, true);
    update migrations set lease_owner = '', lease_end_time = null
    where org = p_org and migration = p_migration and epoch = p_epoch;
    -- Whoever looks next may have it at once.
    perform pg_notify('liftos_migration', p_org || '/' || p_migration);
end $$;

-- The worker's view over all orgs.
create function due_migrations(p_limit int) returns table (org text, migration text)
language sql security definer set search_path from current as $$
    select m.org, m.migration from migrations m
    where m.state not in (1, 14, 15, 16, 17, 19, 20)
      and (m.lease_end_time is null or m.lease_end_time < clock_timestamp())
    order by m.update_time limit p_limit
$$;

create function forget_old_requests(p_keep interval) returns bigint
language sql security definer set search_path from current as $$
    with gone as (delete from request_ids where create_time < now() - p_keep returning 1)
    select count(*) from gone
$$;

do $$
declare
    name text;
begin
    if not exists (select from pg_roles where rolname = 'liftos_app') then
        raise exception 'the role liftos_app is missing'
            using hint = 'create role liftos_app login password ''…'' nosuperuser nobypassrls';
    end if;
    foreach name in array array[
        'migrations', 'steps', 'decisions', 'snapshots', 'copied_tables', 'parts', 'chunks', 'captures', 'rejects',
        'verifications', 'verification_entities', 'differences', 'inventories', 'inventory_items', 'preflights',
        'request_ids'
    ] loop
        execute format('alter table %I enable row level security', name);
        execute format(
            'create policy own_org on %I using (org = (select current_setting(''liftos.org'', true)))', name);
        execute format('grant select, insert, update, delete on %I to liftos_app', name);
    end loop;
end $$;
do $$ begin execute format('grant usage on schema %I to liftos_app', current_schema()); end $$;
revoke execute on function due_migrations, forget_old_requests from public;
grant execute on function due_migrations, forget_old_requests to liftos_app;
