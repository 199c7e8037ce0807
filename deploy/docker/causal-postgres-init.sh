#!/bin/sh
# Runs once, on an empty data directory: the role that owns the Causal module's tables. It may read the log, since Migration
# moves the module by it, and nothing else.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$MODULE_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE causal_module LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS REPLICATION PASSWORD :'password';
ALTER DATABASE causal_module_db OWNER TO causal_module;
SQL
