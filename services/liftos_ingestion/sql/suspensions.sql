-- name: lock_suspending!
-- Claims share this lock: when it is held alone, what was claimed before can be seen.
select pg_advisory_xact_lock(hashtextextended('suspend ' || :org, 0));

-- name: has_connection^
select 1 from connections where org = :org and connection = :connection;

-- name: insert_suspension!
insert into suspensions (org, suspension, platform, connection, account_id, reason, subject)
values (:org, :suspension, :platform, :connection, :account_id, :reason, :subject);

-- name: held_lanes
-- A lane is held for a slice, or for a run that replays dead letters.
select l.platform, l.account_id, l.level, l.attribution_key, l.date_basis, l.epoch,
       l.lease_end_time < clock_timestamp() as lease_over
from lanes l
left join run_slices s on s.org = l.org and s.slice = l.slice
left join runs r on r.org = l.org and r.run = l.slice
where l.org = :org and l.slice is not null
  and :platform in ('', l.platform) and :account_id in ('', l.account_id)
  and :connection in ('', coalesce(s.connection, r.connection))
  and exists (select from suspensions u where u.org = l.org and u.end_time is null
              and u.platform in ('', l.platform) and u.account_id in ('', l.account_id)
              and u.connection in ('', coalesce(s.connection, r.connection)));

-- name: take_lane_away!
update lanes set epoch = epoch + 1, slice = null, worker = '', lease_end_time = null
where org = :org and platform = :platform and account_id = :account_id and level = :level
  and attribution_key = :attribution_key and date_basis = :date_basis and epoch = :epoch
  and lease_end_time < clock_timestamp();

-- name: end_suspension!
update suspensions set end_time = clock_timestamp(), end_reason = :reason, end_subject = :subject
where org = :org and suspension = :suspension and end_time is null;

-- name: due_in_scope
-- The first slice of each lane that waited for a suspension and waits for none any more.
select distinct on (s.platform, s.account_id, s.level, s.attribution_key, s.date_basis) s.slice, s.priority
from suspensions lifted
join run_slices s on s.org = lifted.org and s.state in (1, 2, 3) and s.next_attempt_time <= clock_timestamp()
    and lifted.platform in ('', s.platform) and lifted.connection in ('', s.connection)
    and lifted.account_id in ('', s.account_id)
where lifted.org = :org and lifted.suspension = :suspension
  and not exists (select from suspensions u where u.org = s.org and u.end_time is null
                  and u.platform in ('', s.platform) and u.connection in ('', s.connection)
                  and u.account_id in ('', s.account_id))
order by s.platform, s.account_id, s.level, s.attribution_key, s.date_basis, s.priority, s.start_date desc;
