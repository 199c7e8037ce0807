"""Records on their way to Core: written, deleted, and those that are refused told by key."""

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from liftos_kit.core.errors import StoreUnavailableError
from liftos_mapping.entry_fields import ENTRY_SCHEMA, NATURAL_KEY
from liftos_migration.copy_ports import CoreRecord, CoreWriter, EntryStream, Records, RowReader
from liftos_migration.domain.changes import Key
from liftos_migration.domain.mapping import Target
from liftos_migration.domain.projection import Projection
from liftos_migration.domain.records import (
    RECORD_ID,
    RecordInvalidError,
    artifact_of,
    note_of,
    rate_of,
)
from liftos_migration.domain.rejects import RecordError, Refused, Reject
from liftos_migration.usecases.rejecting import read_around, rejected
from liftos_migration.usecases.steps import StepFailedError

_KEY_SCHEMA: Final = pa.schema([ENTRY_SCHEMA.field(name) for name in NATURAL_KEY])
_RATE_STAYS: Final = RecordError(
    "RATE_STAYS", "The source deleted this rate; Core keeps rates. Waive it, or bring it back."
)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A batch that Core has answered for.

    Attributes:
        records: What it was given.
        refused: What it refused of them, by key.
    """

    records: Records
    refused: Mapping[Key, Sequence[RecordError]]


class Delivery:
    """Writes records of one table to Core; made by `delivering`.

    Attributes:
        projection: Of the table.

    Args:
        projection: Of the table.
        core: Where they are written to.
        stream: Of entries; None for other targets, which are answered for at once.
    """

    def __init__(
        self, projection: Projection, core: CoreWriter, stream: EntryStream | None
    ) -> None:
        self.projection = projection
        self._core = core
        self._stream = stream
        # Batches without an answer, with the place of their first row in the stream.
        self._waiting: deque[tuple[int, Records]] = deque()
        self._answered: list[Delivered] = []
        self._given = 0
        self._refused: dict[int, tuple[RecordError, ...]] = {}

    async def write(self, records: Records) -> None:
        """Send a batch; returns once it is on its way."""
        _check_keys(self.projection, records.keys)
        if self._stream is None:
            taken, refused = core_records(self.projection, records.records)
            if taken:
                told = await self._core.write_records([record for _, record in taken])
                refused += [Refused(taken[each.place][0], each.errors) for each in told]
            self._answered.append(_delivered(records, {it.place: it.errors for it in refused}, 0))
            return
        assert records.entries is not None, "entries come as such"
        await self._stream.write(records.entries)
        self._waiting.append((self._given, records))
        self._given += len(records.keys)

    async def delete(self, identities: Sequence[Mapping[str, Any]]) -> int:
        """Delete what the source no longer has; return how many records were given up."""
        if not identities:
            return 0
        if self._stream is None:
            # What is no id was never one of a record.
            named = {str(each["id"]) for each in identities}
            ids = sorted(each for each in named if RECORD_ID.fullmatch(each))
            return await self._core.delete_records(self.projection.target, ids)
        columns = [
            pa.array([each[field.name] for each in identities], field.type) for field in _KEY_SCHEMA
        ]
        await self._stream.delete(pa.table(columns, schema=_KEY_SCHEMA))
        self._given += len(identities)
        return len(identities)

    async def flush(self) -> None:
        """Wait until Core has answered for all."""
        if self._stream is not None:
            await self._stream.flush()

    def answered(self) -> Sequence[Delivered]:
        """Return the batches that were answered since this was last asked, in order.

        Raises:
            StoreUnavailableError: What was refused did not arrive; all has to be sent again.
            StepFailedError: So much was refused at once that not all of it was told.
        """
        if self._stream is not None:
            self._take_answers(self._stream)
        found, self._answered = self._answered, []
        return found

    def _take_answers(self, stream: EntryStream) -> None:
        if stream.unreported_count:
            raise StoreUnavailableError("memory", retry_after_seconds=0.1)
        self._refused |= {each.place: each.errors for each in stream.refused()}
        while self._waiting:
            first, records = self._waiting[0]
            if first + len(records.keys) > stream.acknowledged_count:
                break
            self._waiting.popleft()
            self._answered.append(_delivered(records, self._refused, first))
        if stream.refused_count > stream.told_count:
            raise StepFailedError(
                "MANY_REJECTS",
                f"Core refuses {stream.refused_count:,} records of {self.projection.table}, more "
                "than it tells at once.",
                "Preview the mapping, change it, and resume.",
            )


def _delivered(
    records: Records, refused: Mapping[int, Sequence[RecordError]], first: int
) -> Delivered:
    return Delivered(
        records,
        {key: refused[first + n] for n, key in enumerate(records.keys) if first + n in refused},
    )


@asynccontextmanager
async def delivering(
    projection: Projection, core: CoreWriter, stream: str
) -> AsyncIterator[Delivery]:
    """Yield what writes records of a table.

    Args:
        projection: Of the table.
        core: Where to.
        stream: Name of the stream, for entries.
    """
    if projection.target is not Target.ENTRIES:
        yield Delivery(projection, core, None)
        return
    async with core.entries(stream) as entries:
        yield Delivery(projection, core, entries)


def core_records(
    projection: Projection, rows: Sequence[Mapping[str, Any]]
) -> tuple[list[tuple[int, CoreRecord]], list[Refused]]:
    """Return the records of projected rows with their places, and the rows that become none."""
    taken: list[tuple[int, CoreRecord]] = []
    refused = []
    for place, row in enumerate(rows):
        try:
            taken.append((place, _record(projection, row)))
        except RecordInvalidError as error:
            refused.append(Refused(place, (RecordError(error.code, error.problem, error.field),)))
    return taken, refused


def _record(projection: Projection, row: Mapping[str, Any]) -> CoreRecord:
    match projection.target:
        case Target.ARTIFACTS:
            return artifact_of(row, projection.scope)
        case Target.NOTES:
            return note_of(row, projection.scope)
        case Target.EXCHANGE_RATES:
            return rate_of(row)
        case _:
            raise AssertionError(f"{projection.table} has no records of this kind")


def _check_keys(projection: Projection, keys: Sequence[Key]) -> None:
    if any(part is None for key in keys for part in key):
        raise StepFailedError(
            "NULL_KEY",
            f"A row of {projection.table} has a null key ({', '.join(projection.key_columns)}).",
            "Leave such rows out by row_filter, or choose other key_columns, and resume.",
        )


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of records that were brought up to date.

    Attributes:
        written: Records that the source has.
        deleted: Records that it has no more.
        rejects: Those among the written ones that were refused.
    """

    written: int
    deleted: int
    rejects: Sequence[Reject]


async def apply(
    reader: RowReader,
    connection: Any,  # noqa: ANN401 - the reader's
    projection: Projection,
    core: CoreWriter,
    *,
    keys: Sequence[Key],
    extra: Sequence[Mapping[str, Any]] = (),
    stream: str,
) -> Applied:
    """Bring some records on Core to what a snapshot has: write what is there, delete the rest.

    What cannot be read or is refused is deleted too: an older version of it must not pass for it.

    Args:
        reader: Reads the snapshot.
        connection: The snapshot.
        projection: Of the table.
        core: Where to.
        keys: Of the records, as the projection writes them.
        extra: What tells further records apart that are to be deleted.
        stream: Name of the stream, for entries.
    """
    batches, unreadable = await read_around(reader, connection, projection, keys)
    found = {key for batch in batches for key in batch.keys}
    gone = [key for key in keys if key not in found]
    rejects = list(unreadable)
    refused: dict[Key, Sequence[RecordError]] = {}
    async with delivering(projection, core, stream) as delivery:
        if projection.target is Target.EXCHANGE_RATES:
            known = {each.key for each in unreadable}
            rejects += await rejected(
                reader,
                connection,
                projection,
                {key: [_RATE_STAYS] for key in gone if key not in known},
            )
            deleted = 0
        else:
            # First, since a key that is gone can stand for a record that another key has now.
            names = await reader.identities(connection, projection, gone) if gone else []
            deleted = await delivery.delete([*names, *extra])
        for batch in batches:
            await delivery.write(batch)
        await delivery.flush()
        for answered in delivery.answered():
            refused |= answered.refused
        stale = [
            key
            for key, errors in refused.items()
            if not any(error.field in projection.identity for error in errors)
        ]
        if stale and projection.target is not Target.EXCHANGE_RATES:
            await delivery.delete(await reader.identities(connection, projection, stale))
    rejects += await rejected(reader, connection, projection, refused)
    return Applied(len(found), deleted, rejects)
