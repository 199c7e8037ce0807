"""The module's own Postgres."""
