"""The bare SQL behind a metrics query."""

from typing import Any

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_memory.adapters.postgres.metrics import metrics_statement
from liftos_memory.convert.metrics import query_of


def bare_statement(org: str, request: pb.QueryMetricsRequest) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that gives the rows of a query, and its parameters."""
    statement = metrics_statement(query_of(request), org=org, limit=request.page_size)
    return statement.sql, statement.values
