-- name: get_connection^
select c.*, case when c.disabled then 4 else c.state end as effective_state
from connections c where c.org = :org and c.connection = :connection;

-- name: accounts_of
-- Accounts of connections with the newest days that were committed, looked up lane by lane.
select a.*, d.newest_date, d.newest_final_date
from accounts a
join connections c using (org, connection)
left join lateral (
    select max(n.date) as newest_date, max(f.date) as newest_final_date
    from lanes l
    left join lateral (
        select d.date from lane_days d
        where d.org = l.org and d.platform = l.platform and d.account_id = l.account_id and d.level = l.level
          and d.attribution_key = l.attribution_key and d.date_basis = l.date_basis
        order by d.date desc limit 1
    ) n on true
    left join lateral (
        select d.date from lane_days d
        where d.org = l.org and d.platform = l.platform and d.account_id = l.account_id and d.level = l.level
          and d.attribution_key = l.attribution_key and d.date_basis = l.date_basis and d.final
        order by d.date desc limit 1
    ) f on true
    where l.org = a.org and l.platform = c.platform and l.account_id = a.account_id
) d on true
where a.org = :org and a.connection = any(:connections::text[])
order by a.connection, a.account_id;

-- name: committed_days
select account_id, level, attribution_key, date_basis,
       coalesce(array_agg(date order by date) filter (where final), '{}') as final_dates,
       min(date) filter (where not final) as open_since
from lane_days
where org = :org and platform = :platform and account_id = any(:account_ids::text[])
group by account_id, level, attribution_key, date_basis;

-- name: keep_renewed^
-- A credential that its platform renewed, where it is still the one that was opened.
update connections
set credential_sealed = :sealed, credential_key_id = :key_id, credential_fields = :fields,
    credential_expire_time = :expire_time, credential_update_time = clock_timestamp(), update_time = now()
where org = :org and connection = :connection and credential_kind = 1 and credential_sealed = :opened
returning 1;
