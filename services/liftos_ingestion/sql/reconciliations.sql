-- name: read_lanes
select platform, account_id, level, attribution_key, date_basis, min(start_date) as start_date,
       max(end_date) as end_date
from run_slices where org = :org and run = :run and state in (4, 5) and level > 0
group by platform, account_id, level, attribution_key, date_basis
order by account_id, level;

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
