"""Dumps of a Postgres database that count only once they were restored and compared."""
