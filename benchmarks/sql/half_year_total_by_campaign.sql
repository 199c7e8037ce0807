-- One row for each campaign of Meta, over half a year.
with sums as (
    select
        date '2025-01-01' as period_start_date,
        campaign_id,
        date_basis,
        regexp_replace(breakdown_key, '=[^&]*', '', 'g') as breakdown,
        coalesce(currency_code, '') as currency_code,
        sum(spend_micros)::bigint as spend_micros,
        sum(revenue_micros)::bigint as revenue_micros,
        sum(impressions)::bigint as impressions,
        sum(clicks)::bigint as clicks,
        sum(link_clicks)::bigint as link_clicks,
        sum(conversions_micros)::bigint as conversions_micros,
        sum(all_conversions_micros)::bigint as all_conversions_micros,
        sum(view_through_conversions_micros)::bigint as view_through_conversions_micros,
        sum(orders)::bigint as orders,
        sum(video_views)::bigint as video_views,
        sum(video_completions)::bigint as video_completions,
        sum(sent)::bigint as sent,
        sum(delivered)::bigint as delivered,
        sum(opened)::bigint as opened,
        sum(machine_opened)::bigint as machine_opened,
        sum(clicked)::bigint as clicked,
        sum(bounced)::bigint as bounced,
        sum(spam_complaints)::bigint as spam_complaints,
        sum(unsubscribed)::bigint as unsubscribed,
        sum(value_micros)::bigint as value_micros,
        count(*) as entry_count,
        min(quality_score) as quality_score,
        bool_and(final) as final
    from entries
    where org = 'bench'
      and platform = 'meta'
      and level = 2  -- campaigns
      and date between '2025-01-01' and '2025-06-30'
    group by 1, 2, 3, 4, 5
)
select
    *,
    clicks / nullif(impressions, 0)::float8 as ctr,
    link_clicks / nullif(impressions, 0)::float8 as link_ctr,
    spend_micros / nullif(clicks * 1e6::float8, 0) as cpc,
    spend_micros / nullif(impressions * 1e3::float8, 0) as cpm,
    conversions_micros / nullif(clicks * 1e6::float8, 0) as conversion_rate,
    spend_micros / nullif(conversions_micros, 0)::float8 as cost_per_conversion,
    revenue_micros / nullif(spend_micros, 0)::float8 as roas,
    revenue_micros / nullif(coalesce(orders * 1e6::float8, conversions_micros), 0) as average_order_value,
    opened / nullif(delivered, 0)::float8 as open_rate,
    clicked / nullif(delivered, 0)::float8 as click_rate,
    clicked / nullif(opened, 0)::float8 as click_to_open_rate,
    unsubscribed / nullif(delivered, 0)::float8 as unsubscribe_rate,
    bounced / nullif(sent, 0)::float8 as bounce_rate,
    spam_complaints / nullif(delivered, 0)::float8 as spam_rate
from sums
order by period_start_date, campaign_id, date_basis, breakdown, currency_code;
