-- name: due_messages
select org, insight_route, insight_message from due_insight_messages(:limit);

-- name: hush_message!
-- What nobody waits for any more: the route is switched off.
delete from insight_messages m using insight_routes r
where m.org = :org and m.insight_message = :insight_message and r.org = m.org and r.insight_route = m.insight_route
  and r.disabled;

-- name: take_message^
update insight_messages m
set attempt = m.attempt + 1, next_attempt_time = clock_timestamp() + make_interval(secs => :lease_seconds)
from insight_routes r
where m.org = :org and m.insight_message = :insight_message and m.next_attempt_time <= clock_timestamp()
  and r.org = m.org and r.insight_route = m.insight_route
returning m.attempt, m.found_ids, m.resolved_ids, r.target_kind, r.target_sealed, r.target_key_id;

-- name: drop_message!
-- One that another worker has taken meanwhile is that one's.
delete from insight_messages
where org = :org and insight_message = :insight_message and attempt = :attempt;

-- name: postpone_route!
update insight_messages set next_attempt_time = clock_timestamp() + make_interval(secs => :retry_seconds)
where org = :org and insight_route = :insight_route;

-- name: record_sending!
update insight_routes
set send_time = case when :error = '' then clock_timestamp() else send_time end, send_error = :error
where org = :org and insight_route = :insight_route;

-- name: get_route^
select * from insight_routes where org = :org and insight_route = :insight_route;

-- name: lock_route^
select * from insight_routes where org = :org and insight_route = :insight_route for update;

-- name: insert_route^
insert into insight_routes (org, insight_route, display_name, target_kind, target_sealed, target_key_id, kinds,
                          minimum_severity, platforms, disabled)
values (:org, :insight_route, :display_name, :target_kind, :target_sealed, :target_key_id, :kinds, :minimum_severity,
        :platforms, :disabled)
on conflict do nothing
returning *;

-- name: change_route^
update insight_routes
set display_name = :display_name, target_kind = :target_kind, target_sealed = :target_sealed,
    target_key_id = :target_key_id, kinds = :kinds, minimum_severity = :minimum_severity, platforms = :platforms,
    disabled = :disabled, revision = revision + 1, update_time = now()
where org = :org and insight_route = :insight_route
returning *;

-- name: delete_route!
delete from insight_routes where org = :org and insight_route = :insight_route;

-- name: list_routes
select * from insight_routes where org = :org and insight_route > :after order by insight_route limit :limit;
