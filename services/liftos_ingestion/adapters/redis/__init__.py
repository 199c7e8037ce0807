"""Ingestion's ports on Redis."""
