-- Insights: what was found, how far each org was looked at, and who is told.

create table insights (
    org text collate "C" not null,
    insight_id text collate "C" not null,
    kind smallint not null,
    pattern smallint not null,
    direction smallint not null,
    state smallint not null,
    metric text collate "C" not null,
    platform text collate "C" not null,
    level smallint not null,
    account_id text collate "C" not null,
    campaign_id text collate "C" not null,
    ad_group_id text collate "C" not null,
    ad_id text collate "C" not null,
    flow_id text collate "C" not null,
    message_id text collate "C" not null,
    series_id text collate "C" not null,
    channel text collate "C" not null,
    attribution_key text collate "C" not null,
    date_basis smallint not null,
    currency_code text collate "C" not null,
    start_date date not null,
    end_date date not null,
    severity double precision not null,
    quality_score double precision not null,
    -- Numbers, names, context and evidence, by the code's names.
    details jsonb not null,
    -- The sentence of the template; a model may have worded the summary.
    template text not null,
    summary text not null,
    rating smallint not null default 0,
    rating_comment text not null default '',
    rating_subject text not null default '',
    create_time timestamptz not null,
    update_time timestamptz not null,
    primary key (org, insight_id)
);
create index insights_severity on insights (org, severity desc, insight_id);
create index insights_active on insights (org, kind, level) where state = 1;

-- Up to which commit an org was looked at, and by whom it is looked at now.
create table insight_positions (
    org text collate "C" primary key,
    version bigint not null default 0,
    generate_time timestamptz,
    leased_until timestamptz not null default '-infinity'
);

create table insight_routes (
    org text collate "C" not null,
    insight_route text collate "C" not null,
    display_name text not null,
    target_kind text not null,
    target_sealed bytea not null,
    target_key_id text not null,
    kinds smallint[] not null,
    minimum_severity double precision not null,
    platforms text[] not null,
    disabled boolean not null,
    send_time timestamptz,
    send_error text not null default '',
    revision bigint not null default 1,
    create_time timestamptz not null default now(),
    update_time timestamptz not null default now(),
    primary key (org, insight_route)
);

-- Which insights a route has been told of, so that each is told once, and its end to whom it was told.
create table insight_tellings (
    org text collate "C" not null,
    insight_route text collate "C" not null,
    insight_id text collate "C" not null,
    primary key (org, insight_route, insight_id),
    foreign key (org, insight_route) references insight_routes on delete cascade
);

-- Messages on their way: what a run found and what it resolved, in one message for each route.
create table insight_messages (
    org text collate "C" not null,
    insight_message uuid not null default gen_random_uuid(),
    insight_route text collate "C" not null,
    found_ids text[] not null,
    resolved_ids text[] not null,
    attempt int not null default 0,
    next_attempt_time timestamptz not null default now(),
    primary key (org, insight_message),
    foreign key (org, insight_route) references insight_routes on delete cascade
);
create index insight_messages_due on insight_messages (next_attempt_time);

-- Orgs that are to be looked at: something other than insights was written and it has been quiet since, or it
-- has waited long enough, or the last look is long ago, since days end without a commit.
create function orgs_awaiting_insights(p_quiet interval, p_wait interval, p_every interval)
returns table (org text) language sql security definer set search_path from current as $$
    select o.org
    from orgs o
    left join insight_positions p on p.org = o.org
    cross join lateral (
        select min(c.commit_time) as oldest, max(c.commit_time) as newest
        from commits c
        where c.org = o.org and c.version > coalesce(p.version, 0) and c.origin <> 'insights'
    ) unseen
    where coalesce(p.leased_until, '-infinity') < clock_timestamp()
      and (unseen.newest < clock_timestamp() - p_quiet
           or unseen.oldest < clock_timestamp() - p_wait
           or (unseen.newest is null and p.generate_time < clock_timestamp() - p_every))
      and exists (select from entries e where e.org = o.org)
    order by coalesce(p.generate_time, '-infinity'), o.org
$$;

create function due_insight_messages(p_limit int)
returns table (org text, insight_route text, insight_message uuid)
language sql security definer set search_path from current as $$
    select m.org, m.insight_route, m.insight_message from insight_messages m
    where m.next_attempt_time <= clock_timestamp()
    order by m.next_attempt_time limit p_limit
$$;

do $$
declare
    name text;
begin
    foreach name in array array[
        'insights', 'insight_positions', 'insight_routes', 'insight_tellings', 'insight_messages'
    ] loop
        execute format('alter table %I enable row level security', name);
        execute format(
            'create policy own_org on %I using (org = (select current_setting(''liftos.org'', true)))', name);
        execute format('grant select, insert, update, delete on %I to liftos_app', name);
    end loop;
end $$;
revoke execute on function orgs_awaiting_insights, due_insight_messages from public;
grant execute on function orgs_awaiting_insights, due_insight_messages to liftos_app;
