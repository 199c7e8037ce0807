-- Ingestion's tables. Every key begins with the org, and every table has a row-level security policy: a
-- session sees the org that it has set and no other. Codes of enums are their numbers in the contract.

create table connections (
    org text collate "C" not null,
    connection text collate "C" not null,
    display_name text not null,
    platform text collate "C" not null,
    settings jsonb not null,
    disabled boolean not null,
    state smallint not null,
    missing_scopes text[] not null default '{}',
    verify_time timestamptz,
    -- When a worker last began to verify it by itself.
    verify_attempt_time timestamptz,
    -- When a reading last found that an account is not what is known of it.
    verify_ask_time timestamptz,
    -- Where the credential is: 0 none, 1 here and encrypted, 2 in the environment, 3 in a file.
    credential_kind smallint not null default 0,
    credential_fields text[] not null default '{}',
    credential_reference text not null default '',
    credential_sealed bytea,
    credential_key_id text not null default '',
    credential_expire_time timestamptz,
    credential_update_time timestamptz,
    granted_scopes text[] not null default '{}',
    revision bigint not null default 1,
    create_time timestamptz not null default now(),
    update_time timestamptz not null default now(),
    primary key (org, connection)
);

create table accounts (
    org text collate "C" not null,
    connection text collate "C" not null,
    account_id text collate "C" not null,
    -- Named by a person; the others are those that the credential may read.
    named boolean not null,
    disabled boolean not null,
    display_name text not null default '',
    time_zone text not null default '',
    currency_code text not null default '',
    closed boolean not null default false,
    outcome smallint not null default 0,
    read_time timestamptz,
    primary key (org, connection, account_id),
    foreign key (org, connection) references connections on delete cascade
);

create table sources (
    org text collate "C" not null,
    source text collate "C" not null,
    display_name text not null,
    kind smallint not null,
    definition jsonb not null,
    mapping jsonb not null,
    revision bigint not null default 1,
    create_time timestamptz not null default now(),
    update_time timestamptz not null default now(),
    primary key (org, source)
);

-- Campaigns, ads, flows and so on with their names and states of now, deleted ones too.
create table objects (
    org text collate "C" not null,
    platform text collate "C" not null,
    account_id text collate "C" not null,
    level smallint not null,
    object_id text collate "C" not null,
    parent_id text collate "C" not null,
    display_name text not null,
    state text not null,
    create_time timestamptz not null default now(),
    update_time timestamptz not null default now(),
    primary key (org, platform, account_id, level, object_id)
);

create table schedules (
    org text collate "C" not null,
    schedule text collate "C" not null,
    display_name text not null,
    connection text collate "C" not null,
    account_ids text[] not null,
    levels smallint[] not null,
    cron text not null,
    time_zone text not null,
    lookback_days int not null,
    overlap_policy smallint not null,
    catchup_seconds bigint not null,
    paused boolean not null,
    -- Fire times before this one are done with.
    due_after timestamptz not null,
    -- A fire time that waits until the run before has ended.
    buffered_fire_time timestamptz,
    last_run uuid,
    revision bigint not null default 1,
    create_time timestamptz not null default now(),
    update_time timestamptz not null default now(),
    primary key (org, schedule),
    foreign key (org, connection) references connections on delete cascade
);

create table runs (
    org text collate "C" not null,
    run uuid not null,
    kind smallint not null,
    connection text collate "C" not null,
    platform text collate "C" not null,
    schedule text collate "C" not null default '',
    fire_time timestamptz,
    start_date date not null,
    end_date date not null,
    levels smallint[] not null,
    account_ids text[] not null,
    force boolean not null,
    state smallint not null,
    reason text not null default '',
    error jsonb,
    subject text not null,
    trace_parent text,
    -- What a run of kind REPLAY waits for until then; other runs wait as their slices do.
    next_attempt_time timestamptz,
    wait_reason smallint not null default 0,
    wait_detail text not null default '',
    revision bigint not null default 1,
    create_time timestamptz not null default now(),
    start_time timestamptz,
    end_time timestamptz,
    update_time timestamptz not null default now(),
    primary key (org, run)
);
create index runs_create_time on runs (org, create_time);
create index runs_open on runs (org, connection) where state in (1, 2, 6);
create index runs_ended on runs (org, connection, end_time) where state in (3, 4, 5);
create unique index runs_fire_time on runs (org, schedule, fire_time) where fire_time is not null;

-- What is read, committed and resumed as a whole: a lane's range of days. A lane is what replaces slices of one
-- account, level, attribution and date basis; its writes are in order. Level 0 and date basis 0 are the objects of
-- the account: their lane has a slice for each day on which they are listed.
create table run_slices (
    org text collate "C" not null,
    slice uuid not null,
    run uuid not null,
    connection text collate "C" not null,
    platform text collate "C" not null,
    account_id text collate "C" not null,
    level smallint not null,
    attribution_key text not null,
    date_basis smallint not null,
    start_date date not null,
    end_date date not null,
    state smallint not null,
    -- As the rate governor knows it: a lower one goes first.
    priority int not null,
    attempt int not null default 0,
    platform_job jsonb,
    next_attempt_time timestamptz not null default now(),
    -- Why it is parked, as in the contract, and the same for a person; 0 where it is not.
    wait_reason smallint not null default 0,
    wait_detail text not null default '',
    -- Since when it has been waiting for a limit, tries that met the limit again included.
    quota_since timestamptz,
    memory_slice text not null default '',
    row_count bigint not null default 0,
    upserted_count bigint not null default 0,
    restated_count bigint not null default 0,
    vanished_count bigint not null default 0,
    dead_letter_count bigint not null default 0,
    call_count bigint not null default 0,
    size_bytes bigint not null default 0,
    error jsonb,
    start_time timestamptz,
    end_time timestamptz,
    primary key (org, slice),
    foreign key (org, run) references runs on delete cascade
);
create index run_slices_run on run_slices (org, run, account_id, level, start_date);
create index run_slices_open on run_slices (next_attempt_time) where state in (1, 2, 3);
create index run_slices_lane on run_slices (org, platform, account_id, level, start_date) where state in (1, 2, 3);

-- Who may write a lane. The epoch grows with each holder and travels with every write to Memory, which refuses a
-- lower one: a worker that was frozen and wakes up can write nothing.
create table lanes (
    org text collate "C" not null,
    platform text collate "C" not null,
    account_id text collate "C" not null,
    level smallint not null,
    attribution_key text not null,
    date_basis smallint not null,
    epoch bigint not null default 0,
    slice uuid,
    worker text not null default '',
    lease_end_time timestamptz,
    primary key (org, platform, account_id, level, attribution_key, date_basis)
);

-- The days of a lane that were committed: what is still restated is read again, what is final is not.
create table lane_days (
    org text collate "C" not null,
    platform text collate "C" not null,
    account_id text collate "C" not null,
    level smallint not null,
    attribution_key text not null,
    date_basis smallint not null,
    date date not null,
    final boolean not null,
    commit_time timestamptz not null,
    change_time timestamptz not null,
    primary key (org, platform, account_id, level, attribution_key, date_basis, date)
);

-- Sums of what the platform answered for a day of a lane, by metric.
create table day_sums (
    org text collate "C" not null,
    platform text collate "C" not null,
    account_id text collate "C" not null,
    level smallint not null,
    attribution_key text not null,
    date_basis smallint not null,
    date date not null,
    metric text collate "C" not null,
    value numeric not null,
    run uuid not null,
    primary key (org, platform, account_id, level, attribution_key, date_basis, date, metric)
);

create table reconciliations (
    org text collate "C" not null,
    run uuid not null,
    platform text collate "C" not null,
    account_id text collate "C" not null,
    level smallint not null,
    date_basis smallint not null,
    date date not null,
    metric text collate "C" not null,
    stored_value bigint,
    platform_value bigint,
    state smallint not null,
    detail text not null,
    check_time timestamptz not null default now(),
    primary key (org, run, account_id, level, date_basis, date, metric)
);
create index reconciliations_check_time on reconciliations (org, check_time);
create index reconciliations_mismatched on reconciliations (org, check_time) where state = 2;
create index reconciliations_of_sum on reconciliations
    (org, platform, account_id, level, date_basis, date, metric, check_time);

create table dead_letters (
    org text collate "C" not null,
    dead_letter uuid not null,
    run uuid not null,
    connection text collate "C" not null,
    platform text collate "C" not null,
    account_id text collate "C" not null,
    level smallint not null,
    attribution_key text not null,
    date_basis smallint not null,
    date date,
    row jsonb not null,
    row_digest bytea not null,
    context jsonb not null,
    errors jsonb not null,
    state smallint not null,
    -- Whether its figures are among the sums of its day already.
    counted boolean not null,
    -- When the platform answered it last; what was committed of its day since is newer.
    read_time timestamptz not null,
    attempt_count int not null default 1,
    replay_run uuid,
    discard_reason text not null default '',
    create_time timestamptz not null default now(),
    update_time timestamptz not null default now(),
    primary key (org, dead_letter)
);
-- The same row refused again is the same dead letter.
create unique index dead_letters_open on dead_letters
    (org, platform, account_id, level, attribution_key, date_basis, row_digest) where state = 1;
create index dead_letters_create_time on dead_letters (org, create_time);

-- What a run of kind REPLAY has still to try.
create table replays (
    org text collate "C" not null,
    run uuid not null,
    dead_letter uuid not null,
    primary key (org, run, dead_letter),
    foreign key (org, run) references runs on delete cascade,
    foreign key (org, dead_letter) references dead_letters on delete cascade
);

create table alerts (
    org text collate "C" not null,
    alert uuid not null,
    kind smallint not null,
    -- What it is about; the same condition on the same object is one alert.
    subject text collate "C" not null,
    severity smallint not null,
    state smallint not null,
    summary text not null,
    remedy text not null,
    platform text not null,
    connection text not null,
    account_id text not null,
    run uuid,
    -- What showed it last; only something else counts as another occurrence.
    evidence text not null,
    occurrence_count bigint not null default 1,
    acknowledge_subject text not null default '',
    acknowledge_comment text not null default '',
    first_time timestamptz not null default now(),
    last_time timestamptz not null default now(),
    resolve_time timestamptz,
    primary key (org, alert)
);
create unique index alerts_open on alerts (org, kind, subject) where state in (1, 2);

create table alert_routes (
    org text collate "C" not null,
    alert_route text collate "C" not null,
    display_name text not null,
    target_kind text not null,
    target_sealed bytea not null,
    target_key_id text not null,
    kinds smallint[] not null,
    minimum_severity smallint not null,
    platforms text[] not null,
    disabled boolean not null,
    send_time timestamptz,
    send_error text not null default '',
    revision bigint not null default 1,
    create_time timestamptz not null default now(),
    update_time timestamptz not null default now(),
    primary key (org, alert_route)
);

-- Messages: written with the alert, sent afterwards. One that has gone out stays until the alert is over, since
-- who was told of an alert is told of its end.
create table alert_messages (
    org text collate "C" not null,
    alert_message uuid not null default gen_random_uuid(),
    alert uuid not null,
    alert_route text collate "C" not null,
    resolved boolean not null,
    -- Whether it may have reached its target.
    told boolean not null default false,
    attempt int not null default 0,
    -- Null where there is nothing to send (any more).
    next_attempt_time timestamptz default now(),
    primary key (org, alert_message),
    unique (org, alert, alert_route, resolved),
    foreign key (org, alert) references alerts on delete cascade,
    foreign key (org, alert_route) references alert_routes on delete cascade
);
create index alert_messages_due on alert_messages (next_attempt_time);

create table suspensions (
    org text collate "C" not null,
    suspension uuid not null,
    platform text not null,
    connection text not null,
    account_id text not null,
    reason text not null,
    subject text not null,
    create_time timestamptz not null default now(),
    end_time timestamptz,
    end_reason text not null default '',
    end_subject text not null default '',
    primary key (org, suspension)
);
create index suspensions_holding on suspensions (org) where end_time is null;

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

-- Takes a lane for a slice, where it is free: its lease is over or was given back. The holder's epoch is above
-- that of all before. Nothing comes back where another worker holds the lane, the slice is no longer open, its
-- time has not come, or it is suspended.
create function claim_slice(p_org text, p_slice uuid, p_worker text, p_lease interval)
returns table (epoch bigint, attempt int) language plpgsql as $$
#variable_conflict use_column
declare
    s run_slices;
    held bigint;
begin
    -- Whoever suspends takes it alone, so that what was not suspended when a claim looked is claimed by then.
    perform pg_advisory_xact_lock_shared(hashtextextended('suspend ' || p_org, 0));
    -- The lane before the slice, as whoever ends a slice takes them, so that no two wait for each other.
    perform from run_slices w, lanes l
    where w.org = p_org and w.slice = p_slice and l.org = w.org and l.platform = w.platform
      and l.account_id = w.account_id and l.level = w.level and l.attribution_key = w.attribution_key
      and l.date_basis = w.date_basis
    for update of l;
    select * into s from run_slices where org = p_org and slice = p_slice for update;
    if not found or s.state not in (1, 2, 3) or s.next_attempt_time > clock_timestamp() then
        return;
    end if;
    if exists (select from suspensions u where u.org = p_org and u.end_time is null
               and u.platform in ('', s.platform) and u.connection in ('', s.connection)
               and u.account_id in ('', s.account_id)) then
        return;
    end if;
    insert into lanes as l (org, platform, account_id, level, attribution_key, date_basis, epoch, slice, worker,
                            lease_end_time)
    values (p_org, s.platform, s.account_id, s.level, s.attribution_key, s.date_basis, 1, p_slice, p_worker,
            clock_timestamp() + p_lease)
    on conflict (org, platform, account_id, level, attribution_key, date_basis) do update
        set epoch = l.epoch + 1, slice = excluded.slice, worker = excluded.worker,
            lease_end_time = excluded.lease_end_time
        where l.lease_end_time is null or l.lease_end_time < clock_timestamp()
    returning l.epoch into held;
    if held is null then
        return;
    end if;
    update run_slices r
    set state = 2, attempt = r.attempt + 1, wait_reason = 0, wait_detail = '',
        start_time = coalesce(r.start_time, clock_timestamp())
    where r.org = p_org and r.slice = p_slice
    returning r.attempt into s.attempt;
    update runs r set state = 2, start_time = coalesce(r.start_time, clock_timestamp()),
        update_time = clock_timestamp(), revision = r.revision + 1
    where r.org = p_org and r.run = s.run and r.state = 1;
    return query select held, s.attempt;
end $$;

-- The worker's view over all orgs.
create function due_slices(p_limit int) returns table (org text, slice uuid, priority int)
language sql security definer set search_path from current as $$
    select s.org, s.slice, s.priority from run_slices s
    where s.state in (1, 2, 3) and s.next_attempt_time <= clock_timestamp()
      and not exists (
          select from lanes l where l.org = s.org and l.platform = s.platform and l.account_id = s.account_id
          and l.level = s.level and l.attribution_key = s.attribution_key and l.date_basis = s.date_basis
          and l.lease_end_time >= clock_timestamp())
      and not exists (
          select from suspensions u where u.org = s.org and u.end_time is null
          and u.platform in ('', s.platform) and u.connection in ('', s.connection)
          and u.account_id in ('', s.account_id))
    order by s.priority, s.next_attempt_time limit p_limit
$$;

create function due_schedules(p_now timestamptz) returns table (org text, schedule text)
language sql security definer set search_path from current as $$
    select s.org, s.schedule from schedules s join connections c using (org, connection)
    where not s.paused and not c.disabled
$$;

create function due_alert_messages(p_limit int) returns table (org text, alert_route text, alert_message uuid)
language sql security definer set search_path from current as $$
    select m.org, m.alert_route, m.alert_message from alert_messages m
    where m.next_attempt_time <= clock_timestamp() order by m.next_attempt_time limit p_limit
$$;

create function orgs_with_connections() returns table (org text)
language sql security definer set search_path from current as $$
    select distinct c.org from connections c order by 1
$$;

-- Orgs that may have something to be told of, or of whose alerts the end has to be told.
create function watched_orgs() returns table (org text)
language sql security definer set search_path from current as $$
    select c.org from connections c union select a.org from alerts a where a.state in (1, 2) order by 1
$$;

-- Whether nobody has verified a connection for so long, give or take a quarter so that they are spread, or since a
-- reading asked for it, and no worker is verifying it or has tried to lately; what a reading waits for is tried again
-- sooner. One that a person has stopped is never due.
create function verification_is_due(c connections, p_every interval, p_again interval) returns boolean
language sql as $$
    select not c.disabled and (c.credential_kind <> 0 or c.verify_ask_time is not null)
      and coalesce(c.verify_time, '-infinity') < greatest(c.verify_ask_time, clock_timestamp() - p_every
          * (0.75 + 0.25 * (hashtextextended(c.org || ' ' || c.connection, 0) & 1023) / 1024))
      and coalesce(c.verify_attempt_time, '-infinity') < greatest(c.verify_ask_time, clock_timestamp()
          - case when c.verify_ask_time > coalesce(c.verify_time, '-infinity') then least(p_again, interval '2 minutes')
                 else p_again end)
      and not exists (
          select from suspensions u where u.org = c.org and u.end_time is null
          and u.platform in ('', c.platform) and u.connection in ('', c.connection) and u.account_id = '')
$$;

create function due_verifications(p_every interval, p_again interval, p_limit int)
returns table (org text, connection text)
language sql security definer set search_path from current as $$
    select c.org, c.connection from connections c where verification_is_due(c, p_every, p_again)
    order by c.verify_time nulls first limit p_limit
$$;

-- How old the newest committed day of each account is that a schedule reads. Of one that has none, the first day that
-- the schedule's runs asked for is what is missing; the day of the schedule itself where none has begun.
create function account_lags() returns table (org text, platform text, account_id text, days int)
language sql security definer set search_path from current as $$
    select w.org, w.platform, w.account_id,
           current_date - coalesce(max(newest.date), min(coalesce(first.date, w.create_time::date)))
    from (
        select c.org, c.platform, a.account_id, s.schedule, s.create_time from connections c
        join accounts a using (org, connection)
        join schedules s using (org, connection)
        where not c.disabled and not a.disabled and not a.closed and not s.paused
          and (s.account_ids = '{}' or a.account_id = any(s.account_ids))
          -- Where people name accounts, the others are not read.
          and (a.named or not exists (
              select from accounts n where n.org = a.org and n.connection = a.connection and n.named))
          and not exists (
              select from suspensions u where u.org = c.org and u.end_time is null
              and u.platform in ('', c.platform) and u.connection in ('', c.connection)
              and u.account_id in ('', a.account_id))
    ) w
    left join lateral (
        select max(d.date) as date from lane_days d
        where d.org = w.org and d.platform = w.platform and d.account_id = w.account_id and d.level > 0
    ) newest on true
    left join lateral (
        select s.start_date as date from runs r join run_slices s using (org, run)
        where r.org = w.org and r.schedule = w.schedule and r.fire_time is not null
          and s.account_id = w.account_id and s.level > 0
        order by r.fire_time, s.start_date limit 1
    ) first on newest.date is null
    group by w.org, w.platform, w.account_id
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
        'connections', 'accounts', 'sources', 'objects', 'schedules', 'runs', 'run_slices', 'lanes', 'lane_days',
        'day_sums', 'reconciliations', 'dead_letters', 'replays', 'alerts', 'alert_routes', 'alert_messages',
        'suspensions', 'request_ids'
    ] loop
        execute format('alter table %I enable row level security', name);
        execute format(
            'create policy own_org on %I using (org = (select current_setting(''liftos.org'', true)))', name);
        execute format('grant select, insert, update, delete on %I to liftos_app', name);
    end loop;
end $$;
do $$ begin execute format('grant usage on schema %I to liftos_app', current_schema()); end $$;
revoke execute on function
    account_lags,
    due_slices, due_schedules, due_alert_messages, due_verifications, orgs_with_connections, watched_orgs, forget_old_requests from public;
grant execute on function
    account_lags,
    due_slices, due_schedules, due_alert_messages, due_verifications, orgs_with_connections, watched_orgs, forget_old_requests to liftos_app;
