-- name: read_days
-- Days that a run has committed, with what was compared of them before, and how many of their rows were refused; a row
-- that does not say its day may be of any that the run has read.
with read as (
    select distinct d.platform, d.account_id, d.level, d.attribution_key, d.date_basis, d.date, d.commit_time
    from run_slices s
    join lane_days d on d.org = s.org and d.platform = s.platform and d.account_id = s.account_id and d.level = s.level
        and d.attribution_key = s.attribution_key and d.date_basis = s.date_basis
        and d.date between s.start_date and s.end_date
    where s.org = :org and s.run = :run and s.state in (4, 5) and s.level > 0
), refused as (
    select platform, account_id, level, attribution_key, date_basis, date, run, count(*) as count,
           max(read_time) as read_time
    from dead_letters where org = :org and state = 1
    group by platform, account_id, level, attribution_key, date_basis, date, run
)
select r.platform, r.account_id, r.level, r.attribution_key, r.date_basis, r.date,
       coalesce((select array_agg(distinct c.metric) from reconciliations c
                 where c.org = :org and c.platform = r.platform and c.account_id = r.account_id and c.level = r.level
                   and c.date_basis = r.date_basis and c.date = r.date), '{}') as metrics_before,
       coalesce((select sum(f.count) from refused f
                 where f.platform = r.platform and f.account_id = r.account_id and f.level = r.level
                   and f.attribution_key = r.attribution_key and f.date_basis = r.date_basis
                   and (f.date = r.date and f.read_time >= r.commit_time or f.date is null and f.run = :run)
                ), 0)::bigint as refused_count
from read r
order by r.account_id, r.level, r.attribution_key, r.date_basis, r.date;

-- name: answered
select date, metric, value from day_sums
where org = :org and platform = :platform and account_id = :account_id and level = :level
  and attribution_key = :attribution_key and date_basis = :date_basis
  and date between :start_date and :end_date;

-- name: forget_found!
delete from reconciliations
where org = :org and run = :run and account_id = :account_id and level = :level and date_basis = :date_basis;

-- name: store_found!
insert into reconciliations (org, run, platform, account_id, level, date_basis, date, metric, stored_value,
                             platform_value, state, detail)
select :org, :run, :platform, :account_id, :level, :date_basis, p.date, p.metric, p.stored_value, p.platform_value,
       p.state, p.detail
from unnest(:dates::date[], :metrics::text[], :stored_values::bigint[], :platform_values::bigint[],
            :states::smallint[], :details::text[])
     as p(date, metric, stored_value, platform_value, state, detail);
