-- name: ask_rejects!
update rejects set subject = :subject, reason = :reason, update_time = clock_timestamp()
where org = :org and migration = :migration and reject = any(:rejects::uuid[]);

-- name: count_tried^
select count(*) filter (where state = 1 and subject <> '') as waiting_count,
    count(*) filter (where state = 1 and subject = '') as open_count,
    count(*) filter (where state <> 1) as resolved_count
from rejects where org = :org and migration = :migration and reject = any(:rejects::uuid[]);

-- name: waive_rejects!
update rejects set state = 3, subject = :subject, reason = :reason, update_time = clock_timestamp(),
    end_time = clock_timestamp()
where org = :org and migration = :migration and reject = any(:rejects::uuid[]);

-- name: asked_rejects
select reject, table_name from rejects
where org = :org and migration = :migration and state = 1 and subject <> '';

-- name: end_asking!
update rejects set subject = '', reason = ''
where org = :org and migration = :migration and state = 1 and reject = any(:rejects::uuid[]);
