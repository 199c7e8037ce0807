-- name: get_insight^
select * from insights where org = :org and insight_id = :insight_id;

-- name: insights_by_id
select * from insights where org = :org and insight_id = any(:insight_ids::text[]);

-- name: newest_day$
select max(date) from entries where org = :org and date < :today;

-- name: known_summaries
select insight_id, template, summary from insights where org = :org and insight_id = any(:insight_ids::text[]);

-- name: object_names
-- Newest names of objects, in the order asked.
select n.*
from unnest(:platforms::text[], :levels::smallint[], :account_ids::text[], :campaign_ids::text[], :ad_group_ids::text[],
            :ad_ids::text[], :flow_ids::text[], :message_ids::text[], :series_ids::text[])
     with ordinality as k (platform, level, account_id, campaign_id, ad_group_id, ad_id, flow_id, message_id, series_id, place)
left join lateral (
    select account_name, campaign_name, ad_group_name, ad_name, flow_name, message_name, series_name
    from entries e
    where e.org = :org and e.platform = k.platform and e.account_id = k.account_id and e.level = k.level
      and e.date between :start_date and :end_date
      and e.campaign_id = k.campaign_id and e.ad_group_id = k.ad_group_id and e.ad_id = k.ad_id
      and e.flow_id = k.flow_id and e.message_id = k.message_id and e.series_id = k.series_id
    order by e.date desc limit 1
) n on true
order by k.place;

-- name: active_insights
-- Locked in their order, so that two runs do not wait for each other in a circle.
select * from insights
where org = :org and state = 1 and kind = any(:kinds::smallint[]) and level = any(:levels::smallint[])
order by insight_id for update;

-- name: upsert_insights
-- Returns those that hold for themselves anew: found for the first time, again after they were resolved or in days
-- behind those of before, or no longer within a whole.
with given as (
    select * from jsonb_to_recordset(:insights::jsonb) as g (
        insight_id text, kind smallint, pattern smallint, direction smallint, metric text, platform text,
        level smallint, account_id text, campaign_id text, ad_group_id text, ad_id text, flow_id text, message_id text,
        series_id text, channel text, attribution_key text, date_basis smallint, currency_code text, start_date date,
        end_date date, severity double precision, quality_score double precision, whole_id text, details jsonb,
        template text, summary text)
), held as (
    select i.insight_id from insights i join given g using (insight_id)
    where i.org = :org and i.state = 1 and i.whole_id = '' and i.end_date >= g.start_date
), news as (
    delete from insight_tellings t using insights i join given g using (insight_id)
    where t.org = :org and i.org = :org and t.insight_id = i.insight_id and i.end_date < g.start_date
), written as (
    insert into insights as i (
        org, insight_id, kind, pattern, direction, state, metric, platform, level, account_id, campaign_id, ad_group_id,
        ad_id, flow_id, message_id, series_id, channel, attribution_key, date_basis, currency_code, start_date, end_date,
        severity, quality_score, whole_id, details, template, summary, create_time, update_time)
    select :org, insight_id, kind, pattern, direction, 1, metric, platform, level, account_id, campaign_id, ad_group_id,
           ad_id, flow_id, message_id, series_id, channel, attribution_key, date_basis, currency_code, start_date,
           end_date, severity, quality_score, whole_id, details, template, summary, now(), now()
    from given order by insight_id
    on conflict (org, insight_id) do update
    set pattern = excluded.pattern, state = 1, channel = excluded.channel, start_date = excluded.start_date,
        end_date = excluded.end_date, severity = excluded.severity, quality_score = excluded.quality_score,
        whole_id = excluded.whole_id, details = excluded.details, template = excluded.template,
        summary = excluded.summary, update_time = excluded.update_time
    returning i.insight_id, i.whole_id
)
select w.insight_id from written w where w.whole_id = '' and w.insight_id not in (select insight_id from held);

-- name: resolve_insights!
update insights set state = 2, update_time = now() where org = :org and insight_id = any(:insight_ids::text[]);

-- name: free_insights
-- What a whole told that holds no more is told for itself from now on.
update insights set whole_id = '' where org = :org and state = 1 and whole_id = any(:insight_ids::text[])
returning insight_id;

-- name: rate_insight^
update insights
set rating = :rating, rating_comment = :comment, rating_subject = :subject, update_time = now()
where org = :org and insight_id = :insight_id
returning *;

-- name: queue_documents!
select queue_documents(:org, :kind, :insight_ids, :version);

-- name: tell_of_found
insert into insight_tellings (org, insight_route, insight_id)
select r.org, r.insight_route, i.insight_id
from insights i
join insight_routes r on r.org = i.org and not r.disabled and i.severity >= r.minimum_severity
    and (r.kinds = '{}' or i.kind = any(r.kinds)) and (r.platforms = '{}' or i.platform = any(r.platforms))
where i.org = :org and i.insight_id = any(:insight_ids::text[])
on conflict do nothing
returning insight_route, insight_id;

-- name: tell_of_resolved
delete from insight_tellings where org = :org and insight_id = any(:insight_ids::text[])
returning insight_route, insight_id;

-- name: write_message!
insert into insight_messages (org, insight_route, found_ids, resolved_ids)
values (:org, :insight_route, :found_ids, :resolved_ids);

-- name: orgs_awaiting
select org from orgs_awaiting_insights(make_interval(secs => :quiet_seconds), make_interval(secs => :wait_seconds),
                                       make_interval(secs => :every_seconds));

-- name: take_org^
insert into insight_positions as p (org, leased_until)
values (:org, clock_timestamp() + make_interval(secs => :lease_seconds))
on conflict (org) do update set leased_until = excluded.leased_until where p.leased_until < clock_timestamp()
returning org;

-- name: org_done!
update insight_positions
set version = greatest(version, :version), generate_time = clock_timestamp(), leased_until = '-infinity'
where org = :org;

-- name: org_failed!
update insight_positions
set leased_until = clock_timestamp() + make_interval(secs => :retry_seconds) where org = :org;
