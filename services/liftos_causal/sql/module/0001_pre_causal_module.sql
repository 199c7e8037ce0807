-- The Causal module's own database, as it was when the module kept its data to itself.
--
-- It is not laid out as one would today, and holds what such databases hold: numbers as text, two
-- kinds of timestamps, rows that were fetched twice, results of models that are gone. It is kept
-- like that, since what moves a module has to cope with it.

create table platform_accounts (
    id serial primary key,
    org_id text not null,
    platform varchar(32) not null,
    account_id varchar(64) not null,
    currency char(3) not null,
    timezone varchar(64),
    created_at timestamp not null default now(),
    unique (org_id, platform, account_id)
);

create table campaigns (
    id serial primary key,
    platform_account_id int not null references platform_accounts (id),
    campaign_id varchar(64) not null,
    name text not null,
    objective text,
    status varchar(16) not null default 'active',
    tags text[] not null default '{}',
    created_at timestamp not null default now(),
    updated_at timestamptz not null default now(),
    unique (platform_account_id, campaign_id)
);

-- What platforms answered, in their own units: Meta's amounts are decimal strings and its purchases
-- a list of overlapping actions, Google's costs are micros as text. A day that was fetched again is
-- a second row. Rows of several days repeat daily ones.
create table campaign_performance (
    id bigserial primary key,
    org_id text not null,
    platform varchar(32) not null,
    account_id varchar(64) not null,
    campaign_id varchar(64) not null,
    date_start date not null,
    date_stop date not null,
    currency char(3) not null,
    spend varchar(32),
    cost_micros varchar(32),
    impressions bigint,
    clicks bigint,
    conversions double precision,
    conversions_value double precision,
    actions jsonb,
    email_metrics jsonb,
    quality_score numeric(3, 2),
    fetched_at timestamp not null default now(),
    updated_at timestamptz not null default now()
);
create index campaign_performance_of_day
    on campaign_performance (org_id, platform, account_id, campaign_id, date_start, fetched_at desc, id desc);
create index campaign_performance_days on campaign_performance (org_id, date_start);

-- The shop's own numbers. No row for a day on which the shop's export failed; a null where it knew
-- orders but no revenue.
create table shop_orders_daily (
    org_id text not null,
    day date not null,
    orders int not null,
    revenue numeric(14, 2),
    currency char(3) not null,
    updated_at timestamptz not null default now(),
    primary key (org_id, day)
);

create table exchange_rates (
    day date not null,
    currency char(3) not null,
    usd numeric(18, 8) not null,
    primary key (day, currency)
);

create table external_factors (
    org_id text not null,
    factor varchar(64) not null,
    day date not null,
    impact double precision not null,
    primary key (org_id, factor, day)
);

create table raw_platform_records (
    id bigserial primary key,
    org_id text not null,
    platform varchar(32) not null,
    account_id varchar(64) not null,
    payload jsonb not null,
    fetched_at timestamptz not null default now()
);

create table attribution_models (
    org_id text not null,
    model_id varchar(63) not null,
    model_name text not null,
    model_type varchar(40) not null,
    model_config jsonb not null,
    status varchar(16) not null,
    status_reason text not null default '',
    feature_importance jsonb,
    model_accuracy double precision,
    validation_metrics jsonb,
    model_artifact bytea,
    version int not null default 1,
    request jsonb not null default '{}',
    trained_at timestamp not null default now(),
    created_at timestamptz not null default now(),
    primary key (org_id, model_id)
);

-- One row for each channel. No key to the models: results outlive them.
create table attribution_results (
    result_id uuid not null,
    channel varchar(64) not null,
    org_id text not null,
    model_id varchar(63),
    attribution_window int not null,
    share double precision not null,
    ci_low double precision not null,
    ci_high double precision not null,
    conversions double precision not null,
    revenue double precision not null,
    spend double precision not null,
    position int not null,
    details jsonb not null,
    computed_at timestamptz not null default now(),
    primary key (result_id, channel)
);
create index attribution_results_newest on attribution_results (org_id, computed_at desc);

create table causal_experiments (
    org_id text not null,
    experiment_id varchar(63) not null,
    experiment_name text not null,
    experiment_type varchar(32) not null,
    treatment_groups jsonb not null,
    control_groups jsonb not null,
    settings jsonb not null,
    start_date date not null,
    end_date date not null,
    status varchar(16) not null,
    status_reason text not null default '',
    results jsonb,
    version int not null default 1,
    request jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (org_id, experiment_id)
);

create table lift_measurements (
    id uuid primary key,
    org_id text not null,
    campaign_id varchar(64) not null,
    lift_type varchar(32) not null,
    baseline daterange not null,
    treatment daterange not null,
    results jsonb not null,
    cost numeric(18, 6) not null,
    request jsonb not null default '{}',
    created_at timestamptz not null default now()
);
create index lift_measurements_newest on lift_measurements (org_id, created_at desc);

create table budget_optimizations (
    id uuid primary key,
    org_id text not null,
    model_id varchar(63) not null,
    optimization_goal varchar(16) not null,
    time_horizon int not null,
    currency char(3) not null,
    allocation jsonb not null,
    results jsonb not null,
    request jsonb not null default '{}',
    created_at timestamptz not null default now()
);
create index budget_optimizations_newest on budget_optimizations (org_id, created_at desc);

create table model_settings (
    org_id text primary key,
    settings jsonb not null,
    version int not null default 1,
    updated_at timestamptz not null default now()
);

create table prior_beliefs (
    org_id text not null,
    channel varchar(64) not null,
    mean double precision not null,
    standard_deviation double precision not null check (standard_deviation > 0),
    updated_at timestamptz not null default now(),
    primary key (org_id, channel)
);

create table sync_jobs (
    id uuid primary key,
    org_id text not null,
    sync_type varchar(16) not null,
    date_start date not null,
    date_stop date not null,
    status varchar(24) not null,
    platforms jsonb not null,
    request jsonb not null default '{}',
    started_at timestamptz not null default now(),
    finished_at timestamptz
);

-- The newest answer for each campaign and day, in one unit.
create view clean_performance as
select distinct on (org_id, platform, account_id, campaign_id, date_start)
    org_id, platform, account_id, campaign_id, date_start as day, currency,
    coalesce(spend::numeric, cost_micros::numeric / 1000000) as spend,
    impressions,
    clicks,
    -- The most exact of the purchase actions that Meta counts side by side.
    coalesce(
        conversions,
        (actions -> 'offsite_conversion.fb_pixel_purchase' ->> 'count')::float8,
        (actions -> 'omni_purchase' ->> 'count')::float8,
        (actions -> 'purchase' ->> 'count')::float8,
        (email_metrics ->> 'orders')::float8
    ) as conversions,
    coalesce(
        conversions_value,
        (actions -> 'offsite_conversion.fb_pixel_purchase' ->> 'value')::float8,
        (actions -> 'omni_purchase' ->> 'value')::float8,
        (actions -> 'purchase' ->> 'value')::float8,
        (email_metrics ->> 'revenue')::float8
    ) as revenue,
    quality_score
from campaign_performance
where date_start = date_stop
order by org_id, platform, account_id, campaign_id, date_start, fetched_at desc, id desc;

-- What models read, kept up by whoever writes performance.
create table channel_daily (
    org_id text not null,
    day date not null,
    platform varchar(32) not null,
    currency char(3) not null,
    spend numeric not null,
    quality_score numeric(3, 2),
    primary key (org_id, day, platform, currency)
);

create function roll_up(of_org text, of_days date[]) returns void language plpgsql as $$
begin
    -- One after the other, so that each sees what the others wrote.
    perform pg_advisory_xact_lock(hashtextextended(of_org || ' ' || one::text, 0))
    from unnest(of_days) one order by one;
    delete from channel_daily where org_id = of_org and day = any(of_days);
    insert into channel_daily (org_id, day, platform, currency, spend, quality_score)
    select org_id, day, platform, currency, coalesce(sum(spend), 0), min(quality_score)
    from clean_performance where org_id = of_org and day = any(of_days)
    group by org_id, day, platform, currency;
end $$;

create function roll_up_written() returns trigger language plpgsql as $$
begin
    perform roll_up(org_id, array_agg(distinct date_start)) from written group by org_id;
    return null;
end $$;
create trigger campaign_performance_inserted after insert on campaign_performance
    referencing new table as written for each statement execute function roll_up_written();
create trigger campaign_performance_updated after update on campaign_performance
    referencing new table as written for each statement execute function roll_up_written();

-- What answers that are kept are good for.
create table data_versions (
    org_id text primary key,
    version bigint not null
);

create function count_written() returns trigger language plpgsql as $$
begin
    insert into data_versions as v (org_id, version)
    select distinct org_id, 1 from written
    on conflict (org_id) do update set version = v.version + 1;
    return null;
end $$;
create trigger channel_daily_counted after insert on channel_daily
    referencing new table as written for each statement execute function count_written();
create trigger shop_orders_inserted after insert on shop_orders_daily
    referencing new table as written for each statement execute function count_written();
create trigger shop_orders_updated after update on shop_orders_daily
    referencing new table as written for each statement execute function count_written();
create trigger external_factors_counted after insert on external_factors
    referencing new table as written for each statement execute function count_written();

create function touch_updated_at() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end $$;
create trigger campaign_performance_touched before update on campaign_performance
    for each row execute function touch_updated_at();
create trigger shop_orders_touched before update on shop_orders_daily
    for each row execute function touch_updated_at();
