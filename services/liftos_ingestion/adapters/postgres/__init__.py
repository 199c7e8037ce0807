"""Ingestion's ports on Postgres."""
