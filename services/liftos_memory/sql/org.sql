-- name: get_settings^
select fiscal_start_month, hemisphere, base_currency_code, region_codes, revision, update_time
from org_settings where org = :org;

-- name: claim_settings!
-- A row to lock must exist before two writers can be told apart.
insert into org_settings
    (org, fiscal_start_month, hemisphere, base_currency_code, region_codes, revision, update_time)
values (:org, :fiscal_start_month, :hemisphere, :base_currency_code, :region_codes, 0, now())
on conflict do nothing;

-- name: lock_settings^
select fiscal_start_month, hemisphere, base_currency_code, region_codes, revision, update_time
from org_settings where org = :org for update;

-- name: store_settings^
update org_settings
set fiscal_start_month = :fiscal_start_month, hemisphere = :hemisphere,
    base_currency_code = :base_currency_code, region_codes = :region_codes,
    revision = revision + 1, update_time = now()
where org = :org
returning fiscal_start_month, hemisphere, base_currency_code, region_codes, revision, update_time;

-- name: has_exchange_rates$
select exists (select from exchange_rates where org = :org);

-- name: count_other_events$
select count(*) from calendar_events where org = :org and event_id <> :event_id;

-- name: upsert_event^
insert into calendar_events as e
    (org, event_id, display_name, start_date, end_date, structural_break, create_time, update_time)
values (:org, :event_id, :display_name, :start_date, :end_date, :structural_break, now(), now())
on conflict (org, event_id) do update
    set display_name = excluded.display_name, start_date = excluded.start_date,
        end_date = excluded.end_date, structural_break = excluded.structural_break,
        update_time = excluded.update_time
returning event_id, display_name, start_date, end_date, structural_break, create_time, update_time;

-- name: all_events
select display_name, start_date, end_date, structural_break
from calendar_events where org = :org order by start_date, event_id;

-- name: list_events
select event_id, display_name, start_date, end_date, structural_break, create_time, update_time
from calendar_events
where org = :org and start_date <= :last_day and end_date >= :first_day
  and (start_date, event_id) > (:after_start, :after_id)
order by start_date, event_id limit :limit;

-- name: delete_event!
delete from calendar_events where org = :org and event_id = :event_id;

-- name: upsert_source^
insert into sources (org, source, display_name, mapping, create_time, update_time)
values (:org, :source, :display_name, :mapping, now(), now())
on conflict (org, source) do update
    set display_name = excluded.display_name, mapping = excluded.mapping,
        update_time = excluded.update_time
returning source, display_name, mapping, create_time, update_time;

-- name: get_source^
select source, display_name, mapping, create_time, update_time
from sources where org = :org and source = :source;

-- name: list_sources
select source, display_name, mapping, create_time, update_time
from sources where org = :org and source > :after order by source limit :limit;
