-- Words of names, to which slips of a query are corrected.

-- Words of an object's own name, folded, of four letters and more.
alter table objects add column name_words text[] not null default '{}';

-- What all objects of an org are called by, with how many have each word; follows as percentiles do.
create table name_words (
    org text collate "C" not null,
    word text collate "C" not null,
    object_count bigint not null,
    primary key (org, word)
);
alter table name_words enable row level security;
create policy own_org on name_words using (org = (select current_setting('liftos.org', true)));
grant select, insert, update, delete on name_words to liftos_app;

-- Objects that were described before get their words with their profiles.
insert into outbox (org, platform, level, account_id, campaign_id, ad_group_id, ad_id, flow_id, message_id,
                    series_id, week, first_version, last_version)
select d.org, d.platform, d.level, d.account_id, d.campaign_id, d.ad_group_id, d.ad_id, d.flow_id,
       d.message_id, d.series_id, date_trunc('week', d.end_date)::date, p.version + 1, p.version
from documents d join index_positions p on p.org = d.org
where d.kind = 1
on conflict do nothing;
