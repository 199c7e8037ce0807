"""Migration's own tables in Core's Postgres."""
