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
