"""Samples of documents, from Postgres."""

from collections.abc import Collection, Sequence
from typing import Final

from liftos_kit import postgres
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.domain.documents import DocumentKind

_SQL: Final = postgres.load_queries("liftos_memory", "sql/evaluation.sql")
_KINDS: Final = tuple(DocumentKind)


class PostgresDocumentSamples:
    """Draws documents; see `liftos_memory.evaluation_ports.DocumentSamples`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def draw(
        self, org: str, kinds: Collection[DocumentKind], *, seed: int, limit: int
    ) -> Sequence[str]:
        """Return ids of some documents."""
        async with self._database.read(org) as connection:
            return [
                row["document_id"]
                async for row in _SQL.draw_documents(
                    connection,
                    org=org,
                    kinds=[_KINDS.index(kind) + 1 for kind in kinds],
                    seed=str(seed),
                    limit=limit,
                )
            ]
