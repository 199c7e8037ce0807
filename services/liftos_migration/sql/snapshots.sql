-- name: keep_snapshot!
-- One that was taken is kept again once it has passed its restore test.
insert into snapshots (org, migration, snapshot, before_step, tables, row_count, size_bytes, sha256, schema_sha256,
                       plan_sha256, lsn, restore_seconds, create_time)
select :org, :migration, :snapshot,
       1 + coalesce((select max(sequence) from steps where org = :org and migration = :migration), 0),
       :tables, :row_count, :size_bytes, :sha256, :schema_sha256, :plan_sha256, :lsn, :restore_seconds, :create_time
on conflict (org, migration, snapshot) do update set restore_seconds = excluded.restore_seconds;

-- name: forget_snapshots!
delete from snapshots
where org = :org and migration = :migration and snapshot = any (:snapshots);

-- name: forget_all_snapshots!
delete from snapshots where org = :org and migration = :migration;
