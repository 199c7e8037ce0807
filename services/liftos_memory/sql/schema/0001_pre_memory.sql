-- Memory's tables. Every key begins with the org, so that the tables can be sharded by it, and every
-- table with an org has a row-level security policy: a session sees the org that it has set and no other.

create table orgs (
    org text collate "C" primary key,
    last_version bigint not null default 0,
    create_time timestamptz not null default now()
);
comment on table orgs is 'One row per organisation that has written; last_version is its newest commit.';

-- Numbers of writing transactions. Not Postgres' own transaction ids: those start anew in a restored copy.
create sequence tx_numbers;

create table commits (
    org text collate "C" not null,
    version bigint not null,
    tx bigint not null,
    commit_time timestamptz not null,
    origin text not null,
    trace_parent text,
    primary key (org, version),
    unique (org, tx)
);
comment on table commits is
    'Every writing transaction, numbered per org without gaps in the order in which it became visible.';

create table entries (
    org text collate "C" not null,
    date date not null,
    entry_key bytea not null,
    platform text collate "C" not null,
    level smallint not null,
    account_id text collate "C" not null,
    campaign_id text collate "C" not null,
    ad_group_id text collate "C" not null,
    ad_id text collate "C" not null,
    flow_id text collate "C" not null,
    message_id text collate "C" not null,
    series_id text collate "C" not null,
    attribution_key text collate "C" not null,
    date_basis smallint not null,
    breakdown_key text collate "C" not null,
    account_name text collate "C",
    campaign_name text collate "C",
    ad_group_name text collate "C",
    ad_name text collate "C",
    flow_name text collate "C",
    message_name text collate "C",
    series_name text collate "C",
    channel text collate "C",
    currency_code text collate "C",
    time_zone text collate "C",
    spend_micros bigint,
    revenue_micros bigint,
    impressions bigint,
    clicks bigint,
    link_clicks bigint,
    conversions_micros bigint,
    all_conversions_micros bigint,
    view_through_conversions_micros bigint,
    orders bigint,
    video_views bigint,
    video_completions bigint,
    sent bigint,
    delivered bigint,
    opened bigint,
    machine_opened bigint,
    clicked bigint,
    bounced bigint,
    spam_complaints bigint,
    unsubscribed bigint,
    value_micros bigint,
    reach bigint,
    unique_clicks bigint,
    unique_opened bigint,
    unique_clicked bigint,
    frequency double precision,
    search_impression_share double precision,
    search_rank_lost_impression_share double precision,
    keyword_quality_score double precision,
    actions jsonb,
    final boolean not null,
    slice uuid,
    origin text collate "C" not null,
    quality_score double precision not null,
    quality_issues text,
    create_time timestamptz not null,
    update_time timestamptz not null,
    tx bigint not null,
    primary key (org, date, entry_key)
) partition by range (date);
create index entries_object on entries (org, platform, account_id, level, date);
-- What a commit wrote, in the order in which feeds of changes are read.
create index entries_tx on entries (org, tx, date, entry_key);

-- What entries were before they were changed or deleted. The version that followed a row is found by
-- superseded_tx: in entries, or here. That one fact serves restatements, watches and reads as of a time.
create table entry_history (
    like entries,
    superseded_tx bigint not null,
    superseded_time timestamptz not null,
    deleted boolean not null
);
create index entry_history_superseded on entry_history (org, superseded_tx, date, entry_key);
create index entry_history_tx on entry_history (org, tx, date, entry_key);
create index entry_history_entry on entry_history (org, date, entry_key, superseded_tx);

create function keep_entry_history() returns trigger language plpgsql as $$
begin
    insert into entry_history
    select superseded.*, current_setting('liftos.tx')::bigint, now(), tg_op = 'DELETE'
    from superseded;
    return null;
end $$;
create trigger keep_updated after update on entries
    referencing old table as superseded for each statement execute function keep_entry_history();
create trigger keep_deleted after delete on entries
    referencing old table as superseded for each statement execute function keep_entry_history();

-- Makes the monthly partitions of these days. Runs as the owner, so that services need no DDL rights.
create function ensure_entry_partitions(first_days date[]) returns void
language plpgsql security definer set search_path from current as $$
declare
    first_day date;
    partition text;
begin
    foreach first_day in array first_days loop
        if first_day < '2000-01-01' or first_day >= '2100-01-01' or extract(day from first_day) <> 1 then
            raise exception 'no partition begins on %', first_day;
        end if;
        partition := 'entries_' || to_char(first_day, 'YYYY_MM');
        if to_regclass(partition) is null then
            perform pg_advisory_xact_lock(hashtextextended('ensure_entry_partitions', 0));
            execute format(
                'create table if not exists %I partition of entries for values from (%L) to (%L)',
                partition, first_day, first_day + interval '1 month');
        end if;
    end loop;
end $$;

create table slices (
    org text collate "C" not null,
    slice uuid not null,
    stream_id text not null,
    platform text not null,
    account_id text not null,
    level smallint not null,
    start_date date not null,
    end_date date not null,
    attribution_key text not null,
    date_basis smallint not null,
    source text not null,
    api_version text not null,
    request_id text not null,
    query_hash text not null,
    fetch_time timestamptz,
    final boolean not null,
    state smallint not null,
    row_count bigint not null default 0,
    inserted_count bigint not null default 0,
    restated_count bigint not null default 0,
    settled_count bigint not null default 0,
    vanished_count bigint not null default 0,
    raw bytea,
    raw_size_bytes bigint not null default 0,
    abort_reason text not null default '',
    origin text not null,
    create_time timestamptz not null default now(),
    end_time timestamptz,
    -- The commit that closed it; changes of that commit are the slice's.
    tx bigint,
    primary key (org, slice)
);
create index slices_tx on slices (org, tx);
alter table slices alter column raw set storage external;

-- Batches of open slices, acknowledged but not yet visible.
create table staged_entries (
    like entries,
    primary key (org, slice, entry_key)
);
alter table staged_entries drop column create_time, drop column update_time, drop column tx;
alter table staged_entries alter column slice set not null;

create table ingest_streams (
    org text collate "C" not null,
    stream_id text not null,
    last_sequence bigint not null,
    checkpoint bytea not null,
    fencing_epoch bigint not null,
    open_slice uuid,
    update_time timestamptz not null,
    primary key (org, stream_id)
);

create table write_fences (
    org text collate "C" not null,
    scope text not null,
    epoch bigint not null,
    closed boolean not null,
    update_time timestamptz not null,
    primary key (org, scope)
);

create table record_checkpoints (
    org text collate "C" not null,
    scope text not null,
    checkpoint bytea not null,
    update_time timestamptz not null,
    primary key (org, scope)
);

-- Artifacts (collection 1) and notes (collection 2), newest version.
create table records (
    org text collate "C" not null,
    collection smallint not null,
    record_id text collate "C" not null,
    version bigint not null,
    kind smallint not null,
    scope text collate "C" not null,
    title text not null,
    text text not null,
    labels text[] not null,
    body jsonb,
    content bytea,
    content_type text not null,
    sha256 bytea not null,
    origin text collate "C" not null,
    create_time timestamptz not null,
    update_time timestamptz not null,
    tx bigint not null,
    primary key (org, collection, record_id)
);
create index records_scope on records (org, collection, scope);
create index records_tx on records (org, tx);

create table record_history (
    like records,
    superseded_tx bigint not null,
    superseded_time timestamptz not null,
    deleted boolean not null
);
create index record_history_superseded on record_history (org, superseded_tx);
create index record_history_tx on record_history (org, tx);
create index record_history_record on record_history (org, collection, record_id, version);

create function keep_record_history() returns trigger language plpgsql as $$
begin
    insert into record_history
    select superseded.*, current_setting('liftos.tx')::bigint, now(), tg_op = 'DELETE'
    from superseded;
    return null;
end $$;
create trigger keep_updated after update on records
    referencing old table as superseded for each statement execute function keep_record_history();
create trigger keep_deleted after delete on records
    referencing old table as superseded for each statement execute function keep_record_history();

create table org_settings (
    org text collate "C" primary key,
    fiscal_start_month smallint not null,
    hemisphere smallint not null,
    base_currency_code text not null,
    region_codes text[] not null,
    revision bigint not null,
    update_time timestamptz not null
);

create table sources (
    org text collate "C" not null,
    source text collate "C" not null,
    display_name text not null,
    mapping jsonb,
    create_time timestamptz not null,
    update_time timestamptz not null,
    primary key (org, source)
);

create table calendar_events (
    org text collate "C" not null,
    event_id text collate "C" not null,
    display_name text not null,
    start_date date not null,
    end_date date not null,
    structural_break boolean not null,
    create_time timestamptz not null,
    update_time timestamptz not null,
    primary key (org, event_id)
);

create table exchange_rates (
    org text collate "C" not null,
    currency_code text collate "C" not null,
    date date not null,
    rate numeric(24, 12) not null check (rate > 0),
    source text not null,
    update_time timestamptz not null,
    primary key (org, currency_code, date)
);

-- Answers of mutations by request_id, so that a repeated call gets the first answer.
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

-- Texts that are searched. Milvus holds a copy with vectors, and can be rebuilt from here.
create table documents (
    org text collate "C" not null,
    document_id text collate "C" not null,
    kind smallint not null,
    platform text collate "C" not null,
    level smallint not null,
    account_id text collate "C" not null,
    campaign_id text collate "C" not null,
    ad_group_id text collate "C" not null,
    ad_id text collate "C" not null,
    flow_id text collate "C" not null,
    message_id text collate "C" not null,
    series_id text collate "C" not null,
    week_start date,
    start_date date not null,
    end_date date not null,
    title text not null,
    text text not null,
    lexical_text text not null,
    content_hash text not null,
    quality_score double precision,
    record text not null,
    update_time timestamptz not null,
    primary key (org, document_id)
);
create index documents_object on documents
    (org, platform, level, account_id, campaign_id, ad_group_id, ad_id, flow_id, message_id, series_id);

-- How far the commits of an org have been turned into work for the search index.
create table index_positions (
    org text collate "C" primary key,
    version bigint not null,
    update_time timestamptz not null
);

-- Objects and weeks whose documents have to be written anew, with the first and the last version that
-- touched them. What is indexed reaches up to the version before the lowest first_version.
create table outbox (
    org text collate "C" not null,
    platform text collate "C" not null,
    level smallint not null,
    account_id text collate "C" not null,
    campaign_id text collate "C" not null,
    ad_group_id text collate "C" not null,
    ad_id text collate "C" not null,
    flow_id text collate "C" not null,
    message_id text collate "C" not null,
    series_id text collate "C" not null,
    week date not null,
    first_version bigint not null,
    last_version bigint not null,
    primary key (org, platform, level, account_id, campaign_id, ad_group_id, ad_id, flow_id, message_id,
                 series_id, week)
);
create index outbox_first_version on outbox (org, first_version);

-- Vectors by content, so that the same text is embedded once. Holds no org: a hash tells nothing.
create table embeddings (
    model_id text not null,
    text_hash text not null,
    vector bytea not null,
    primary key (model_id, text_hash)
);

-- Begins a write: sets the org, takes the fences of the scope, gives the transaction its number.
-- A writer without an epoch is one of epoch 0.
--
-- Writers share an advisory lock with each other, and a change of the fence takes it alone: when the fence
-- has changed, no write from before is under way. Raises LF001 (closed; detail: epoch and scope)
-- and LF002 (detail: epoch).
create function begin_write(p_org text, p_scope text, p_epoch bigint)
returns table (tx bigint, staging_exists boolean) language plpgsql as $$
declare
    fence write_fences;
begin
    perform set_config('liftos.org', p_org, true);
    perform pg_advisory_xact_lock_shared(hashtextextended('fence ' || p_org || ' *', 0));
    select * into fence from write_fences f where f.org = p_org and f.scope = '*' and f.closed;
    if found then
        raise exception 'fence closed' using errcode = 'LF001', detail = fence.epoch || ' *';
    end if;
    if p_scope <> '' then
        select * into fence from write_fences f where f.org = p_org and f.scope = p_scope;
        if p_epoch > coalesce(fence.epoch, -1) then
            -- A newer writer takes over: wait for those of the old epoch, then shut them out.
            perform pg_advisory_xact_lock(hashtextextended('fence ' || p_org || ' ' || p_scope, 0));
        else
            perform pg_advisory_xact_lock_shared(
                hashtextextended('fence ' || p_org || ' ' || p_scope, 0));
        end if;
        select * into fence from write_fences f where f.org = p_org and f.scope = p_scope;
        if fence.closed then
            raise exception 'fence closed' using errcode = 'LF001', detail = fence.epoch || ' ' || p_scope;
        end if;
        if coalesce(p_epoch, 0) < fence.epoch then
            raise exception 'epoch fenced' using errcode = 'LF002', detail = fence.epoch::text;
        end if;
        if p_epoch > coalesce(fence.epoch, -1) then
            insert into write_fences as f (org, scope, epoch, closed, update_time)
            values (p_org, p_scope, p_epoch, false, now())
            on conflict (org, scope) do update
                set epoch = excluded.epoch, update_time = excluded.update_time;
        end if;
    end if;
    tx := nextval('tx_numbers');
    perform set_config('liftos.tx', tx::text, true);
    staging_exists := to_regclass('pg_temp.batch') is not null;
    return next;
end $$;

-- Ends a write: takes the org's next version. The row lock is held until commit, so that versions become
-- visible in their order and without gaps; call it last.
create function end_write(p_org text, p_origin text, p_trace_parent text)
returns bigint language plpgsql as $$
declare
    next_version bigint;
begin
    insert into orgs as o (org, last_version) values (p_org, 1)
    on conflict (org) do update set last_version = o.last_version + 1
    returning last_version into next_version;
    insert into commits (org, version, tx, commit_time, origin, trace_parent)
    values (p_org, next_version, current_setting('liftos.tx')::bigint, clock_timestamp(), p_origin,
            p_trace_parent);
    return next_version;
end $$;

-- Sets the org and reads one entry in a single round trip.
create function read_entry(p_org text, p_date date, p_key bytea) returns setof entries
language plpgsql as $$
begin
    perform set_config('liftos.org', p_org, true);
    return query
        select * from entries e where e.org = p_org and e.date = p_date and e.entry_key = p_key;
end $$;

-- Sets the org and reads its newest version in a single round trip, for those who poll it.
create function read_version(p_org text) returns bigint language plpgsql as $$
begin
    perform set_config('liftos.org', p_org, true);
    return coalesce((select last_version from orgs where org = p_org), 0);
end $$;

-- The worker's view over all orgs: which of them the search index has not caught up with.
create function pending_orgs()
returns table (org text, last_version bigint, enqueued_version bigint, waiting boolean)
language sql security definer set search_path from current as $$
    select * from (
        select o.org, o.last_version, coalesce(p.version, 0) as enqueued_version,
               exists (select from outbox b where b.org = o.org) as waiting
        from orgs o left join index_positions p on p.org = o.org
    ) each_org
    where each_org.last_version > each_org.enqueued_version or each_org.waiting
$$;

-- How many commits of all orgs the index has not followed, and the age of the oldest of them in seconds.
create function index_lag() returns table (commits bigint, oldest_seconds double precision)
language sql security definer set search_path from current as $$
    select coalesce(sum(each_org.last_version - each_org.indexed_version), 0)::bigint,
           coalesce(max(extract(epoch from clock_timestamp() - c.commit_time)), 0)::double precision
    from (
        select o.org, o.last_version,
               coalesce((select min(b.first_version) - 1 from outbox b where b.org = o.org),
                        p.version, 0) as indexed_version
        from orgs o left join index_positions p on p.org = o.org
    ) each_org
    left join commits c on c.org = each_org.org and c.version = each_org.indexed_version + 1
    where each_org.indexed_version < each_org.last_version
$$;

-- The orgs whose documents the index must hold.
create function orgs_with_documents() returns table (org text)
language sql security definer set search_path from current as $$
    select distinct d.org from documents d order by 1
$$;

-- Housekeeping over all orgs; returns how many rows went.
create function forget_old_requests(p_keep interval) returns bigint
language sql security definer set search_path from current as $$
    with gone as (delete from request_ids where create_time < now() - p_keep returning 1)
    select count(*) from gone
$$;

create function abort_open_slices(p_keep interval) returns bigint
language sql security definer set search_path from current as $$
    with left_open as (
        select s.org, s.slice from slices s
        join ingest_streams i on i.org = s.org and i.stream_id = s.stream_id
        where s.state = 1 and i.update_time < now() - p_keep
        for update of i
    ),
    released as (
        update ingest_streams i set open_slice = null
        from left_open l where i.org = l.org and i.open_slice = l.slice
    ),
    dropped as (
        delete from staged_entries e using left_open l where e.org = l.org and e.slice = l.slice
    ),
    aborted as (
        update slices s set state = 3, abort_reason = 'left open', end_time = now()
        from left_open l where s.org = l.org and s.slice = l.slice
        returning 1
    )
    select count(*) from aborted
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
        'orgs', 'commits', 'entries', 'entry_history', 'slices', 'staged_entries', 'ingest_streams',
        'write_fences', 'record_checkpoints', 'records', 'record_history', 'org_settings', 'sources',
        'calendar_events', 'exchange_rates', 'request_ids', 'documents', 'index_positions', 'outbox'
    ] loop
        execute format('alter table %I enable row level security', name);
        execute format(
            'create policy own_org on %I using (org = (select current_setting(''liftos.org'', true)))', name);
        execute format('grant select, insert, update, delete on %I to liftos_app', name);
    end loop;
end $$;
do $$ begin execute format('grant usage on schema %I to liftos_app', current_schema()); end $$;
grant select, insert, delete on embeddings to liftos_app;
grant usage on sequence tx_numbers to liftos_app;
revoke execute on function
    ensure_entry_partitions, pending_orgs, index_lag, orgs_with_documents, forget_old_requests,
    abort_open_slices from public;
grant execute on function
    ensure_entry_partitions, pending_orgs, index_lag, orgs_with_documents, forget_old_requests,
    abort_open_slices to liftos_app;
