"""Memory's ports on Postgres."""
