-- name: insert_migration^
insert into migrations (org, migration, display_name, module, source, mapping, capture_mode, gates, cut_over_gates,
                        budgets, throttle, triggers, cut_over_windows, pace, rehearsal, plan_sha256)
values (:org, :migration, :display_name, :module, :source, :mapping, :capture_mode, :gates, :cut_over_gates,
        :budgets, :throttle, :triggers, :cut_over_windows, :pace, :rehearsal, :plan_sha256)
on conflict do nothing
returning *, '' as lease_holder, '' as snapshot_plan_sha256;

-- name: get_migration^
select m.*,
       case when m.lease_end_time >= clock_timestamp() then m.lease_owner else '' end as lease_holder,
       coalesce((select s.plan_sha256 from snapshots s
                 where s.org = m.org and s.migration = m.migration and s.restore_seconds is not null
                 order by s.create_time desc limit 1), '') as snapshot_plan_sha256
from migrations m where m.org = :org and m.migration = :migration;

-- name: lock_migration^
select 1 from migrations where org = :org and migration = :migration for no key update;

-- name: update_migration!
update migrations
set display_name = :display_name, module = :module, source = :source, mapping = :mapping,
    capture_mode = :capture_mode, gates = :gates, cut_over_gates = :cut_over_gates, budgets = :budgets,
    throttle = :throttle, triggers = :triggers, cut_over_windows = :cut_over_windows, pace = :pace,
    rehearsal = :rehearsal, plan_sha256 = :plan_sha256, revision = revision + 1, update_time = clock_timestamp()
where org = :org and migration = :migration;

-- name: delete_migration!
delete from migrations where org = :org and migration = :migration;

-- name: place_migration!
update migrations
set state = :state, resume_state = :resume_state, state_reason = :state_reason, generation = :generation,
    rollback_level = :rollback_level, rollback_end = :rollback_end, purge = :purge, head_link = :head_link,
    head_sha256 = :head_sha256, revision = revision + 1, update_time = clock_timestamp()
where org = :org and migration = :migration;

-- name: move_head!
update migrations set head_link = :head_link, head_sha256 = :head_sha256
where org = :org and migration = :migration;

-- name: get_head^
select head_link, head_sha256, state, generation from migrations where org = :org and migration = :migration;

-- name: wake_workers$
select pg_notify('liftos_migration', :org || '/' || :migration);

-- name: due_migrations
select org, migration from due_migrations(:limit);

-- name: take_migration$
select take_migration(:org, :migration, :owner, make_interval(secs => :seconds));

-- name: renew_migration^
select state, generation, revision
from renew_migration(:org, :migration, :epoch, make_interval(secs => :seconds), :progress);

-- name: release_migration$
select release_migration(:org, :migration, :epoch);

-- name: tell_reason!
update migrations set state_reason = :state_reason, revision = revision + 1, update_time = clock_timestamp()
where org = :org and migration = :migration and state_reason <> :state_reason;

-- name: newest_steps
select distinct on (phase, title) * from steps
where org = :org and migration = :migration
order by phase, title, generation desc, attempt desc;

-- name: step_under_way^
select * from steps where org = :org and migration = :migration and state = 2;

-- name: insert_step^
insert into steps (org, migration, sequence, phase, title, generation, attempt, state, epoch, snapshot, input)
select :org, :migration,
       1 + coalesce((select max(sequence) from steps where org = :org and migration = :migration), 0),
       :phase, :title, :generation,
       1 + coalesce((select max(attempt) from steps where org = :org and migration = :migration and phase = :phase
                     and title = :title and generation = :generation), 0),
       2, :epoch,
       coalesce((select snapshot from snapshots where org = :org and migration = :migration and :phase::smallint >= 5
                 and restore_seconds is not null order by create_time desc limit 1), ''),
       :input
returning *;

-- name: moment$
select clock_timestamp();

-- name: end_step^
update steps
set state = :state, output = :output, error = :error, end_time = :end_time, link = :link,
    previous_sha256 = :previous_sha256, sha256 = :sha256
where org = :org and migration = :migration and sequence = :sequence and state = 2
returning *;

-- name: get_step^
select * from steps where org = :org and migration = :migration and sequence = :sequence;

-- name: next_decision$
select 1 + coalesce(max(sequence), 0) from decisions where org = :org and migration = :migration;

-- name: insert_decision!
insert into decisions (org, migration, sequence, action, subject, reason, readings, inputs, state_before, state_after,
                       dry_run, link, previous_sha256, sha256, create_time)
values (:org, :migration, :sequence, :action, :subject, :reason, :readings, :inputs, :state_before, :state_after,
        :dry_run, :link, :previous_sha256, :sha256, :create_time);

-- name: linked_steps
select * from steps where org = :org and migration = :migration and link > :after and link <= :up_to order by link;

-- name: linked_decisions
select * from decisions where org = :org and migration = :migration and link > :after and link <= :up_to order by link;

-- name: last_link$
select greatest(coalesce((select max(link) from steps where org = :org and migration = :migration), 0),
                coalesce((select max(link) from decisions where org = :org and migration = :migration), 0));
