-- Records become documents as objects do, and objects are kept with what they are like.

-- The module or context of a record's document; empty for documents of objects.
alter table documents add column scope text collate "C" not null default '';

-- Records whose documents have to be written anew, with the first and the last version that touched them.
-- The kind is that of the document: 3 insight, 4 artifact, 5 note.
create table record_outbox (
    org text collate "C" not null,
    kind smallint not null,
    record_id text collate "C" not null,
    first_version bigint not null,
    last_version bigint not null,
    primary key (org, kind, record_id)
);
create index record_outbox_first_version on record_outbox (org, first_version);

-- Every object that has entries: where it stands, what it is called, and how it compares.
--
-- Measures are by dimension, in the order of the code's; a basis says what was measured, and objects with
-- equal level and basis are compared. Percentiles follow when nothing of the org waits in the outbox.
create table objects (
    org text collate "C" not null,
    -- The id of its profile.
    object_id text collate "C" not null,
    platform text collate "C" not null,
    level smallint not null,
    account_id text collate "C" not null,
    campaign_id text collate "C" not null,
    ad_group_id text collate "C" not null,
    ad_id text collate "C" not null,
    flow_id text collate "C" not null,
    message_id text collate "C" not null,
    series_id text collate "C" not null,
    title text not null,
    -- Terms of its own name, joined; empty where it has none. Objects that are called alike are related.
    name_key text collate "C" not null,
    -- Terms of its own name and id.
    name_terms text[] not null,
    channel text collate "C" not null,
    -- What it belongs to; that need not have entries of its own.
    parent_id text collate "C" not null,
    grandparent_id text collate "C" not null,
    measures double precision[] not null,
    bases text[] not null,
    percentiles double precision[],
    primary key (org, object_id)
);
create index objects_parent on objects (org, parent_id);
create index objects_name on objects (org, name_key);
create index objects_channel on objects (org, channel, level);

-- Has documents of records written anew, or deleted with them. Whoever writes records of a kind that has no
-- history calls it in the same transaction, after end_write.
create function queue_documents(p_org text, p_kind smallint, p_record_ids text[], p_version bigint)
returns void language sql as $$
    insert into record_outbox (org, kind, record_id, first_version, last_version)
    select distinct p_org, p_kind, id, p_version, p_version from unnest(p_record_ids) as id
    on conflict (org, kind, record_id) do update set last_version = excluded.last_version
$$;

-- The worker's view over all orgs: which of them the search index has not caught up with.
create or replace function pending_orgs()
returns table (org text, last_version bigint, enqueued_version bigint, waiting boolean)
language sql security definer set search_path from current as $$
    select * from (
        select o.org, o.last_version, coalesce(p.version, 0) as enqueued_version,
               exists (select from outbox b where b.org = o.org)
               or exists (select from record_outbox b where b.org = o.org) as waiting
        from orgs o left join index_positions p on p.org = o.org
    ) each_org
    where each_org.last_version > each_org.enqueued_version or each_org.waiting
$$;

-- How many commits of all orgs the index has not followed, and the age of the oldest of them in seconds.
create or replace function index_lag() returns table (commits bigint, oldest_seconds double precision)
language sql security definer set search_path from current as $$
    select coalesce(sum(each_org.last_version - each_org.indexed_version), 0)::bigint,
           coalesce(max(extract(epoch from clock_timestamp() - c.commit_time)), 0)::double precision
    from (
        -- least() passes over what is null.
        select o.org, o.last_version,
               least(coalesce(p.version, 0),
                     (select min(b.first_version) - 1 from outbox b where b.org = o.org),
                     (select min(b.first_version) - 1 from record_outbox b where b.org = o.org)
               ) as indexed_version
        from orgs o left join index_positions p on p.org = o.org
    ) each_org
    left join commits c on c.org = each_org.org and c.version = each_org.indexed_version + 1
    where each_org.indexed_version < each_org.last_version
$$;

do $$
declare
    name text;
begin
    foreach name in array array['record_outbox', 'objects'] loop
        execute format('alter table %I enable row level security', name);
        execute format(
            'create policy own_org on %I using (org = (select current_setting(''liftos.org'', true)))', name);
        execute format('grant select, insert, update, delete on %I to liftos_app', name);
    end loop;
end $$;

-- What was written before: records have no documents yet, and objects are described with their profiles.
insert into record_outbox (org, kind, record_id, first_version, last_version)
select r.org, case r.collection when 1 then 4 else 5 end, r.record_id, c.version, c.version
from records r join commits c on c.org = r.org and c.tx = r.tx;

insert into outbox (org, platform, level, account_id, campaign_id, ad_group_id, ad_id, flow_id, message_id,
                    series_id, week, first_version, last_version)
select d.org, d.platform, d.level, d.account_id, d.campaign_id, d.ad_group_id, d.ad_id, d.flow_id,
       d.message_id, d.series_id, date_trunc('week', d.end_date)::date, p.version + 1, p.version
from documents d join index_positions p on p.org = d.org
where d.kind = 1
on conflict do nothing;
