"""The store that is left behind: Postgres, read and never trusted."""
