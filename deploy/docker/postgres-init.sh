#!/bin/sh
# Runs once, on an empty data directory: the role that the services log in as, held by row-level security, and the one that
# restores snapshots of sources into databases of its own. The schema and its grants come from `migrate` of each service.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$APP_PASSWORD" --set restore_password="$RESTORE_PASSWORD" \
  --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE liftos_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'password';
CREATE ROLE liftos_restore LOGIN NOSUPERUSER CREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'restore_password';
SQL
