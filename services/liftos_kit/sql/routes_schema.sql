create table {noun}_routes (
    org text collate "C" not null,
    {noun}_route text collate "C" not null,
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
    primary key (org, {noun}_route)
);

create table {noun}_messages (
    org text collate "C" not null,
    {noun}_message uuid not null default gen_random_uuid(),
    {noun}_route text collate "C" not null,
    attempt int not null default 0,
    next_attempt_time timestamptz not null default now(),
    primary key (org, {noun}_message),
    foreign key (org, {noun}_route) references {noun}_routes on delete cascade
);
create index {noun}_messages_due on {noun}_messages (next_attempt_time);

create function due_{noun}_messages(p_limit int)
returns table (org text, {noun}_route text, {noun}_message uuid)
language sql security definer set search_path from current as $$
    select m.org, m.{noun}_route, m.{noun}_message from {noun}_messages m
    where m.next_attempt_time <= clock_timestamp()
    order by m.next_attempt_time limit p_limit
$$;
revoke execute on function due_{noun}_messages from public;
grant execute on function due_{noun}_messages to liftos_app;

alter table {noun}_routes enable row level security;
alter table {noun}_messages enable row level security;
create policy own_org on {noun}_routes using (org = (select current_setting('liftos.org', true)));
create policy own_org on {noun}_messages using (org = (select current_setting('liftos.org', true)));
grant select, insert, update, delete on {noun}_routes, {noun}_messages to liftos_app;
