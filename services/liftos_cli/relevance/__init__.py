"""Judged collections: read from files, put through a running service, measured."""
