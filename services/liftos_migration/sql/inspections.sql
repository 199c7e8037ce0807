-- name: insert_preflight$
insert into preflights (org, migration, plan_sha256, findings, capture_modes, startable, cut_over_allowed, row_count,
    size_bytes, estimated_copy_seconds, estimated_pause_seconds, estimated_rollback_seconds, clock_offset_seconds)
select org, migration, plan_sha256, :findings, :capture_modes::smallint[], :startable, :cut_over_allowed, :row_count,
    :size_bytes, :estimated_copy_seconds, :estimated_pause_seconds, :estimated_rollback_seconds, :clock_offset_seconds
from migrations where org = :org and migration = :migration
returning check_time;

-- name: fresh_preflight^
-- Of the plan as it is now.
select p.*, extract(epoch from clock_timestamp() - p.check_time)::float8 as age_seconds
from preflights p
join migrations m on m.org = p.org and m.migration = p.migration and m.plan_sha256 = p.plan_sha256
where p.org = :org and p.migration = :migration and p.check_time > clock_timestamp() - :maximum_age::interval
order by p.check_time desc limit 1;

-- name: replace_inventory!
with gone as (delete from inventory_items where org = :org and migration = :migration)
insert into inventories (org, migration, sha256) values (:org, :migration, :sha256)
on conflict (org, migration) do update set sha256 = excluded.sha256, inspect_time = now();

-- name: insert_items!
insert into inventory_items
select :org, :migration, item, kind, object, columns, key_columns, row_count, size_bytes, sha256, depends_on, definition,
    mapped, waived, unmapped_columns
from jsonb_to_recordset(:items) as given (
    item int, kind smallint, object text, columns jsonb, key_columns text[], row_count bigint, size_bytes bigint,
    sha256 text, depends_on text[], definition text, mapped boolean, waived boolean, unmapped_columns text[]);

-- name: inventory_summary^
select v.inspect_time, count(i.item) as item_count,
    count(*) filter (where i.kind in (1, 9) and not i.waived
        and (not i.mapped or i.unmapped_columns <> '{}')) as unmapped_count
from inventories v left join inventory_items i using (org, migration)
where v.org = :org and v.migration = :migration
group by v.inspect_time;
