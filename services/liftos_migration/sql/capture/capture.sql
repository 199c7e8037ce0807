-- name: server_identity^
select (select system_identifier::text from pg_control_system()) as system,
       (select timeline_id from pg_control_checkpoint())::int as timeline;

-- name: slot^
select slot_name, plugin, wal_status, active_pid,
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint as retained_bytes,
       confirmed_flush_lsn, database
from pg_replication_slots where slot_name = :slot;

-- name: create_slot$
select lsn::text from pg_create_logical_replication_slot(:slot, 'pgoutput');

-- name: drop_slot!
select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = :slot;

-- name: slot_reader$
select active_pid from pg_replication_slots where slot_name = :slot;

-- name: advance_slot!
select pg_replication_slot_advance(:slot, (:lsn)::pg_lsn);

-- name: publications
select p.pubname as publication, p.pubviaroot as via_root, p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate as whole,
       p.puballtables as all_tables,
       coalesce(array(select r.prrelid::regclass::oid from pg_publication_rel r where r.prpubid = p.oid), '{}') as oids,
       exists (select from pg_publication_rel r where r.prpubid = p.oid and (r.prqual is not null or r.prattrs is not null))
           as restricted
from pg_publication p where p.pubname = :publication;

-- name: relations
select c.oid, format('%I.%I', n.nspname, c.relname) as object, c.relkind::text as kind, c.relreplident::text as identity,
       pg_has_role(c.relowner, 'USAGE') as owned,
       array(select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
             where i.indrelid = c.oid and (i.indisprimary and c.relreplident = 'd' or i.indisreplident)) as identity_columns,
       array(select format('%I.%I', pn.nspname, p.relname) from pg_partition_tree(c.oid) t join pg_class p on p.oid = t.relid
             join pg_namespace pn on pn.oid = p.relnamespace where t.relid <> c.oid order by 1) as partitions
from unnest((:tables)::text[]) object join pg_class c on c.oid = object::regclass join pg_namespace n on n.oid = c.relnamespace;

-- name: status^
select (select coalesce(extract(epoch from max(clock_timestamp() - xact_start)), 0)::float8
        from pg_stat_activity where xact_start is not null and pid <> pg_backend_pid() and datname = current_database()
          and backend_type = 'client backend' and application_name <> current_setting('application_name'))
           as oldest_transaction_seconds,
       (select extract(epoch from max(replay_lag))::float8 from pg_stat_replication) as replica_lag_seconds;

-- name: horizon^
select pg_current_snapshot()::text as snapshot, pg_current_wal_insert_lsn() as lsn;

-- name: flushed$
select pg_current_wal_flush_lsn();

-- name: flush!
select pg_logical_emit_message(true, 'liftos', '');

-- name: columns_of_tables
select format('%I.%I', n.nspname, c.relname) as object,
       array(select format('%s %s %s', a.attnum, quote_ident(a.attname), format_type(a.atttypid, a.atttypmod))
             from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as columns,
       (select array_agg(a.attname::text order by k.place)
        from pg_constraint p, unnest(p.conkey) with ordinality k (number, place)
        join pg_attribute a on a.attnum = k.number
        where p.conrelid = c.oid and p.contype = 'p' and a.attrelid = c.oid) as key_columns
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = any(:schemas) and c.relkind in ('r', 'p') and not c.relispartition
  and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
order by 1;
