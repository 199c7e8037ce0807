"""Writes the rows of a file over one stream that can be taken up again.

The stream is named after the file's contents and what is done with them. Its checkpoint, which the
server keeps in the transaction of each batch, says how many batches are in: an import that was cut
off goes on there. One that was finished begins again, and finds everything unchanged.
"""

import asyncio
import hashlib
import json
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from liftos.memory.v1.entry_pb2 import Entry
from liftos_cli.importing.entry_batches import ColumnPlan, make_entry_batch
from liftos_cli.importing.refusals import Refusals
from liftos_cli.importing.row_files import RefusedRow, RowFile, read_batches, read_raw_batches
from liftos_client.memory import MemoryClient
from liftos_client.write_result import WriteResult

if TYPE_CHECKING:
    import pyarrow as pa

_Batch = TypeVar("_Batch")

_BATCH_ROWS: Final = 20_000
_RAW_ROWS: Final = 500
_EXACT_JSON_INTEGERS: Final = range(-(2**53), 2**53 + 1)

ProgressReport = Callable[[float, int], None]
"""Called with the share of the file that was read, and the rows that are committed."""


@dataclass(frozen=True, slots=True)
class ImportPosition:
    """How far an import has come; the checkpoint of its stream.

    Attributes:
        batch_count: Batches that are in.
        row_number: The last of their rows.
        complete: Whether that was the whole file.
    """

    batch_count: int = 0
    row_number: int = 0
    complete: bool = False

    @classmethod
    def from_checkpoint(cls, checkpoint: bytes) -> Self:
        """Return the position where to go on; the beginning for a finished or a new import."""
        stored = cls(**json.loads(checkpoint)) if checkpoint else cls()
        return cls() if stored.complete else stored

    def to_checkpoint(self) -> bytes:
        """Return the bytes to keep."""
        return json.dumps(
            {
                "batch_count": self.batch_count,
                "row_number": self.row_number,
                "complete": self.complete,
            }
        ).encode()


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        file: As the user named it.
        origin: What the rows were written as.
        stream_id: Name of the stream.
        upserted_count: Entries that are new or changed.
        unchanged_count: Entries that were there with the same contents.
        refused_count: Rows that were refused.
        unreported_count: Rows written while the connection was lost, about which nothing is known.
        resumed_row_number: The last row that an earlier, unfinished import had written.
        unmapped_fields: Fields of raw rows that no entry field holds.
        write_token: Covers all of it.
    """

    file: str
    origin: str
    stream_id: str
    upserted_count: int
    unchanged_count: int
    refused_count: int
    unreported_count: int
    resumed_row_number: int
    unmapped_fields: tuple[str, ...]
    write_token: str


@dataclass(frozen=True, slots=True)
class _ReadyBatch:
    """Rows to send; none where all were refused."""

    rows: "pa.Table | Sequence[Entry]"
    row_numbers: Sequence[int]
    position: ImportPosition
    fraction: float


@dataclass(frozen=True, slots=True)
class _SentBatch:
    """Rows on their way; `first_row` is their place among all rows sent."""

    first_row: int
    row_numbers: Sequence[int]
    fraction: float

    @property
    def end_row(self) -> int:
        return self.first_row + len(self.row_numbers)


class FileImport:
    """One import of one file.

    Args:
        memory: Where to.
        file: What.
        plan: The columns; for raw rows its constants are what the rows do not say themselves.
        raw_platform: Whose raw rows these are; None for rows with an entry's columns.
        origin: What writes.
        refusals: Takes refused rows.
        on_progress: Hears how far it is.
    """

    def __init__(
        self,
        memory: MemoryClient,
        file: RowFile,
        *,
        plan: ColumnPlan,
        raw_platform: str | None,
        origin: str,
        refusals: Refusals,
        on_progress: ProgressReport,
    ) -> None:
        self._memory = memory
        self._file = file
        self._plan = plan
        self._raw_platform = raw_platform
        self._origin = origin
        self._refusals = refusals
        self._on_progress = on_progress
        self._sent: list[_SentBatch] = []
        self._sent_count = 0
        self._fraction = 0.0
        self._unmapped: dict[str, None] = {}

    async def run(self) -> ImportReport:
        """Write all rows.

        Raises:
            CommandError: The file cannot be read, or its columns are not those of entries.
            LiftosError: The server refused the stream, or was lost for too long.
        """
        refused_before = self._refusals.row_count
        stream_id = self._stream_id()
        async with self._memory.ingest(
            stream_id, origin=self._origin, on_progress=self._on_acknowledgement
        ) as stream:
            begin = ImportPosition.from_checkpoint(stream.checkpoint)
            held: _ReadyBatch | None = None
            async for batch in self._batches(begin):
                if held is not None:
                    await self._send(stream.write, held, complete=False)
                held = batch
            if held is not None:
                await self._send(stream.write, held, complete=True)
        self._refusals.settle()
        result = stream.result
        return ImportReport(
            file=self._file.name,
            origin=self._origin,
            stream_id=stream_id,
            upserted_count=result.upserted_count,
            unchanged_count=result.unchanged_count,
            refused_count=self._refusals.row_count - refused_before,
            unreported_count=result.unreported_count,
            resumed_row_number=begin.row_number,
            unmapped_fields=tuple(sorted(self._unmapped)),
            write_token=result.write_token,
        )

    def _stream_id(self) -> str:
        """Return a name that is the same for the same file and the same treatment of it."""
        treatment = json.dumps(
            [
                self._file.sha256,
                self._file.format,
                self._file.delimiter,
                sorted(self._plan.renamed.items()),
                sorted(self._plan.constants.items()),
                self._raw_platform,
                self._origin,
            ]
        )
        return f"import/{hashlib.sha256(treatment.encode()).hexdigest()}"

    async def _send(self, write: Callable[..., Any], batch: _ReadyBatch, *, complete: bool) -> None:
        self._sent.append(_SentBatch(self._sent_count, batch.row_numbers, batch.fraction))
        self._sent_count += len(batch.row_numbers)
        position = ImportPosition(
            batch.position.batch_count, batch.position.row_number, complete=complete
        )
        await write(batch.rows, checkpoint=position.to_checkpoint())

    def _on_acknowledgement(self, result: WriteResult) -> None:
        # Taken out, since a result keeps only so many, and the file of errors wants all.
        for refused in result.item_errors:
            place = bisect_right(self._sent, refused.row, key=lambda batch: batch.first_row) - 1
            batch = self._sent[place]
            number = batch.row_numbers[refused.row - batch.first_row]
            error = refused.error
            self._refuse(RefusedRow(number, error.field, error.rule, error.message))
        result.item_errors.clear()
        while self._sent and self._sent[0].end_row <= result.row_count:
            batch = self._sent.pop(0)
            self._fraction = batch.fraction
            # The reader is far ahead of the server, and both refuse rows.
            self._refusals.settle(_last(batch.row_numbers))
        self._on_progress(self._fraction, result.row_count)

    async def _batches(self, begin: ImportPosition) -> AsyncIterator[_ReadyBatch]:
        """Give the batches after a position that have rows left to send."""
        if self._raw_platform is None:
            made = self._entry_batches(begin)
        else:
            made = self._raw_batches(begin, self._raw_platform)
        async for batch in made:
            if len(batch.row_numbers):
                yield batch

    async def _entry_batches(self, begin: ImportPosition) -> AsyncIterator[_ReadyBatch]:
        batches = read_batches(self._file, maximum_rows=_BATCH_ROWS)
        count = 0
        async for batch in _in_thread(batches):
            count += 1
            if count <= begin.batch_count:
                continue
            ready = await asyncio.to_thread(make_entry_batch, batch, self._plan)
            for refused in ready.refused:
                self._refuse(refused)
            position = ImportPosition(count, _last(batch.row_numbers))
            yield _ReadyBatch(ready.table, ready.row_numbers, position, batch.fraction)

    async def _raw_batches(
        self, begin: ImportPosition, platform: str
    ) -> AsyncIterator[_ReadyBatch]:
        batches = read_raw_batches(self._file, maximum_rows=_RAW_ROWS)
        context: dict[str, Any] = dict(self._plan.constants)
        count = 0
        async for batch in _in_thread(batches):
            count += 1
            if count <= begin.batch_count:
                continue
            for refused in batch.refused:
                self._refuse(refused)
            position = ImportPosition(count, _last(batch.row_numbers))
            if not batch.rows:
                continue
            answer = await self._memory.transform_entries(
                platform, [_struct_row(row) for row in batch.rows], **context
            )
            for error in answer.item_errors:
                number = batch.row_numbers[error.index]
                self._refuse(RefusedRow(number, error.field, error.rule, error.message))
            self._unmapped.update(dict.fromkeys(answer.unmapped_fields))
            numbers = [batch.row_numbers[index] for index in answer.source_indexes]
            yield _ReadyBatch(list(answer.entries), numbers, position, batch.fraction)

    def _refuse(self, refused: RefusedRow) -> None:
        self._refusals.add(self._file.name, refused)


async def _in_thread(batches: Iterator[_Batch]) -> AsyncIterator[_Batch]:
    """Read in a thread, so that acknowledgements are not held up meanwhile."""
    while (batch := await asyncio.to_thread(next, batches, None)) is not None:
        yield batch


def _last(numbers: Sequence[int]) -> int:
    return numbers[-1] if numbers else 0


def _struct_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _struct_value(value) for name, value in row.items()}


def _struct_value(value: object) -> object:
    """Return a value that a Struct holds without losing anything; what it cannot becomes text."""
    match value:
        case None | bool() | str() | float():
            return value
        case int():
            return value if value in _EXACT_JSON_INTEGERS else str(value)
        case list():
            return [_struct_value(each) for each in value]
        case dict():
            return _struct_row(value)
        case Decimal():
            return str(value)
        case _:
            return str(value)
