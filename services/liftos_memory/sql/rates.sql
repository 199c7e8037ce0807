-- name: upsert_rates!
-- In key order, so that two writers do not wait for each other in a circle.
insert into exchange_rates as r (org, currency_code, date, rate, source, update_time)
select :org, given.currency_code, given.date, given.rate, given.source, now()
from unnest(:currency_codes::text[], :dates::date[], :rates::numeric[], :sources::text[])
    as given (currency_code, date, rate, source)
order by given.currency_code collate "C", given.date
on conflict (org, currency_code, date) do update
    set rate = excluded.rate, source = excluded.source, update_time = excluded.update_time
    where (r.rate, r.source) is distinct from (excluded.rate, excluded.source);

-- name: list_rates
select currency_code, date, rate, source from exchange_rates
where org = :org and (:currency_code = '' or currency_code = :currency_code)
  and (currency_code, date) > (:after_currency_code::text, :after_date::date)
order by currency_code, date
limit :limit;
