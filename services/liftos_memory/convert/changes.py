"""Changes, restatements and digests as messages, and the tokens that go on with them."""

from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.message import Message

from liftos.memory.v1 import entry_pb2, slice_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.core.errors import InvalidFieldsError, PageTokenError
from liftos_kit.core.paging import JsonValue, PageTokens
from liftos_kit.requests import digest_request
from liftos_kit.structs import timestamp
from liftos_mapping.entry_fields import ENTRY_FIELDS, FieldKind
from liftos_memory.convert.entries import ENTRY_NAME, SLICE_NAME, entry_of_row
from liftos_memory.convert.records import artifact_of_row, note_of_row
from liftos_memory.domain.records import Collection, record_name
from liftos_memory.domain.write_token import encode_write_token
from liftos_memory.ports import Row
from liftos_memory.replication_ports import BucketSum, Change, Position, RowHash
from liftos_memory.usecases.changes import BEGIN

_BEGIN_WORD: Final = "begin"
_CONTENT_FIELDS: Final = tuple(
    field.name for field in ENTRY_FIELDS if field.kind is not FieldKind.KEY
)


class ResumeTokens:
    """Positions of one feed as tokens, bound to the org and to the rest of the request."""

    def __init__(self, tokens: PageTokens, *, method: str, org: str, request: Message) -> None:
        self._tokens = tokens
        self._org = org
        self._digest = digest_request(method, request, without=("resume_token",))

    def read(self, token: str) -> Position | None:
        """Return the position of a token; None where a feed begins now.

        Raises:
            InvalidFieldsError: The token is damaged or was given for another feed.
        """
        if token == _BEGIN_WORD:
            return BEGIN
        try:
            cursor = self._tokens.decode(token, org=self._org, request_digest=self._digest)
        except PageTokenError as error:
            raise InvalidFieldsError.of(
                "resume_token",
                "is damaged or was given for another request; begin anew, or go on with the same",
                rule="resume_token",
            ) from error
        return None if cursor is None else read_position(cursor)

    def write(self, position: Position) -> str:
        """Return the token of a position."""
        return self._tokens.encode(
            write_position(position), org=self._org, request_digest=self._digest
        )


def write_position(position: Position) -> JsonValue:
    """Return a position as JSON."""
    return [position.version, position.after]


def read_position(cursor: JsonValue) -> Position:
    """Return the position that JSON from `write_position` stands for."""
    match cursor:
        case [int(version), (str() | None) as after]:
            return Position(version, after)
        case _:
            raise AssertionError("signed, so it is one of ours")


def entry_change_message(org: str, change: Change) -> pb.EntryChange:
    """Return the message of a change of an entry.

    The states before and after come without calendar days: those are of now, not of then.
    """
    return pb.EntryChange(
        entry=ENTRY_NAME.format(org=org, entry=change.id),
        kind=slice_pb2.ChangeKind.ValueType(change.kind),
        before=None if change.before is None else entry_of_row(org, change.before),
        after=None if change.after is None else entry_of_row(org, change.after),
        origin=change.origin,
        write_token=encode_write_token(org, change.version),
    )


def record_change_message(org: str, collection: Collection, change: Change) -> pb.RecordChange:
    """Return the message of a change of a record."""
    message = pb.RecordChange(
        record=record_name(org, collection, change.id),
        kind=slice_pb2.ChangeKind.ValueType(change.kind),
        origin=change.origin,
        write_token=encode_write_token(org, change.version),
    )
    match collection:
        case Collection.ARTIFACTS:
            if change.before is not None:
                message.artifact_before.CopyFrom(artifact_of_row(org, change.before))
            if change.after is not None:
                message.artifact_after.CopyFrom(artifact_of_row(org, change.after))
        case Collection.NOTES:
            if change.before is not None:
                message.note_before.CopyFrom(note_of_row(org, change.before))
            if change.after is not None:
                message.note_after.CopyFrom(note_of_row(org, change.after))
    return message


def restatement_message(org: str, change: Change) -> slice_pb2.Restatement:
    """Return the message of a restatement; without calendar days, as for any change."""
    return slice_pb2.Restatement(
        entry=ENTRY_NAME.format(org=org, entry=change.id),
        kind=slice_pb2.ChangeKind.ValueType(change.kind),
        before=None if change.before is None else entry_of_row(org, change.before),
        after=None if change.after is None else entry_of_row(org, change.after),
        changed_fields=_changed_fields(change.before, change.after),
        slice="" if change.slice is None else SLICE_NAME.format(org=org, slice=change.slice.hex),
        origin=change.origin,
        change_time=timestamp(change.commit_time),
    )


def bucket_message(bucket: BucketSum) -> pb.DigestBucket:
    """Return the message of one bucket."""
    return pb.DigestBucket(
        bucket=bucket.bucket,
        row_count=bucket.row_count,
        hash_xor=bucket.hash_xor,
        hash_sum=bucket.hash_sum,
    )


def row_digest_message(name: str, row: RowHash) -> pb.RowDigest:
    """Return the message of one row's hash."""
    return pb.RowDigest(name=name, hash=row.hash)


def _changed_fields(before: Row | None, after: Row | None) -> Sequence[str]:
    """Return paths within Entry of the fields that differ; none where the row vanished."""
    if before is None or after is None:
        return ()
    return [_PATHS[name] for name in _CONTENT_FIELDS if before[name] != after[name]]


def _paths() -> Mapping[str, str]:
    paths = {name: name for name in _CONTENT_FIELDS}
    for group, message in (
        ("metrics", entry_pb2.Metrics),
        ("grain_metrics", entry_pb2.GrainMetrics),
    ):
        fields = message.DESCRIPTOR.fields_by_name
        paths |= {name: f"{group}.{name}" for name in _CONTENT_FIELDS if name in fields}
    return paths


_PATHS: Final = _paths()
