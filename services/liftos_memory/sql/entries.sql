-- name: lock_stream^
select s.last_sequence, s.checkpoint, s.fencing_epoch, o.last_version, l.slice, l.platform, l.account_id,
       l.level, l.start_date, l.end_date, l.attribution_key, l.date_basis, l.final
from ingest_streams s
left join slices l on l.org = s.org and l.slice = s.open_slice
left join orgs o on o.org = s.org
where s.org = :org and s.stream_id = :stream_id
for update of s;

-- name: claim_stream!
-- A row to lock must exist before two writers can be told apart.
insert into ingest_streams
    (org, stream_id, last_sequence, checkpoint, fencing_epoch, update_time)
values (:org, :stream_id, 0, '', 0, now())
on conflict do nothing;

-- name: stream_position^
select s.last_sequence, s.checkpoint, s.fencing_epoch, o.last_version, l.slice, l.platform, l.account_id,
       l.level, l.start_date, l.end_date, l.attribution_key, l.date_basis, l.final
from ingest_streams s
left join slices l on l.org = s.org and l.slice = s.open_slice
left join orgs o on o.org = s.org
where s.org = :org and s.stream_id = :stream_id;

-- name: record_position^
-- Where the writer of records of a scope is; it has no sequence.
select 0 as last_sequence, c.checkpoint, coalesce(f.epoch, 0) as fencing_epoch, o.last_version,
       null::uuid as slice
from record_checkpoints c
left join write_fences f on f.org = c.org and f.scope = c.scope
left join orgs o on o.org = c.org
where c.org = :org and c.scope = :scope;

-- name: advance_stream!
update ingest_streams
set last_sequence = :last_sequence, checkpoint = :checkpoint,
    fencing_epoch = greatest(fencing_epoch, :fencing_epoch), open_slice = :open_slice, update_time = now()
where org = :org and stream_id = :stream_id;

-- name: written_entries
-- What the write has written so far.
select entry_key from entries where org = :org and tx = :tx;

-- name: open_slice!
insert into slices
    (org, slice, stream_id, platform, account_id, level, start_date, end_date, attribution_key, date_basis,
     source, api_version, request_id, query_hash, fetch_time, final, state, origin)
values (:org, :slice, :stream_id, :platform, :account_id, :level, :start_date, :end_date, :attribution_key,
        :date_basis, :source, :api_version, :request_id, :query_hash, :fetch_time, :final, 1, :origin);

-- name: vanish!
-- Deletes what the platform no longer returns.
delete from entries e
where e.org = :org and e.platform = :platform and e.account_id = :account_id and e.level = :level
  and e.date between :start_date and :end_date
  and e.attribution_key = :attribution_key and e.date_basis = :date_basis
  and not exists (
      select from staged_entries s
      where s.org = e.org and s.slice = :slice and s.entry_key = e.entry_key);

-- name: delete_entries^
-- Of one day, so that each key is looked up: a join with many days reads whole tables for a few thousand
-- keys. Both parts see the state before the deletion.
with gone as (
    delete from entries
    where org = :org and date = :day and entry_key = any((:digests)::bytea[]) and origin = :origin
    returning 1
)
select (select count(*) from gone) as deleted,
       (select count(*) from entries
        where org = :org and date = :day and entry_key = any((:digests)::bytea[])
          and origin <> :origin) as kept;

-- name: drop_staged!
delete from staged_entries where org = :org and slice = :slice;

-- name: close_slice!
update slices
set state = :state, row_count = :row_count, inserted_count = :inserted_count,
    restated_count = :restated_count, settled_count = :settled_count, vanished_count = :vanished_count, raw = :raw, raw_size_bytes = :raw_size_bytes,
    abort_reason = :abort_reason, end_time = now(), tx = current_setting('liftos.tx')::bigint
where org = :org and slice = :slice;

-- name: get_slice^
select slice, platform, account_id, level, start_date, end_date, attribution_key, date_basis, source,
       api_version, request_id, query_hash, fetch_time, state, row_count, inserted_count,
       restated_count, settled_count, vanished_count, raw_size_bytes, origin, create_time, end_time,
       case when :with_raw then raw end as raw
from slices where org = :org and slice = :slice;

-- name: registered_sources
select source from sources where org = :org;

-- name: lock_fence!
-- Alone: waits for every write of the scope that is under way.
select pg_advisory_xact_lock(hashtextextended('fence ' || :org || ' ' || :scope, 0));

-- name: set_fence^
insert into write_fences as f (org, scope, epoch, closed, update_time)
values (:org, :scope, :epoch, :closed, now())
on conflict (org, scope) do update
    set epoch = excluded.epoch, closed = excluded.closed, update_time = excluded.update_time
    where f.epoch <= excluded.epoch
returning scope, epoch, closed, update_time;

-- name: get_fence^
select scope, epoch, closed, update_time from write_fences where org = :org and scope = :scope;

-- name: last_version$
select last_version from orgs where org = :org;
