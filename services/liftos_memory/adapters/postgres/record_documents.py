"""Documents of notes and artifacts, from their newest versions in Postgres."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import Final

from asyncpg import Record

from liftos_kit import postgres
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.document_ports import RecordDocuments
from liftos_memory.domain.documents import Document, DocumentKind
from liftos_memory.domain.record_documents import artifact_document, note_document
from liftos_memory.domain.records import Collection

_SQL: Final = postgres.load_queries("liftos_memory", "sql/documents.sql")


def documents_of_records(database: Database) -> Mapping[DocumentKind, RecordDocuments]:
    """Return what writes the documents of artifacts and of notes."""
    return {
        DocumentKind.ARTIFACT: _Documents(
            database, Collection.ARTIFACTS, _SQL.artifacts_to_write, _artifact
        ),
        DocumentKind.NOTE: _Documents(database, Collection.NOTES, _SQL.notes_to_write, _note),
    }


class _Documents:
    """See `liftos_memory.document_ports.RecordDocuments`."""

    def __init__(
        self,
        database: Database,
        collection: Collection,
        statement: Callable[..., object],
        write: Callable[[Record], Document],
    ) -> None:
        self._database = database
        self._collection = collection
        self._statement = statement
        self._write = write

    async def documents(self, org: str, record_ids: Sequence[str]) -> Sequence[Document]:
        """Return the documents of records."""
        async with self._database.read(org) as connection:
            rows = [
                row
                async for row in self._statement(  # type: ignore[attr-defined]  # made from SQL
                    connection, org=org, collection=self._collection, record_ids=list(record_ids)
                )
            ]
        # Large bodies take a while to be put into words.
        return await asyncio.to_thread(lambda: [self._write(row) for row in rows])


def _note(row: Record) -> Document:
    return note_document(
        row["record_id"],
        scope=row["scope"],
        title=row["title"],
        text=row["text"],
        labels=row["labels"],
        attributes=row["body"],
        start_date=row["create_time"].astimezone(UTC).date(),
        end_date=row["update_time"].astimezone(UTC).date(),
    )


def _artifact(row: Record) -> Document:
    return artifact_document(
        row["record_id"],
        scope=row["scope"],
        kind=row["kind"],
        display_name=row["title"],
        body=row["body"],
        start_date=row["create_time"].astimezone(UTC).date(),
        end_date=row["update_time"].astimezone(UTC).date(),
    )
