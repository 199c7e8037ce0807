-- name: dump_facts^
select now() as create_time, current_database()::text as database,
       current_setting('server_version_num')::int as server_version,
       (select system_identifier::text from pg_control_system()) as system_identifier,
       (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end)::text as lsn,
       pg_export_snapshot() as snapshot,
       (select datdba::regrole::text from pg_database where datname = current_database()) as owner;

-- name: dump_tables
-- Roots alone: the rows of partitions are theirs.
select format('%I.%I', n.nspname, c.relname) as table, c.relkind = 'p' as is_partitioned,
       (select coalesce(sum(pg_table_size(p.relid)), 0) from pg_partition_tree(c.oid) p)::bigint as partitions_bytes,
       pg_table_size(c.oid) as size_bytes
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
  and n.nspname not like 'pg\_%' and n.nspname <> 'information_schema'
  and (cardinality((:schemas)::text[]) = 0 or n.nspname = any((:schemas)::text[]))
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by 1;

-- name: dump_roles
-- Who owns something in this database, has rights in it, or is named by a policy.
select r.rolname as role,
       concat_ws(' ', case when r.rolcanlogin then 'login' else 'nologin' end,
                      case when r.rolsuper then 'superuser' else 'nosuperuser' end,
                      case when r.rolbypassrls then 'bypassrls' else 'nobypassrls' end,
                      case when r.rolcreatedb then 'createdb' else 'nocreatedb' end,
                      case when r.rolcreaterole then 'createrole' else 'nocreaterole' end,
                      case when r.rolreplication then 'replication' else 'noreplication' end) as attributes
from pg_roles r
where r.rolname not like 'pg\_%' and r.oid in (
    select d.refobjid from pg_shdepend d
    where d.refclassid = 'pg_authid'::regclass
      and d.dbid in (0, (select oid from pg_database where datname = current_database())))
order by 1;

-- name: dump_data_count$
-- Tables that have rows of their own.
select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname not like 'pg\_%' and n.nspname <> 'information_schema'
  and (cardinality((:schemas)::text[]) = 0 or n.nspname = any((:schemas)::text[]));
