-- name: upsert_records!
-- A record that was deleted goes on with the next number, so that no version has two contents.
insert into records as r
    (org, collection, record_id, version, kind, scope, title, text, labels, body, content, content_type,
     sha256, origin, create_time, update_time, tx)
select :org, :collection, g.record_id,
       1 + coalesce((
           select max(h.version) from record_history h
           where h.org = :org and h.collection = :collection and h.record_id = g.record_id), 0),
       g.kind, g.scope, g.title, g.text, array(select jsonb_array_elements_text(g.labels::jsonb)), g.body,
       g.content, g.content_type, g.sha256, :origin, now(), now(), :tx
from unnest((:record_ids)::text[], (:kinds)::smallint[], (:scopes)::text[], (:titles)::text[],
            (:texts)::text[], (:labels)::text[], (:bodies)::jsonb[], (:contents)::bytea[],
            (:content_types)::text[], (:digests)::bytea[])
    as g (record_id, kind, scope, title, text, labels, body, content, content_type, sha256)
order by g.record_id
on conflict (org, collection, record_id) do update
set version = r.version + 1, kind = excluded.kind, scope = excluded.scope, title = excluded.title,
    text = excluded.text, labels = excluded.labels, body = excluded.body, content = excluded.content,
    content_type = excluded.content_type, sha256 = excluded.sha256, origin = excluded.origin,
    update_time = excluded.update_time, tx = excluded.tx
where (r.kind, r.scope, r.title, r.labels, r.content_type, r.sha256)
    is distinct from (excluded.kind, excluded.scope, excluded.title, excluded.labels,
                      excluded.content_type, excluded.sha256)
    and r.record_id <> all(:new_ids);

-- name: lock_records
select record_id, tx from records
where org = :org and collection = :collection and record_id = any(:record_ids) order by record_id for update;

-- name: records_of_others
select record_id from records
where org = :org and collection = :collection and record_id = any(:record_ids) and tx <> :tx;

-- name: keep_checkpoint!
insert into record_checkpoints (org, scope, checkpoint, update_time)
values (:org, :scope, :checkpoint, now())
on conflict (org, scope) do update
    set checkpoint = excluded.checkpoint, update_time = excluded.update_time;

-- name: delete_records^
-- Both parts see the state before the deletion.
with gone as (
    delete from records
    where org = :org and collection = :collection and record_id = any((:record_ids)::text[])
      and (:origin = '' or origin = :origin)
    returning 1
)
select (select count(*) from gone) as deleted,
       (select count(*) from records
        where org = :org and collection = :collection and record_id = any((:record_ids)::text[])
          and :origin <> '' and origin <> :origin) as kept;

-- name: purge_records!
delete from records where org = :org and collection = :collection and origin = :origin;

-- name: count_of_origin$
select count(*) from records where org = :org and collection = :collection and origin = :origin;

-- name: sample_of_origin
select record_id from records where org = :org and collection = :collection and origin = :origin
order by record_id limit :limit;

-- name: newest_record^
select record_id, version, kind, scope, title, text, labels, body, content, content_type, sha256, origin,
       create_time, update_time, tx
from records where org = :org and collection = :collection and record_id = :record_id;

-- name: record_version^
select record_id, version, kind, scope, title, text, labels, body, content, content_type, sha256, origin,
       create_time, update_time, tx
from records
where org = :org and collection = :collection and record_id = :record_id and version = :version
union all
select record_id, version, kind, scope, title, text, labels, body, content, content_type, sha256, origin,
       create_time, update_time, tx
from record_history
where org = :org and collection = :collection and record_id = :record_id and version = :version;
