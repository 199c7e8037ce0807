-- name: inventory_relations
select c.oid, format('%I.%I', n.nspname, c.relname) as object, c.relkind::text as kind,
       coalesce(pg_get_viewdef(c.oid), '') as view,
       c.relpersistence::text as persistence,
       case when c.relkind = 'p' then pg_get_partkeydef(c.oid) else '' end as partitioned_by,
       case when c.relkind = 'p'
            then (select sum(pg_total_relation_size(t.relid)) from pg_partition_tree(c.oid) t)
            else pg_total_relation_size(c.oid) end::bigint as size_bytes
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = any(:schemas) and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
  and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
order by 2;

-- name: inventory_columns
select a.attrelid, a.attname as name, format_type(a.atttypid, a.atttypmod) as type, not a.attnotnull as nullable,
       coalesce(
           case when a.attidentity <> '' then 'generated as identity (' || a.attidentity::text || ')'
                when a.attgenerated <> '' then 'generated always as ' || pg_get_expr(d.adbin, d.adrelid)
                else pg_get_expr(d.adbin, d.adrelid) end, '') as default_expression
from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = any(:oids) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum;

-- name: inventory_constraints
select c.conrelid, format('%I.%I', n.nspname, t.relname) as owner, c.conname as name, c.contype::text as kind,
       pg_get_constraintdef(c.oid) as definition,
       (select array_agg(a.attname::text order by k.place)
        from unnest(c.conkey) with ordinality k (number, place)
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number) as columns,
       case when c.confrelid <> 0 then
           (select format('%I.%I', rn.nspname, r.relname) from pg_class r join pg_namespace rn on rn.oid = r.relnamespace
            where r.oid = c.confrelid) end as refers_to
from pg_constraint c join pg_class t on t.oid = c.conrelid join pg_namespace n on n.oid = t.relnamespace
where c.conrelid = any(:oids) and c.contype in ('p', 'u', 'f', 'c', 'x')
order by 2, 3;

-- name: inventory_indexes
select format('%I.%I', n.nspname, i.relname) as object, pg_get_indexdef(x.indexrelid) as definition,
       pg_relation_size(x.indexrelid) as size_bytes, format('%I.%I', n.nspname, t.relname) as owner
from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
join pg_namespace n on n.oid = t.relnamespace
where x.indrelid = any(:oids) and not exists (select from pg_constraint c where c.conindid = x.indexrelid)
order by 1;

-- name: inventory_sequences
select format('%I.%I', s.schemaname, s.sequencename) as object,
       format('%s from %s to %s by %s', s.data_type, s.min_value, s.max_value, s.increment_by) as definition,
       (select format('%I.%I', n.nspname, t.relname) from pg_depend d join pg_class t on t.oid = d.refobjid
        join pg_namespace n on n.oid = t.relnamespace
        where d.objid = format('%I.%I', s.schemaname, s.sequencename)::regclass and d.deptype in ('a', 'i')
        limit 1) as owner
from pg_sequences s where s.schemaname = any(:schemas) order by 1;

-- name: inventory_functions
select format('%I.%I', n.nspname, p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' as object,
       pg_get_functiondef(p.oid) as definition
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = any(:schemas) and p.prokind in ('f', 'p')
  and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
order by 1;

-- name: inventory_triggers
select format('%I.%I', n.nspname, t.relname) as owner, g.tgname as name, pg_get_triggerdef(g.oid) as definition
from pg_trigger g join pg_class t on t.oid = g.tgrelid join pg_namespace n on n.oid = t.relnamespace
join pg_proc f on f.oid = g.tgfoid
-- Those that a migration made itself are no part of the source.
where not g.tgisinternal and g.tgrelid = any(:oids) and f.pronamespace <> coalesce(to_regnamespace('liftos_migration'), 0)
order by 1, 2;

-- name: inventory_view_needs
select distinct r.ev_class as view, format('%I.%I', n.nspname, t.relname) as needs
from pg_rewrite r join pg_depend d on d.objid = r.oid and d.refclassid = 'pg_class'::regclass
join pg_class t on t.oid = d.refobjid join pg_namespace n on n.oid = t.relnamespace
where r.ev_class = any(:oids) and t.oid <> r.ev_class
order by 2;

-- name: source_facts^
select current_setting('server_version_num')::int as server_version, current_user::text as role,
       current_database()::text as database, current_setting('server_encoding') as encoding,
       current_setting('wal_level') as wal_level,
       (select rolreplication or rolsuper from pg_roles where rolname = current_user) as can_replicate,
       has_database_privilege(current_database(), 'CREATE') as can_create_schema,
       current_setting('max_replication_slots')::int - (select count(*) from pg_replication_slots)::int as slots_free,
       current_setting('max_wal_senders')::int - (select count(*) from pg_stat_replication)::int as senders_free,
       (select coalesce(extract(epoch from max(clock_timestamp() - xact_start)), 0)::float8
        from pg_stat_activity where xact_start is not null and pid <> pg_backend_pid()
          and backend_type = 'client backend') as oldest_transaction_seconds,
       (select count(*) from pg_prepared_xacts where database = current_database())::int as prepared_transactions,
       (select count(*) from pg_largeobject_metadata)::int as large_objects,
       pg_is_in_recovery() as is_standby, clock_timestamp() as source_time;

-- name: table_privileges
select object, has_table_privilege(object, 'SELECT') as selectable, has_table_privilege(object, 'TRIGGER') as triggerable,
       has_table_privilege(object, 'INSERT, UPDATE, DELETE') and has_table_privilege(object, 'UPDATE')
           and has_table_privilege(object, 'DELETE') and has_table_privilege(object, 'INSERT') as writable,
       c.relowner::regrole::text as owner, pg_has_role(c.relowner, 'USAGE') as owned,
       case c.relreplident when 'd' then 'default' when 'f' then 'full' when 'i' then 'index' else 'nothing' end as identity
from unnest((:tables)::text[]) object join pg_class c on c.oid = object::regclass;
