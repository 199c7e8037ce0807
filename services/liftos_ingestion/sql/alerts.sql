-- name: acknowledge_alert^
update alerts set state = 2, acknowledge_subject = :subject, acknowledge_comment = :comment
where org = :org and alert = :alert and state in (1, 2)
returning alert;

-- name: try_watch^
-- One worker looks after an org at a time.
select pg_try_advisory_xact_lock(hashtextextended('watch ' || :org, 0)) as held;

-- name: watched_orgs
select org from watched_orgs();

-- name: upsert_alert^
-- What of an alert is told anew: that it opened, or is more severe than before.
with before as (
    select severity from alerts where org = :org and kind = :kind and subject = :subject and state in (1, 2)
)
insert into alerts as a (org, alert, kind, subject, severity, state, summary, remedy, platform, connection,
                         account_id, run, evidence)
values (:org, gen_random_uuid(), :kind, :subject, :severity, 1, :summary, :remedy, :platform, :connection,
        :account_id, :run, :evidence)
on conflict (org, kind, subject) where state in (1, 2) do update
    set severity = greatest(a.severity, excluded.severity), summary = excluded.summary, remedy = excluded.remedy,
        platform = excluded.platform, connection = excluded.connection, account_id = excluded.account_id,
        run = coalesce(excluded.run, a.run), evidence = excluded.evidence,
        last_time = case when a.evidence = excluded.evidence then a.last_time else clock_timestamp() end,
        occurrence_count = a.occurrence_count + case when a.evidence = excluded.evidence then 0 else 1 end
returning a.alert, a.state, a.severity > coalesce((select severity from before), 0) as louder;

-- name: write_messages!
insert into alert_messages as m (org, alert, alert_route, resolved)
select r.org, a.alert, r.alert_route, false
from alerts a
join alert_routes r on r.org = a.org and not r.disabled and a.severity >= r.minimum_severity
    and (r.kinds = '{}' or a.kind = any(r.kinds)) and (r.platforms = '{}' or a.platform = any(r.platforms))
where a.org = :org and a.alert = :alert
on conflict (org, alert, alert_route, resolved) do update set attempt = 0, next_attempt_time = clock_timestamp();

-- name: resolve_alerts
update alerts a set state = 3, resolve_time = clock_timestamp()
where a.org = :org and a.state in (1, 2) and a.kind = any(:kinds::smallint[])
  and not exists (select from unnest(:held_kinds::smallint[], :held_subjects::text[]) as held(kind, subject)
                  where held.kind = a.kind and held.subject = a.subject)
returning a.alert;

-- name: write_last_messages!
-- Who may know of an alert is told of its end; what nobody was told of need not be told any more.
with opening as (
    delete from alert_messages where org = :org and alert = any(:alerts::uuid[]) and not resolved
    returning alert, alert_route, told
)
insert into alert_messages (org, alert, alert_route, resolved)
select :org, alert, alert_route, true from opening where told;

-- name: hush_message!
-- What nobody waits for any more: the route is switched off, or a person has taken the alert up.
update alert_messages m set next_attempt_time = null
from alerts a, alert_routes r
where m.org = :org and m.alert_message = :message and m.next_attempt_time <= clock_timestamp()
  and a.org = m.org and a.alert = m.alert and r.org = m.org and r.alert_route = m.alert_route
  and (r.disabled or (not m.resolved and a.state <> 1));

-- name: tell_alert^
with told as (
    update alert_messages set told = true where org = :org and alert_message = :message
    returning org, alert, resolved
)
select t.resolved, a.* from told t join alerts a on a.org = t.org and a.alert = t.alert;

-- name: message_sent!
-- One that another worker has taken meanwhile, or that says more by now, stays on its way.
update alert_messages set next_attempt_time = null
where org = :org and alert_message = :message and attempt = :attempt;

-- name: drop_told_messages!
delete from alert_messages
where org = :org and alert_message = :message and resolved and next_attempt_time is null;
