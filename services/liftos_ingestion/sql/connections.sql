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
    where l.org = a.org and l.platform = c.platform and l.account_id = a.account_id and l.level > 0
) d on true
where a.org = :org and a.connection = any(:connections::text[])
order by a.connection, a.account_id;

-- name: committed_days
-- A day of which rows were refused when it was last read is read again, final or not, until somebody deals with them.
with refused as (
    select account_id, level, attribution_key, date_basis, date, max(read_time) as read_time
    from dead_letters
    where org = :org and platform = :platform and account_id = any(:account_ids::text[]) and state = 1
      and date is not null
    group by account_id, level, attribution_key, date_basis, date
), days as (
    select d.account_id, d.level, d.attribution_key, d.date_basis, d.date,
           d.final and coalesce(r.read_time < d.commit_time, true) as final
    from lane_days d left join refused r using (account_id, level, attribution_key, date_basis, date)
    where d.org = :org and d.platform = :platform and d.account_id = any(:account_ids::text[])
)
select account_id, level, attribution_key, date_basis,
       coalesce(array_agg(date order by date) filter (where final), '{}') as final_dates,
       min(date) filter (where not final) as open_since
from days
group by account_id, level, attribution_key, date_basis;

-- name: keep_renewed^
-- A credential that its platform renewed, where it is still the one that was opened.
update connections
set credential_sealed = :sealed, credential_key_id = :key_id, credential_fields = :fields,
    credential_expire_time = :expire_time, credential_update_time = clock_timestamp(), update_time = now()
where org = :org and connection = :connection and credential_kind = 1 and credential_sealed = :opened
returning 1;

-- name: lock_connection^
select c.*, case when c.disabled then 4 else c.state end as effective_state
from connections c where c.org = :org and c.connection = :connection for update;

-- name: hold_source^
select 1 from sources where org = :org and source = :source for key share;

-- name: insert_connection^
insert into connections (org, connection, display_name, platform, settings, disabled, state)
values (:org, :connection, :display_name, :platform, :settings, :disabled, 1)
on conflict do nothing
returning 1;

-- name: change_connection!
update connections
set display_name = coalesce(:display_name, display_name), settings = coalesce(:settings, settings),
    disabled = coalesce(:disabled, disabled), revision = revision + 1, update_time = now()
where org = :org and connection = :connection;

-- name: leave_accounts_unnamed!
update accounts set named = false, disabled = false
where org = :org and connection = :connection and named and account_id <> all(:account_ids::text[]);

-- name: name_accounts!
insert into accounts (org, connection, account_id, named, disabled)
select :org, :connection, p.account_id, true, p.disabled
from unnest(:account_ids::text[], :disabled::boolean[]) as p(account_id, disabled)
on conflict (org, connection, account_id) do update set named = true, disabled = excluded.disabled;

-- name: drop_undescribed_accounts!
-- Nobody names them any more, and the platform never said that they can be read.
delete from accounts where org = :org and connection = :connection and not named and time_zone = '';

-- name: set_credential!
update connections
set credential_kind = :kind, credential_fields = :fields, credential_reference = :reference,
    credential_sealed = :sealed, credential_key_id = :key_id, credential_expire_time = :expire_time,
    credential_update_time = clock_timestamp(), state = 1, granted_scopes = '{}', missing_scopes = '{}',
    verify_time = null, revision = revision + 1, update_time = now()
where org = :org and connection = :connection;

-- name: reseal_credential!
update connections
set credential_sealed = :sealed, credential_key_id = :key_id, revision = revision + 1, update_time = now()
where org = :org and connection = :connection;

-- name: record_verification!
update connections
set state = :state, granted_scopes = :granted_scopes, missing_scopes = :missing_scopes,
    credential_expire_time = coalesce(:expire_time, credential_expire_time), verify_time = clock_timestamp(),
    update_time = now()
where org = :org and connection = :connection;

-- name: due_verifications
select org, connection from due_verifications(:every, :again, :limit);

-- name: claim_verification^
-- No row where another worker was faster, or a person has stopped it meanwhile.
update connections c set verify_attempt_time = clock_timestamp()
where org = :org and connection = :connection and verification_is_due(c, :every, :again)
returning 1;

-- name: describe_accounts!
-- An account that could not be read and now can has no outcome until it is read.
insert into accounts as a (org, connection, account_id, named, disabled, display_name, time_zone, currency_code,
                           closed)
select :org, :connection, p.account_id, false, false, p.display_name, p.time_zone, p.currency_code, p.closed
from unnest(:account_ids::text[], :display_names::text[], :time_zones::text[], :currency_codes::text[],
            :closed::boolean[]) as p(account_id, display_name, time_zone, currency_code, closed)
on conflict (org, connection, account_id) do update
    set display_name = excluded.display_name, time_zone = excluded.time_zone,
        currency_code = excluded.currency_code, closed = excluded.closed,
        outcome = case when a.outcome = 4 then 0 else a.outcome end;

-- name: mark_unreadable_accounts!
update accounts set outcome = 4
where org = :org and connection = :connection and named and account_id <> all(:account_ids::text[]);

-- name: drop_unreadable_accounts!
delete from accounts
where org = :org and connection = :connection and not named and account_id <> all(:account_ids::text[]);

-- name: lock_planning!
-- As the ledger does before it starts a run, so that none starts meanwhile.
select pg_advisory_xact_lock(hashtextextended('plan ' || :org || ' ' || :platform, 0));

-- name: has_open_run^
select 1 from runs where org = :org and connection = :connection and state in (1, 2, 6) limit 1;

-- name: delete_connection!
delete from connections where org = :org and connection = :connection;
