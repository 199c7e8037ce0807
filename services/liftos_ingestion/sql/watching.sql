-- name: watched_connections
-- With the newest run that ended by itself and had numbers to read, where it ended for the credential and none was
-- taken since.
select c.connection, c.platform, c.state = 3 as rejected, c.verify_time, c.credential_expire_time as expire_time,
       case when l.error ->> 'error_class' = 'CREDENTIALS' and l.end_time > coalesce(
           greatest(c.credential_update_time, case when c.state = 2 then c.verify_time end), '-infinity')
           then l.run end as refused_run
from connections c
left join lateral (
    select r.run, r.error, r.end_time from runs r
    where r.org = c.org and r.connection = c.connection and r.state in (3, 4, 5) and r.kind in (1, 2)
      and exists (select from run_slices s where s.org = r.org and s.run = r.run and s.level > 0)
    order by r.end_time desc limit 1
) l on true
where c.org = :org and not c.disabled
order by c.connection;

-- name: failed_accounts
-- Accounts that are read, and did not get all they were asked for in their newest run that ended by itself and had
-- numbers of theirs to read. Where an account was never read, not all runs are looked through for it.
-- One that ended for its credential is told of as that.
select c.connection, a.account_id, l.run, l.state as run_state, l.schedule, coalesce(f.error ->> 'message', '') as error
from connections c
join accounts a on a.org = c.org and a.connection = c.connection and not a.disabled
    and (a.named or not exists (select from accounts n where n.org = a.org and n.connection = a.connection and n.named))
    and exists (select from lanes n where n.org = c.org and n.platform = c.platform and n.account_id = a.account_id
                and n.level > 0)
cross join lateral (
    select r.run, r.state, r.schedule, r.end_time from runs r
    where r.org = c.org and r.connection = c.connection and r.state in (3, 4, 5) and r.kind in (1, 2)
      and exists (select from run_slices s
                  where s.org = r.org and s.run = r.run and s.account_id = a.account_id and s.level > 0)
    order by r.end_time desc limit 1
) l
cross join lateral (
    select s.error from run_slices s
    where s.org = c.org and s.run = l.run and s.account_id = a.account_id and (s.state = 6 or s.dead_letter_count > 0)
    order by s.state desc, s.end_time desc limit 1
) f
where c.org = :org and not c.disabled and l.state in (4, 5) and f.error ->> 'error_class' is distinct from 'CREDENTIALS'
order by c.connection, l.end_time desc, l.run, a.account_id;

-- name: quota_waits
select s.connection, coalesce(h.cron, '') as cron, coalesce(h.time_zone, '') as time_zone,
       min(s.quota_since) as since, count(*) as slice_count, array_agg(distinct s.account_id) as account_ids
from run_slices s
join runs r on r.org = s.org and r.run = s.run
left join schedules h on h.org = r.org and h.schedule = r.schedule
where s.org = :org and s.state in (2, 3) and s.quota_since is not null
  and not exists (select from suspensions u where u.org = s.org and u.end_time is null
                  and u.platform in ('', s.platform) and u.connection in ('', s.connection)
                  and u.account_id in ('', s.account_id))
group by s.connection, h.schedule, h.cron, h.time_zone;

-- name: refused_rows
select connection, count(*) as open_count, count(*) filter (where read_time > now() - interval '1 day') as recent_count,
       count(*) filter (where read_time > now() - interval '1 day' and attempt_count >= :again) as recent_again_count,
       max(read_time) as newest_time
from dead_letters where org = :org and state = 1 group by connection;

-- name: scheduled_accounts
-- What schedules read, with the newest day that was committed, looked up lane by lane.
select h.schedule, h.connection, c.platform, h.cron, h.time_zone, h.update_time as since, a.account_id,
       a.time_zone as account_time_zone, d.newest
from schedules h
join connections c on c.org = h.org and c.connection = h.connection and not c.disabled
join accounts a on a.org = h.org and a.connection = h.connection and not a.disabled and not a.closed
    and a.time_zone <> '' and (h.account_ids = '{}' or a.account_id = any(h.account_ids))
    and (a.named or not exists (select from accounts n where n.org = a.org and n.connection = a.connection and n.named))
left join lateral (
    select max(n.date) as newest
    from lanes l
    cross join lateral (
        select d.date from lane_days d
        where d.org = l.org and d.platform = l.platform and d.account_id = l.account_id and d.level = l.level
          and d.attribution_key = l.attribution_key and d.date_basis = l.date_basis
        order by d.date desc limit 1
    ) n
    where l.org = a.org and l.platform = c.platform and l.account_id = a.account_id and l.level > 0
) d on true
where h.org = :org and not h.paused
order by h.schedule, a.account_id;

-- name: mismatches
-- Sums whose newest check found that they differ.
select c.platform, c.account_id, count(*) as sum_count, max(c.date) as newest,
       (array_agg(c.run order by c.check_time desc))[1] as run,
       coalesce((array_agg(r.connection order by c.check_time desc))[1], '') as connection
from reconciliations c
left join runs r on r.org = c.org and r.run = c.run
where c.org = :org and c.state = 2
  and not exists (select from reconciliations n
                  where n.org = c.org and n.platform = c.platform and n.account_id = c.account_id and n.level = c.level
                    and n.date_basis = c.date_basis and n.date = c.date and n.metric = c.metric
                    and n.check_time > c.check_time)
group by c.platform, c.account_id
order by c.platform, c.account_id;
