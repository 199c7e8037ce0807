-- name: run_of_replay^
select platform, connection from runs where org = :org and run = :run and kind = 3 and state in (1, 2);

-- name: lanes_of_replay
select distinct d.platform, d.account_id, d.level, d.attribution_key, d.date_basis
from replays p join dead_letters d using (org, dead_letter)
where p.org = :org and p.run = :run;

-- name: lock_claiming!
-- As claims of slices do; see there.
select pg_advisory_xact_lock_shared(hashtextextended('suspend ' || :org, 0));

-- name: begin_replay^
update runs
set state = 2, start_time = coalesce(start_time, clock_timestamp()), update_time = clock_timestamp(),
    revision = revision + case when state = 1 then 1 else 0 end
where org = :org and run = :run and state in (1, 2)
returning connection;

-- name: take_lane^
insert into lanes as l (org, platform, account_id, level, attribution_key, date_basis, epoch, slice, worker,
                        lease_end_time)
select :org, :platform, :account_id, :level, :attribution_key, :date_basis, 1, :run, :worker,
       clock_timestamp() + make_interval(secs => :lease_seconds)
where not exists (select from suspensions u where u.org = :org and u.end_time is null
                  and u.platform in ('', :platform) and u.connection in ('', :connection)
                  and u.account_id in ('', :account_id))
on conflict (org, platform, account_id, level, attribution_key, date_basis) do update
    set epoch = l.epoch + 1, slice = excluded.slice, worker = excluded.worker,
        lease_end_time = excluded.lease_end_time
    where l.lease_end_time is null or l.lease_end_time < clock_timestamp()
returning l.epoch;

-- name: forget_closed_letters!
-- Given up, or taken in by another run, since this one was started.
delete from replays p using dead_letters d
where p.org = :org and p.run = :run and d.org = p.org and d.dead_letter = p.dead_letter and d.state <> 1;

-- name: letters_of_lane
select d.dead_letter, d.row, d.context, d.counted, d.read_time
from replays p join dead_letters d using (org, dead_letter)
where p.org = :org and p.run = :run and d.state = 1 and d.platform = :platform and d.account_id = :account_id
  and d.level = :level and d.attribution_key = :attribution_key and d.date_basis = :date_basis
order by d.dead_letter limit :limit;

-- name: committed_days
select date, commit_time, final from lane_days
where org = :org and platform = :platform and account_id = :account_id and level = :level
  and attribution_key = :attribution_key and date_basis = :date_basis and date = any(:days::date[]);

-- name: letters_taken_in!
update dead_letters set state = 2, replay_run = :run, update_time = now()
where org = :org and dead_letter = any(:letters::uuid[]) and state = 1;

-- name: letters_overtaken!
update dead_letters set state = 4, update_time = now()
where org = :org and dead_letter = any(:letters::uuid[]) and state = 1;

-- name: letters_refused_again!
update dead_letters d set errors = p.errors::jsonb, attempt_count = d.attempt_count + 1, update_time = now()
from unnest(:letters::uuid[], :errors::text[]) as p(dead_letter, errors)
where d.org = :org and d.dead_letter = p.dead_letter and d.state = 1;

-- name: forget_tried_letters!
delete from replays where org = :org and run = :run and dead_letter = any(:letters::uuid[]);

-- name: add_day_sums!
insert into day_sums as s (org, platform, account_id, level, attribution_key, date_basis, date, metric, value, run)
select :org, :platform, :account_id, :level, :attribution_key, :date_basis, p.date, p.metric, p.value, :run
from unnest(:dates::date[], :metrics::text[], :sums::numeric[]) as p(date, metric, value)
on conflict (org, platform, account_id, level, attribution_key, date_basis, date, metric) do update
    set value = s.value + excluded.value, run = excluded.run;

-- name: touch_days!
update lane_days set change_time = clock_timestamp()
where org = :org and platform = :platform and account_id = :account_id and level = :level
  and attribution_key = :attribution_key and date_basis = :date_basis and date = any(:dates::date[]);

-- name: insert_tried!
-- What was tried at once, as a slice of the run that has ended.
insert into run_slices (org, slice, run, connection, platform, account_id, level, attribution_key, date_basis,
                        start_date, end_date, state, priority, attempt, row_count, upserted_count, dead_letter_count,
                        error, start_time, end_time)
select r.org, gen_random_uuid(), r.run, r.connection, r.platform, :account_id, :level, :attribution_key, :date_basis,
       coalesce(:start_date, r.start_date), coalesce(:end_date, r.end_date), :state, 0, 1, :row_count,
       :upserted_count, :dead_letter_count, :error, r.start_time, clock_timestamp()
from runs r where r.org = :org and r.run = :run;

-- name: drop_replay!
delete from replays where org = :org and run = :run;

-- name: has_letters_to_try^
select 1 from replays p join runs r using (org, run)
where p.org = :org and p.run = :run and r.state in (1, 2) limit 1;

-- name: put_off_replay!
update runs set next_attempt_time = clock_timestamp() + make_interval(secs => :seconds), wait_reason = :reason,
    wait_detail = :detail, update_time = clock_timestamp(), revision = revision + 1
where org = :org and run = :run;

-- name: fail_replay!
update runs set state = 5, error = :error, end_time = clock_timestamp(), update_time = clock_timestamp(),
    revision = revision + 1
where org = :org and run = :run and state in (1, 2, 6);

-- name: plan_replay!
insert into replays (org, run, dead_letter) select :org, :run, unnest(:letters::uuid[]);
