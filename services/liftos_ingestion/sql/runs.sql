-- name: insert_run^
insert into runs (org, run, kind, connection, platform, schedule, fire_time, start_date, end_date, levels,
                  account_ids, force, state, subject, trace_parent, final_day_count, in_hand_day_count,
                  unanswered_day_count)
values (:org, :run, :kind, :connection, :platform, :schedule, :fire_time, :start_date, :end_date, :levels,
        :account_ids, :force, 1, :subject, :trace_parent, :final_day_count, :in_hand_day_count,
        :unanswered_day_count)
on conflict do nothing
returning run;

-- name: lock_planning!
-- One run is planned at a time, so that two never plan the same days.
select pg_advisory_xact_lock(hashtextextended('plan ' || :org || ' ' || :platform, 0));

-- name: days_in_hand
-- What runs have planned and not yet read.
select account_id, level, attribution_key, date_basis, start_date, end_date
from run_slices where org = :org and platform = :platform and state in (1, 2, 3);

-- name: insert_slices!
insert into run_slices
    (org, slice, run, connection, platform, account_id, level, attribution_key, date_basis, start_date, end_date,
     state, priority)
select :org, p.slice, :run, :connection, :platform, p.account_id, p.level, p.attribution_key, p.date_basis,
       p.start_date, p.end_date, 1, p.priority
from unnest(:slices::uuid[], :slice_account_ids::text[], :slice_levels::smallint[], :attribution_keys::text[],
            :date_bases::smallint[], :start_dates::date[], :end_dates::date[], :priorities::int[])
     as p(slice, account_id, level, attribution_key, date_basis, start_date, end_date, priority);

-- name: claim_slice^
select c.epoch, c.attempt, s.run, s.connection, s.platform, s.account_id, s.level, s.attribution_key,
       s.date_basis, s.start_date, s.end_date, s.priority, s.platform_job
from claim_slice(:org, :slice, :worker, make_interval(secs => :lease_seconds)) c
join run_slices s on s.org = :org and s.slice = :slice;

-- name: extend_lease^
with held as (
    update lanes set lease_end_time = clock_timestamp() + make_interval(secs => :lease_seconds)
    where org = :org and platform = :platform and account_id = :account_id and level = :level
      and attribution_key = :attribution_key and date_basis = :date_basis and epoch = :epoch
    returning 1
)
select exists (select from held) as held, s.state = 7 or r.state in (6, 7) as cancelled,
       exists (select from suspensions u where u.org = :org and u.end_time is null
               and u.platform in ('', s.platform) and u.connection in ('', s.connection)
               and u.account_id in ('', s.account_id)) as suspended
from run_slices s join runs r on r.org = s.org and r.run = s.run
where s.org = :org and s.slice = :slice;

-- name: lock_lane^
select 1 from lanes
where org = :org and platform = :platform and account_id = :account_id and level = :level
  and attribution_key = :attribution_key and date_basis = :date_basis and epoch = :epoch
for update;

-- name: free_lane!
update lanes set slice = null, worker = '', lease_end_time = null
where org = :org and platform = :platform and account_id = :account_id and level = :level
  and attribution_key = :attribution_key and date_basis = :date_basis and epoch = :epoch;

-- name: next_of_lane
-- What may be read now that the lane is free.
select slice, priority, greatest(0, extract(epoch from next_attempt_time - clock_timestamp()))::float8 as wait_seconds
from run_slices
where org = :org and platform = :platform and account_id = :account_id and level = :level
  and attribution_key = :attribution_key and date_basis = :date_basis and state in (1, 2, 3)
order by next_attempt_time > clock_timestamp(), priority, start_date desc limit 1;

-- name: keep_job!
update run_slices set platform_job = :platform_job where org = :org and slice = :slice;

-- name: park_slice!
update run_slices
set state = 3, next_attempt_time = clock_timestamp() + make_interval(secs => :seconds),
    wait_reason = :reason::smallint, wait_detail = :detail,
    quota_since = case when :reason::smallint = 1 then coalesce(quota_since, clock_timestamp()) end,
    attempt = attempt - case when :counts then 0 else 1 end,
    error = coalesce(:error, error), call_count = call_count + :call_count, size_bytes = size_bytes + :size_bytes
where org = :org and slice = :slice;

-- name: let_go_slice!
update run_slices s
set state = case when r.state in (6, 7) or s.state = 7 then 7 else 1 end, attempt = s.attempt - 1,
    end_time = case when r.state in (6, 7) then clock_timestamp() end,
    call_count = s.call_count + :call_count, size_bytes = s.size_bytes + :size_bytes
from runs r
where s.org = :org and s.slice = :slice and r.org = s.org and r.run = s.run and s.state in (1, 2, 3, 7);

-- name: finish_slice!
update run_slices
set state = :state, memory_slice = :memory_slice, row_count = :row_count, upserted_count = :upserted_count,
    restated_count = :restated_count, vanished_count = :vanished_count, dead_letter_count = :dead_letter_count,
    call_count = call_count + :call_count, size_bytes = size_bytes + :size_bytes,
    wait_reason = 0, wait_detail = '', end_time = clock_timestamp(), platform_job = null
where org = :org and slice = :slice;

-- name: fail_slices
-- What failed, and what of the run fails with it; others hold their slices until they look.
update run_slices
set state = 6, error = :error, end_time = clock_timestamp(), wait_reason = 0, wait_detail = '',
    call_count = call_count + case when slice = :slice then :call_count else 0 end,
    size_bytes = size_bytes + case when slice = :slice then :size_bytes else 0 end
where org = :org and run = :run and (slice = :slice or (
    state in (1, 3) and (:scope = 'CONNECTION' or (:scope = 'ACCOUNT' and account_id = :account_id))))
returning slice;

-- name: reject_connection!
-- What its run was refused for, every later run would be too.
update connections set state = 3, update_time = now()
where org = :org and connection = :connection and state = 2;

-- name: ask_for_verification!
-- What the platform says of its accounts is no longer what is known of them.
update connections set verify_ask_time = clock_timestamp() where org = :org and connection = :connection;

-- name: reopen_lane_days!
-- Their newest answer was not taken in, so that the next run reads them again, final or not.
update lane_days set final = false
where org = :org and platform = :platform and account_id = :account_id and level = :level
  and attribution_key = :attribution_key and date_basis = :date_basis and final
  and date between :start_date and :end_date;

-- name: split_slice!
with whole as (
    update run_slices
    set end_date = :middle, state = 1, attempt = 0, platform_job = null, next_attempt_time = clock_timestamp(),
        error = :error, call_count = call_count + :call_count, size_bytes = size_bytes + :size_bytes
    where org = :org and slice = :slice
    returning *
)
insert into run_slices (org, slice, run, connection, platform, account_id, level, attribution_key, date_basis,
                        start_date, end_date, state, priority)
select org, :half, run, connection, platform, account_id, level, attribution_key, date_basis, :middle + 1,
       :end_date, 1, priority
from whole;

-- name: upsert_lane_days!
insert into lane_days as d (org, platform, account_id, level, attribution_key, date_basis, date, final, commit_time,
                            change_time)
select :org, :platform, :account_id, :level, :attribution_key, :date_basis, day::date, day::date <= :final_through,
       clock_timestamp(), clock_timestamp()
from generate_series(:start_date::date, :end_date::date, interval '1 day') day
on conflict (org, platform, account_id, level, attribution_key, date_basis, date) do update
    set final = excluded.final, commit_time = excluded.commit_time,
        change_time = case when d.date = any(:unchanged::date[]) then d.change_time else excluded.change_time end;

-- name: day_sums
select date, metric, value from day_sums
where org = :org and platform = :platform and account_id = :account_id and level = :level
  and attribution_key = :attribution_key and date_basis = :date_basis
  and date between :start_date and :end_date;

-- name: drop_day_sums!
delete from day_sums
where org = :org and platform = :platform and account_id = :account_id and level = :level
  and attribution_key = :attribution_key and date_basis = :date_basis
  and date between :start_date and :end_date;

-- name: insert_day_sums!
insert into day_sums (org, platform, account_id, level, attribution_key, date_basis, date, metric, value, run)
select :org, :platform, :account_id, :level, :attribution_key, :date_basis, p.date, p.metric, p.value, :run
from unnest(:dates::date[], :metrics::text[], :sums::numeric[]) as p(date, metric, value);

-- name: insert_dead_letters!
-- Never older than the commit of its day, which comes first.
insert into dead_letters as d (org, dead_letter, run, connection, platform, account_id, level, attribution_key,
                               date_basis, date, row, row_digest, context, errors, state, counted, read_time)
select :org, gen_random_uuid(), :run, :connection, :platform, :account_id, :level, :attribution_key, :date_basis,
       p.date, p.row::jsonb, p.row_digest, p.context::jsonb, p.errors::jsonb, 1, p.counted, clock_timestamp()
from unnest(:dates::date[], :rows::text[], :row_digests::bytea[], :contexts::text[], :errors::text[],
            :counted::boolean[])
     as p(date, row, row_digest, context, errors, counted)
on conflict (org, platform, account_id, level, attribution_key, date_basis, row_digest) where state = 1 do update
    set attempt_count = d.attempt_count + 1, errors = excluded.errors, context = excluded.context,
        run = excluded.run, counted = excluded.counted, read_time = excluded.read_time, update_time = now();

-- name: overtake_dead_letters!
-- What the newest answer of these days does not refuse any more; a row without a day may be of others.
update dead_letters set state = 4, update_time = now()
where org = :org and platform = :platform and account_id = :account_id and level = :level
  and attribution_key = :attribution_key and date_basis = :date_basis and state = 1
  and date between :start_date and :end_date and row_digest <> all(:row_digests::bytea[]);

-- name: lock_run!
-- Whoever ends a slice looks alone whether it was the last: two at once would each see the other's still open.
select 1 from runs where org = :org and run = :run for update;

-- name: end_run^
-- Ends a run with its last slice.
update runs r
set state = case
        when r.state = 6 or w.cancelled > 0 then 7
        when w.failed = 0 and w.dead = 0 then 3
        when w.committed > 0 then 4
        else 5
    end,
    error = coalesce(w.error, r.error), end_time = clock_timestamp(), update_time = clock_timestamp(),
    revision = r.revision + 1
from (
    select count(*) filter (where s.state in (1, 2, 3)) as open, count(*) filter (where s.state = 6) as failed,
           count(*) filter (where s.state = 7) as cancelled, count(*) filter (where s.state in (4, 5) and s.level > 0) as committed,
           coalesce(sum(s.dead_letter_count), 0) as dead,
           (array_agg(s.error order by s.end_time desc nulls last) filter (where s.state = 6))[1] as error
    from run_slices s where s.org = :org and s.run = :run
) w
where r.org = :org and r.run = :run and r.state in (1, 2, 6) and w.open = 0
returning r.state;

-- name: touch_run!
update runs set update_time = clock_timestamp(), revision = revision + 1 where org = :org and run = :run;

-- name: failed_accounts
select distinct account_id from run_slices where org = :org and run = :run and state = 6;

-- name: account_slices
select state, level = 0 as of_objects, error ->> 'error_class' as error_class,
       wait_reason = 1 as waits_for_quota, dead_letter_count > 0 as rows_refused
from run_slices where org = :org and run = :run and account_id = :account_id;

-- name: store_outcome!
-- What was only planned, or listed, leaves the outcome of what was read before.
update accounts set outcome = case when :outcome::smallint = 0 then outcome else :outcome::smallint end,
    read_time = case when :committed then clock_timestamp() else read_time end
where org = :org and connection = :connection and account_id = :account_id;

-- name: cancel_run^
update runs set state = 6, reason = :reason, update_time = clock_timestamp(), revision = revision + 1
where org = :org and run = :run and state in (1, 2)
returning state;

-- name: cancel_waiting_slices!
update run_slices set state = 7, end_time = clock_timestamp(), wait_reason = 0, wait_detail = ''
where org = :org and run = :run and state in (1, 3);

-- name: keep_objects!
with stored as (
    insert into objects as o (org, platform, account_id, level, object_id, parent_id, display_name, state)
    select :org, :platform, :account_id, p.level, p.object_id, p.parent_id, p.display_name, p.state
    from unnest(:levels::smallint[], :object_ids::text[], :parent_ids::text[], :display_names::text[],
                :states::text[]) as p(level, object_id, parent_id, display_name, state)
    on conflict (org, platform, account_id, level, object_id) do update
        set parent_id = excluded.parent_id, display_name = excluded.display_name, state = excluded.state,
            update_time = now()
        where (o.parent_id, o.display_name, o.state) is distinct from
              (excluded.parent_id, excluded.display_name, excluded.state)
    returning 1
)
update run_slices set upserted_count = upserted_count + (select count(*) from stored)
where org = :org and slice = :slice;

-- name: upserted_of_slice^
select upserted_count from run_slices where org = :org and slice = :slice;

-- name: account_lags
select org, platform, account_id, days from account_lags();

-- name: due_slices
select org, slice, priority from due_slices(:limit);
