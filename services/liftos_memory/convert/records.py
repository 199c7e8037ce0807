"""Artifacts and notes, both ways."""

from collections.abc import Sequence
from typing import Final

from liftos.memory.v1 import artifact_pb2
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.names import Pattern
from liftos_kit.structs import plain, struct_of, timestamp
from liftos_memory.domain.records import (
    MAXIMUM_ATTRIBUTES_BYTES,
    MAXIMUM_BODY_BYTES,
    Collection,
    Record,
    check_body,
    check_table,
    check_unique,
    record_name,
)
from liftos_memory.ports import Row

ARTIFACT_NAME: Final = Pattern("orgs/{org}/artifacts/{artifact}")
NOTE_NAME: Final = Pattern("orgs/{org}/notes/{note}")


def records_of_artifacts(artifacts: Sequence[artifact_pb2.Artifact]) -> Sequence[Record]:
    """Return the records of a batch; output-only fields are left alone.

    Raises:
        InvalidFieldsError: Artifacts break rules; lists every one.
    """
    records = [
        Record(
            record_id=ARTIFACT_NAME.parse(artifact.name)["artifact"],
            kind=artifact.kind,
            scope=artifact.scope,
            title=artifact.display_name,
            body=plain(artifact.body) if artifact.HasField("body") else None,
            content=artifact.content,
            content_type=artifact.content_type,
            etag=artifact.etag,
        )
        for artifact in artifacts
    ]
    _check(records, field="artifacts", body="body", maximum_bytes=MAXIMUM_BODY_BYTES)
    return records


def records_of_notes(notes: Sequence[artifact_pb2.Note]) -> Sequence[Record]:
    """Return the records of a batch; output-only fields are left alone.

    Raises:
        InvalidFieldsError: Notes break rules; lists every one.
    """
    records = [
        Record(
            record_id=NOTE_NAME.parse(note.name)["note"],
            scope=note.scope,
            title=note.title,
            body=plain(note.attributes) if note.HasField("attributes") else None,
            text=note.text,
            labels=tuple(note.labels),
            etag=note.etag,
        )
        for note in notes
    ]
    _check(records, field="notes", body="attributes", maximum_bytes=MAXIMUM_ATTRIBUTES_BYTES)
    return records


def record_ids_of(collection: Collection, names: Sequence[str]) -> Sequence[str]:
    """Return the ids of records of a collection.

    Raises:
        InvalidFieldsError: Names are of another collection; lists every one.
    """
    word = collection.name.lower()
    violations = [
        FieldViolation(f"names[{index}]", f"is not one of {word}", "collection")
        for index, name in enumerate(names)
        if name.split("/")[2] != word
    ]
    if violations:
        raise InvalidFieldsError(violations)
    return [name.rsplit("/", 1)[1] for name in names]


def _check(records: Sequence[Record], *, field: str, body: str, maximum_bytes: int) -> None:
    violations = check_unique([record.record_id for record in records], field=field)
    for index, record in enumerate(records):
        violations += check_body(
            record.body, field=f"{field}[{index}].{body}", maximum_bytes=maximum_bytes
        )
        if record.kind == artifact_pb2.ARTIFACT_KIND_TABLE:
            violations += check_table(record.content, field=f"{field}[{index}].content")
    if violations:
        raise InvalidFieldsError(violations)


def artifact_of_row(org: str, row: Row) -> artifact_pb2.Artifact:
    """Return the message of a stored artifact, with its content where the row has it."""
    return artifact_pb2.Artifact(
        name=record_name(org, Collection.ARTIFACTS, row["record_id"]),
        kind=row["kind"],
        scope=row["scope"],
        display_name=row["title"],
        body=None if row["body"] is None else struct_of(row["body"]),
        content=row.get("content") or b"",
        content_type=row["content_type"],
        sha256=row["sha256"].hex(),
        version=row["version"],
        origin=row["origin"],
        create_time=timestamp(row["create_time"]),
        update_time=timestamp(row["update_time"]),
        etag=f"{row['tx']:x}",
    )


def note_of_row(org: str, row: Row) -> artifact_pb2.Note:
    """Return the message of a stored note."""
    return artifact_pb2.Note(
        name=record_name(org, Collection.NOTES, row["record_id"]),
        scope=row["scope"],
        title=row["title"],
        text=row["text"],
        labels=row["labels"],
        attributes=None if row["body"] is None else struct_of(row["body"]),
        version=row["version"],
        origin=row["origin"],
        create_time=timestamp(row["create_time"]),
        update_time=timestamp(row["update_time"]),
        etag=f"{row['tx']:x}",
    )
