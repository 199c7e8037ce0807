-- name: due_messages
select org, {noun}_route as route, {noun}_message as message from due_{noun}_messages(:limit);

-- name: hush_message!
-- What nobody waits for any more: the route is switched off.
delete from {noun}_messages m using {noun}_routes r
where m.org = :org and m.{noun}_message = :message and r.org = m.org and r.{noun}_route = m.{noun}_route
  and r.disabled;

-- name: take_message^
update {noun}_messages m
set attempt = m.attempt + 1, next_attempt_time = clock_timestamp() + make_interval(secs => :lease_seconds)
from {noun}_routes r
where m.org = :org and m.{noun}_message = :message and m.next_attempt_time <= clock_timestamp()
  and r.org = m.org and r.{noun}_route = m.{noun}_route
returning m.*, r.target_kind, r.target_sealed, r.target_key_id;

-- name: drop_message!
-- One that another worker has taken meanwhile is that one's.
delete from {noun}_messages where org = :org and {noun}_message = :message and attempt = :attempt;

-- name: postpone_message!
update {noun}_messages set next_attempt_time = clock_timestamp() + make_interval(secs => :retry_seconds)
where org = :org and {noun}_message = :message and attempt = :attempt;

-- name: pause_route!
update {noun}_messages
set next_attempt_time = greatest(next_attempt_time, clock_timestamp() + make_interval(secs => :retry_seconds))
where org = :org and {noun}_route = :route and next_attempt_time is not null;

-- name: record_sending!
update {noun}_routes
set send_time = case when :error = '' then clock_timestamp() else send_time end, send_error = :error
where org = :org and {noun}_route = :route;

-- name: get_route^
select r.*, r.{noun}_route as route from {noun}_routes r where r.org = :org and r.{noun}_route = :route;

-- name: lock_route^
select r.*, r.{noun}_route as route from {noun}_routes r where r.org = :org and r.{noun}_route = :route for update;

-- name: insert_route^
insert into {noun}_routes as r (org, {noun}_route, display_name, target_kind, target_sealed, target_key_id, kinds,
                                minimum_severity, platforms, disabled)
values (:org, :route, :display_name, :target_kind, :target_sealed, :target_key_id, :kinds, :minimum_severity,
        :platforms, :disabled)
on conflict do nothing
returning r.*, r.{noun}_route as route;

-- name: change_route^
update {noun}_routes r
set display_name = :display_name, target_kind = :target_kind, target_sealed = :target_sealed,
    target_key_id = :target_key_id, kinds = :kinds, minimum_severity = :minimum_severity, platforms = :platforms,
    disabled = :disabled, revision = revision + 1, update_time = now()
where r.org = :org and r.{noun}_route = :route
returning r.*, r.{noun}_route as route;

-- name: delete_route!
delete from {noun}_routes where org = :org and {noun}_route = :route;

-- name: list_routes
-- One more than the limit is looked at; what is measured is what an answer has of each.
select * from (
    select page.*, count(*) over () as found_count, row_number() over (order by page.route) as place,
           sum(200 + octet_length(row(page.route, page.display_name, page.kinds, page.platforms, page.target_kind,
                                      page.target_key_id, page.send_error)::text)) over (order by page.route) as page_bytes
    from (
        select r.*, r.{noun}_route as route from {noun}_routes r
        where r.org = :org and r.{noun}_route > :after order by r.{noun}_route limit :limit + 1
    ) page
) measured
where place = 1 or (place <= :limit and page_bytes <= :maximum_bytes) order by route;
