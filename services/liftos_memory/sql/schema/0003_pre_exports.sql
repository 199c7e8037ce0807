-- Reads as of a time: what an export depends on beside entries keeps its history too, and the time of a
-- commit stands for one state of the org.

-- The write that gave a row its contents; 0 is one from before this file.
alter table org_settings add column tx bigint not null default 0;
alter table calendar_events add column tx bigint not null default 0;
alter table exchange_rates add column tx bigint not null default 0;

-- What rows were before they were changed or deleted; the twin of entry_history.
create table org_settings_history (like org_settings, superseded_tx bigint not null);
create index org_settings_history_superseded on org_settings_history (org, superseded_tx);
create table calendar_event_history (like calendar_events, superseded_tx bigint not null);
create index calendar_event_history_superseded on calendar_event_history (org, superseded_tx);
create table exchange_rate_history (like exchange_rates, superseded_tx bigint not null);
create index exchange_rate_history_superseded on exchange_rate_history (org, superseded_tx);

create function set_tx() returns trigger language plpgsql as $$
begin
    new.tx := current_setting('liftos.tx')::bigint;
    return new;
end $$;
create trigger set_tx before insert or update on org_settings for each row execute function set_tx();
create trigger set_tx before insert or update on calendar_events for each row execute function set_tx();
create trigger set_tx before insert or update on exchange_rates for each row execute function set_tx();

-- The argument is the table that keeps the history.
create function keep_history() returns trigger language plpgsql as $$
begin
    execute format('insert into %I select superseded.*, $1 from superseded', tg_argv[0])
        using current_setting('liftos.tx')::bigint;
    return null;
end $$;
create trigger keep_updated after update on org_settings
    referencing old table as superseded for each statement
    execute function keep_history('org_settings_history');
create trigger keep_deleted after delete on org_settings
    referencing old table as superseded for each statement
    execute function keep_history('org_settings_history');
create trigger keep_updated after update on calendar_events
    referencing old table as superseded for each statement
    execute function keep_history('calendar_event_history');
create trigger keep_deleted after delete on calendar_events
    referencing old table as superseded for each statement
    execute function keep_history('calendar_event_history');
create trigger keep_updated after update on exchange_rates
    referencing old table as superseded for each statement
    execute function keep_history('exchange_rate_history');
create trigger keep_deleted after delete on exchange_rates
    referencing old table as superseded for each statement
    execute function keep_history('exchange_rate_history');

-- Days of which entries were taken out are no evidence that nothing happened on them.
create index entry_history_deleted on entry_history (org, date) where deleted;

create index commits_time on commits (org, commit_time);

-- As before, but the times of an org's commits rise strictly, whatever the clock does: a time stands for
-- one version, and no later commit can come to lie before it.
create or replace function end_write(p_org text, p_origin text, p_trace_parent text)
returns bigint language plpgsql as $$
declare
    next_version bigint;
begin
    insert into orgs as o (org, last_version) values (p_org, 1)
    on conflict (org) do update set last_version = o.last_version + 1
    returning last_version into next_version;
    insert into commits (org, version, tx, commit_time, origin, trace_parent)
    values (p_org, next_version, current_setting('liftos.tx')::bigint,
            greatest(clock_timestamp(),
                     (select c.commit_time + interval '1 microsecond' from commits c
                      where c.org = p_org and c.version = next_version - 1)),
            p_origin, p_trace_parent);
    return next_version;
end $$;

do $$
declare
    name text;
begin
    foreach name in array array[
        'org_settings_history', 'calendar_event_history', 'exchange_rate_history'
    ] loop
        execute format('alter table %I enable row level security', name);
        execute format(
            'create policy own_org on %I using (org = (select current_setting(''liftos.org'', true)))', name);
        execute format('grant select, insert, update, delete on %I to liftos_app', name);
    end loop;
end $$;
