-- name: get_source^
select * from sources where org = :org and source = :source;

-- name: lock_source^
select * from sources where org = :org and source = :source for update;

-- name: upsert_source^
insert into sources as s (org, source, display_name, kind, definition, mapping)
values (:org, :source, :display_name, :kind, :definition, :mapping)
on conflict (org, source) do update
    set display_name = excluded.display_name, kind = excluded.kind, definition = excluded.definition,
        mapping = excluded.mapping, revision = s.revision + 1, update_time = now()
returning *;

-- name: user_of_source^
select connection from connections where org = :org and platform = :source order by connection limit 1;

-- name: delete_source!
delete from sources where org = :org and source = :source;
