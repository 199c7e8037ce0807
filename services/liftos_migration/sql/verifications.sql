-- name: ask_verification$
insert into verifications (org, migration, tier, incremental, tables, check_kinds, repair, subject)
values (:org, :migration, :tier, :incremental, :tables::text[], :check_kinds::smallint[], :repair, :subject)
returning verification;

-- name: get_verification^
select * from verifications where org = :org and migration = :migration and verification = :verification;

-- name: next_verification^
select * from verifications where org = :org and migration = :migration and state = 1
order by create_time limit 1;

-- name: begin_verification!
update verifications set start_time = clock_timestamp(), epoch = :epoch
where org = :org and migration = :migration and verification = :verification;

-- name: end_verification!
update verifications
set state = :state, checks = :checks, accuracy = :accuracy, completeness = :completeness,
    source_position = :source_position, write_token = :write_token, error = :error,
    end_time = clock_timestamp()
where org = :org and migration = :migration and verification = :verification;

-- name: cancel_verifications!
update verifications set state = 5, end_time = clock_timestamp()
where org = :org and migration = :migration and state = 1;

-- name: list_entities
select * from verification_entities
where org = :org and migration = :migration and verification = :verification order by table_name;

-- name: insert_entities!
insert into verification_entities
select :org, :migration, :verification, table_name, source_count, matched_count, missing_count, extra_count,
    different_count, rejected_count, waived_count, merged_count, unverified, decode(source_root, 'hex'),
    decode(target_root, 'hex')
from jsonb_to_recordset(:entities) as given (
    table_name text, source_count bigint, matched_count bigint, missing_count bigint, extra_count bigint,
    different_count bigint, rejected_count bigint, waived_count bigint, merged_count bigint, unverified text,
    source_root text, target_root text);

-- name: insert_differences!
insert into differences
select :org, :migration, :verification, table_name, key, kind, target_record, fields, cause
from jsonb_to_recordset(:differences) as given (
    table_name text, key text, kind smallint, target_record text, fields jsonb, cause text)
on conflict do nothing;

-- name: count_differences$
select count(*) from differences
where org = :org and migration = :migration and verification = :verification
  and (:tables::text[] = '{}' or table_name = any(:tables::text[]));
