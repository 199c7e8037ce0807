-- name: list_parts
select p.table_name, p.part, p.after_key, p.up_to_key, p.last_key, p.chunk_count, p.row_count, p.done
from parts p join migrations m using (org, migration, generation)
where p.org = :org and p.migration = :migration and p.table_name = :table
order by p.part;

-- name: cut_table$
insert into copied_tables (org, migration, generation, table_name, row_count)
select org, migration, generation, :table, :rows from migrations where org = :org and migration = :migration
on conflict do nothing returning true;

-- name: insert_part!
insert into parts (org, migration, generation, table_name, part, after_key, up_to_key)
select org, migration, generation, :table, :part, (:after)::text[], (:up_to)::text[]
from migrations where org = :org and migration = :migration;

-- name: insert_chunk$
insert into chunks (org, migration, generation, table_name, part, chunk, last_key, row_count, sha256, epoch)
select org, migration, generation, :table, :part, :chunk, (:last)::text[], :rows, :sha256, epoch
from migrations where org = :org and migration = :migration
on conflict do nothing returning true;

-- name: advance_part!
update parts p set last_key = (:last)::text[], chunk_count = :chunk, row_count = p.row_count + :rows
from migrations m
where m.org = :org and m.migration = :migration
  and (p.org, p.migration, p.generation) = (m.org, m.migration, m.generation) and p.table_name = :table and p.part = :part;

-- name: finish_part!
update parts p set done = true
from migrations m
where m.org = :org and m.migration = :migration
  and (p.org, p.migration, p.generation) = (m.org, m.migration, m.generation) and p.table_name = :table and p.part = :part;

-- name: keep_rejects!
insert into rejects (org, migration, table_name, key, phase, row, errors)
select :org, :migration, :table, key, :phase, row, told -> 'errors'
from unnest((:keys)::text[], (:rows)::jsonb[], (:errors)::jsonb[]) given (key, row, told)
on conflict (org, migration, table_name, key) where state = 1
do update set row = excluded.row, errors = excluded.errors, attempt_count = rejects.attempt_count + 1, update_time = now();

-- name: resolve_rejects!
update rejects set state = 2,
    -- Whoever asked for it stays named.
    reason = case when subject = '' then 'The source has it otherwise now.' else reason end,
    subject = case when subject = '' then 'worker' else subject end,
    update_time = now(), end_time = now()
where org = :org and migration = :migration and table_name = :table and state = 1 and key = any(:keys);

-- name: count_open_rejects$
select count(*) from rejects where org = :org and migration = :migration and state = 1;

-- name: count_open_rejects_of$
select count(*) from rejects where org = :org and migration = :migration and state = 1 and table_name = :table;

-- name: newest_capture_modes$
select capture_modes from preflights where org = :org and migration = :migration order by check_time desc limit 1;

-- name: keep_capture!
insert into captures (org, migration, mode, identity) values (:org, :migration, :mode, :identity)
on conflict (org, migration) do update
set mode = excluded.mode, identity = excluded.identity, position = '', snapshot = '', round_count = 0;

-- name: get_capture^
select mode, identity, round_count from captures where org = :org and migration = :migration;

-- name: caught_up!
update captures set snapshot = :snapshot, round_count = round_count + 1, applied_count = applied_count + :applied,
    apply_time = now()
where org = :org and migration = :migration;

-- name: list_refusals
select table_name, key, state from rejects where org = :org and migration = :migration and state in (1, 3);
