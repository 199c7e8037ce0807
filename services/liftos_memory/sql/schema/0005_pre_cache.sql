-- What kept answers rest on, so that they are given again only while it is the same.

-- Rises whenever a search may find something else although no commit was made: documents follow commits
-- later, and weeks that have ended are described anew.
create table index_revisions (
    org text collate "C" primary key,
    revision bigint not null
);

-- Fires at the end of the transaction, once: the row is the last that it locks, so nobody who waits for it
-- holds it up in a circle.
create function raise_index_revision() returns trigger language plpgsql as $$
declare
    raised text := old.org || ' ' || pg_current_xact_id()::text;
begin
    if current_setting('liftos.index_revision', true) is distinct from raised then
        perform set_config('liftos.index_revision', raised, true);
        insert into index_revisions as r (org, revision) values (old.org, 1)
        on conflict (org) do update set revision = r.revision + 1;
    end if;
    return null;
end $$;
-- What waits in an outbox keeps answers from being kept; when it has gone, documents are others.
create constraint trigger raise_index_revision after delete on outbox
    deferrable initially deferred for each row execute function raise_index_revision();
create constraint trigger raise_index_revision after delete on record_outbox
    deferrable initially deferred for each row execute function raise_index_revision();
-- Percentiles follow when nothing waits any more.
create constraint trigger raise_index_revision after update or delete on objects
    deferrable initially deferred for each row execute function raise_index_revision();

-- Sets the org and reads its state in a single round trip. The time of the newest commit tells apart two
-- histories with the same version, as a restored copy has them.
create function read_state(p_org text)
returns table (version bigint, commit_time timestamptz, index_revision bigint, index_waits boolean)
language plpgsql as $$
begin
    perform set_config('liftos.org', p_org, true);
    return query
        select coalesce(o.last_version, 0), c.commit_time, coalesce(r.revision, 0),
               coalesce(p.version, 0) < coalesce(o.last_version, 0)
               or exists (select from outbox b where b.org = p_org)
               or exists (select from record_outbox b where b.org = p_org)
        from (values (p_org)) as asked (org)
        left join orgs o on o.org = asked.org
        left join commits c on c.org = asked.org and c.version = o.last_version
        left join index_positions p on p.org = asked.org
        left join index_revisions r on r.org = asked.org;
end $$;

alter table index_revisions enable row level security;
create policy own_org on index_revisions using (org = (select current_setting('liftos.org', true)));
grant select, insert, update, delete on index_revisions to liftos_app;
