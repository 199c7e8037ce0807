-- name: pending
select org, last_version, enqueued_version, waiting from pending_orgs();

-- name: orgs_with_documents
select org from orgs_with_documents();

-- name: upsert_documents*!
insert into documents
    (org, document_id, kind, platform, level, account_id, campaign_id, ad_group_id, ad_id, flow_id,
     message_id, series_id, week_start, start_date, end_date, title, text, lexical_text, content_hash,
     quality_score, scope, record, update_time)
values (:org, :document_id, :kind, :platform, :level, :account_id, :campaign_id, :ad_group_id, :ad_id,
        :flow_id, :message_id, :series_id, :week_start, :start_date, :end_date, :title, :text, :lexical_text,
        :content_hash, :quality_score, :scope, :record, now())
on conflict (org, document_id) do update
set start_date = excluded.start_date, end_date = excluded.end_date, title = excluded.title,
    text = excluded.text, lexical_text = excluded.lexical_text, content_hash = excluded.content_hash,
    quality_score = excluded.quality_score, scope = excluded.scope, update_time = excluded.update_time;

-- name: delete_documents!
with objects_gone as (delete from objects where org = :org and object_id = any(:document_ids))
delete from documents where org = :org and document_id = any(:document_ids);

-- name: waits$
select exists (select from outbox where org = :org);

-- name: fetch_documents
select * from documents where org = :org and document_id = any(:document_ids);

-- name: page_documents
select * from documents where org = :org and document_id > :after order by document_id limit :limit;

-- name: load_vectors
select text_hash, vector from embeddings
where model_id = :model_id and text_hash = any(:text_hashes);

-- name: keep_vectors*!
insert into embeddings (model_id, text_hash, vector) values (:model_id, :text_hash, :vector)
on conflict do nothing;

-- name: advance!
insert into index_positions as p (org, version, update_time) values (:org, :version, now())
on conflict (org) do update
set version = greatest(p.version, excluded.version), update_time = excluded.update_time;

-- name: indexed_version$
-- least() passes over what is null.
select least(coalesce((select version from index_positions where org = :org), 0),
             (select min(first_version) - 1 from outbox where org = :org),
             (select min(first_version) - 1 from record_outbox where org = :org));

-- name: raise_index_revision!
insert into index_revisions as r (org, revision) values (:org, 1)
on conflict (org) do update set revision = r.revision + 1;

-- name: origin_of_work$
-- The trace that the oldest waiting change came from.
select c.trace_parent
from (
    select org, first_version from outbox where org = :org
    union all
    select org, first_version from record_outbox where org = :org
    order by first_version limit 1
) b join commits c on c.org = b.org and c.version = b.first_version;

-- name: notes_to_write
select record_id, scope, title, text, labels, body, create_time, update_time
from records where org = :org and collection = :collection and record_id = any(:record_ids);

-- name: artifacts_to_write
select record_id, scope, kind, title, body, create_time, update_time
from records where org = :org and collection = :collection and record_id = any(:record_ids);
