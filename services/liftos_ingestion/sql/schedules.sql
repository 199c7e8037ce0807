-- name: active_schedules
select org, schedule from due_schedules(now());

-- name: lock_schedule^
select s.schedule, s.display_name, s.connection, s.account_ids, s.levels, s.cron, s.time_zone, s.lookback_days,
       s.overlap_policy, s.catchup_seconds, s.paused, s.due_after, s.buffered_fire_time, s.last_run, s.revision,
       s.create_time, s.update_time
from schedules s where s.org = :org and s.schedule = :schedule and not s.paused
for update skip locked;

-- name: running_of^
select run from runs
where org = :org and schedule = :schedule and state in (1, 2, 6) order by create_time desc limit 1;

-- name: started!
update schedules
set due_after = greatest(due_after, :fire_time), buffered_fire_time = null, last_run = coalesce(:run, last_run)
where org = :org and schedule = :schedule;

-- name: buffered!
update schedules set due_after = greatest(due_after, :fire_time), buffered_fire_time = :fire_time
where org = :org and schedule = :schedule;

-- name: insert_schedule^
insert into schedules (org, schedule, display_name, connection, account_ids, levels, cron, time_zone, lookback_days,
                       overlap_policy, catchup_seconds, paused, due_after)
values (:org, :schedule, :display_name, :connection, :account_ids, :levels, :cron, :time_zone, :lookback_days,
        :overlap_policy, :catchup_seconds, :paused, now())
on conflict do nothing
returning *;

-- name: lock_for_change^
select * from schedules where org = :org and schedule = :schedule for update;

-- name: update_schedule^
-- What has fired while it was paused, or by its earlier clock, is not made up for.
update schedules
set display_name = :display_name, connection = :connection, account_ids = :account_ids, levels = :levels,
    cron = :cron, time_zone = :time_zone, lookback_days = :lookback_days, overlap_policy = :overlap_policy,
    catchup_seconds = :catchup_seconds, paused = :paused, revision = revision + 1, update_time = now(),
    due_after = case when paused and not :paused or cron <> :cron or time_zone <> :time_zone then now()
                else due_after end,
    buffered_fire_time = case when :paused then null else buffered_fire_time end
where org = :org and schedule = :schedule
returning *;

-- name: get_schedule^
select * from schedules where org = :org and schedule = :schedule;

-- name: delete_schedule!
delete from schedules where org = :org and schedule = :schedule;
