"""Takes the pages of a slice through the mapping into Memory; no row is lost in silence."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from liftos_ingestion.domain.day_sums import DaySums, last_of_each, row_keys
from liftos_ingestion.domain.failures import (
    ErrorClass,
    Failure,
    ReadingError,
    account_changed,
)
from liftos_ingestion.run_ports import DeadLetter, SliceResult, SliceWriter
from liftos_ingestion.source_ports import JsonObject, Page, PlatformSource, ReadRequest
from liftos_mapping.engine import TransformContext, TransformResult, days_of, evaluate
from liftos_mapping.errors import RowErrorCode

MAXIMUM_DEAD_LETTERS: Final = 10_000
"""Rows of a slice that are kept where they do not fit; where there are more it fails as a whole."""

_RAW_BYTES: Final = 8 * 1024 * 1024
"""The largest raw answer that Memory keeps with a slice."""

_UNANSWERED_BYTES: Final = 2 * 1024 * 1024
"""Pages of a slice that Memory may still have to answer for when the next one is taken."""

_UNREADABLE: Final = "UNREADABLE"

_Problem: TypeAlias = tuple[str, str, str]
"""Field, code and message of a rule that a row breaks."""


@dataclass(slots=True)
class _Pending:
    """A page of which Memory has not answered for all rows."""

    first_row: int
    end_row: int
    page: Page
    size_bytes: int
    source_index: Sequence[int]


class _RawAnswer:
    """The bytes of all pages of a slice, compressed, and none where they are too many to keep."""

    def __init__(self) -> None:
        self._pages: list[tuple[bytes, int]] = []
        self._size_bytes = 0

    def add(self, page: bytes) -> None:
        """Add the bytes of a page; some have none of their own."""
        self._size_bytes += len(page)
        if not page:
            return
        if self._size_bytes <= _RAW_BYTES:
            self._pages.append((pa.compress(page, codec="zstd", asbytes=True), len(page)))
        else:
            # A part of the answer would look like the whole.
            self._pages.clear()

    def whole(self) -> bytes:
        """Return all of them."""
        return b"\n".join(
            pa.decompress(page, size, codec="zstd", asbytes=True) for page, size in self._pages
        )


class Intake:
    """Takes the pages of one slice in, and keeps account of every row.

    Args:
        source: Whose rows they are.
        request: What they answer.
        final_through: The newest day that the platform no longer restates.
        executor: Where rows are mapped.
    """

    def __init__(
        self,
        source: PlatformSource,
        request: ReadRequest,
        final_through: date,
        executor: Executor,
    ) -> None:
        self._source = source
        self._request = request
        self._final_through = final_through
        self._executor = executor
        self._sums = DaySums()
        self._raw = _RawAnswer()
        self._row_count = 0
        self._written_count = 0
        self._written_on: Counter[date | None] = Counter()
        self._pending: deque[_Pending] = deque()
        self._dead_letters: list[DeadLetter] = []

    async def take(self, page: Page, writer: SliceWriter) -> None:
        """Map a page and send its entries on.

        Raises:
            ReadingError: More rows do not fit than are kept; the mapping is wrong, or the source.
        """
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._executor, self._map, page)
        self._row_count += len(page.rows)
        self._refuse_unmapped(page, result)
        if page.lacks:
            self._tell_lacks(page)
        rows = result.table.num_rows
        if rows:
            for it in result.table["date"].value_counts().to_pylist():
                self._written_on[it["values"]] += it["counts"]
            end = self._written_count + rows
            # Its bytes are kept elsewhere.
            kept = replace(page, raw=b"")
            self._pending.append(
                _Pending(self._written_count, end, kept, page.size_bytes, result.source_index)
            )
            self._written_count = end
            await writer.write(_known_columns(result.table))
            if self._unanswered_bytes(writer) >= _UNANSWERED_BYTES:
                await writer.flush()
        self._collect_refused(writer)

    async def commit(self, writer: SliceWriter) -> SliceResult:
        """Commit the slice once Memory has answered for every row.

        Raises:
            ReadingError: Most rows do not fit, and more rows are stored than do.
        """
        await writer.flush()
        self._collect_refused(writer)
        if self._dead_letters:
            await self._require_no_loss(writer)
        written = await writer.commit(self._raw.whole)
        return SliceResult(
            memory_slice=written.memory_slice,
            row_count=self._row_count,
            upserted_count=written.upserted_count,
            restated_count=written.restated_count,
            vanished_count=written.vanished_count,
            dead_letters=self._dead_letters,
            day_sums={
                day: sums
                for day, sums in self._sums.by_day().items()
                if self._request.start_date <= day <= self._request.end_date
            },
            final_through=self._final_through,
        )

    async def _require_no_loss(self, writer: SliceWriter) -> None:
        """Keep rows that do not fit from taking the place of a day's good ones.

        Raises:
            ReadingError: They would, or the account has other money by now.
        """
        if 2 * len(self._other_money()) > self._row_count:
            raise ReadingError(self._too_many_refused("Most rows"))
        refused = Counter(letter.day for letter in self._dead_letters)
        fit = self._written_on - Counter(it.day for it in self._dead_letters if it.counted)
        # A row that does not say its day may be of any.
        doubtful = [it for it in self._days_asked() if refused[it] + refused[None] > fit[it]]
        held = await writer.held_counts() if doubtful else {}
        losing = {it for it in doubtful if fit[it] < held.get(it, 0)}
        if losing:
            others_fit = any(fit[day] for day in self._days_asked() if day not in losing)
            failure = self._too_many_refused(f"Most rows of {min(losing)}")
            raise ReadingError(replace(failure, fewer_days=others_fit))

    def _days_asked(self) -> Sequence[date]:
        first = self._request.start_date
        return [first + timedelta(days=number) for number in range(self._request.day_count)]

    def _other_money(self) -> Sequence[_Problem]:
        """Return what is wrong with rows of another currency than the account's."""
        return [
            problem
            for letter in self._dead_letters
            for problem in letter.errors
            if problem[1] == RowErrorCode.CURRENCY_MISMATCH
        ]

    def _too_many_refused(self, which: str) -> Failure:
        other_money = self._other_money()
        if 2 * len(other_money) > len(self._dead_letters):
            how = f"its rows have another currency ({other_money[0][2]})"
            return account_changed(self._request.account.account_id, how)
        field, _, message = self._dead_letters[0].errors[0]
        return Failure(
            ErrorClass.INVALID_DATA,
            f"{which} do not fit; the first says {field}: {message}. What was stored of the "
            "days stays. Correct the mapping or the source, and start another run of these days.",
        )

    def _context(self, page: Page) -> TransformContext:
        account = self._request.account
        return replace(
            page.context,
            account_id=account.account_id,
            account_name=page.context.account_name or account.display_name or None,
            currency_code=account.currency_code or None,
            time_zone=account.time_zone,
            level=self._request.level,
            date_basis=self._request.date_basis,
        )

    def _map(self, page: Page) -> TransformResult:
        result = evaluate(self._source.mapping, page.rows, self._context(page))
        table = result.table
        final = pc.less_equal(table["date"], pa.scalar(self._final_through, pa.date32()))
        table = table.set_column(table.schema.get_field_index("final"), "final", final)
        keys = row_keys(table)
        kept = last_of_each(keys)
        if not kept.all():
            table = table.filter(pa.array(kept))
            index = [it for it, stays in zip(result.source_index, kept, strict=True) if stays]
            result = replace(result, source_index=index)
        self._sums.add(table, keys[kept])
        self._raw.add(page.raw)
        return replace(result, table=table)

    def _refuse_unmapped(self, page: Page, result: TransformResult) -> None:
        errors: dict[int, list[_Problem]] = {}
        for error in result.errors:
            errors.setdefault(error.index, []).append((error.field, error.code, error.message))
        self._refuse(page, errors, counted=False)

    def _tell_lacks(self, page: Page) -> None:
        """Keep rows that land without some fields, so that somebody knows."""
        told = [
            (field, _UNREADABLE, "The platform cannot report it of this row.")
            for field in page.lacks
        ]
        self._refuse(page, dict.fromkeys(range(len(page.rows)), told), counted=False)

    def _unanswered_bytes(self, writer: SliceWriter) -> int:
        answered = writer.acknowledged_count
        return sum(it.size_bytes for it in self._pending if it.end_row > answered)

    def _collect_refused(self, writer: SliceWriter) -> None:
        """Keep what Memory has refused, and forget the pages that it has answered for."""
        errors: dict[int, list[_Problem]] = {}
        for refused in writer.refused():
            it = (refused.field, refused.code, refused.message)
            errors.setdefault(refused.index, []).append(it)
        for pending in self._pending if errors else ():
            of_page: dict[int, list[_Problem]] = {}
            for row in range(pending.first_row, pending.end_row):
                if row in errors:
                    index = pending.source_index[row - pending.first_row]
                    of_page.setdefault(index, []).extend(errors[row])
            self._refuse(pending.page, of_page, counted=True)
        while self._pending and self._pending[0].end_row <= writer.acknowledged_count:
            self._pending.popleft()

    def _refuse(
        self, page: Page, errors: Mapping[int, Sequence[_Problem]], *, counted: bool
    ) -> None:
        """Keep rows of a page, by their positions, as dead letters."""
        if not errors:
            return
        rows = [page.rows[index] for index in errors]
        context = {k: v for k, v in asdict(self._context(page)).items() if v not in (None, (), "")}
        self._dead_letters += [
            DeadLetter(row, context, day, found, counted)
            for row, day, found in zip(rows, self._days(page, rows), errors.values(), strict=True)
        ]
        if len(self._dead_letters) > MAXIMUM_DEAD_LETTERS:
            raise ReadingError(self._too_many_refused(f"More than {MAXIMUM_DEAD_LETTERS:,} rows"))

    def _days(self, page: Page, rows: Sequence[JsonObject]) -> Sequence[date | None]:
        """Return the day of each row, as far as it can be read."""
        shared = page.context.date
        day = date.fromisoformat(shared) if isinstance(shared, str) else shared
        if self._source.mapping.grouping is not None:
            # Its columns are made of several rows.
            return [day] * len(rows)
        return [own or day for own in days_of(self._source.mapping, rows)]


def _known_columns(rows: pa.Table) -> pa.Table:
    """Return the columns in which a row says anything; Memory takes the others for unset."""
    return rows.select([it for it in rows.column_names if rows[it].null_count < rows.num_rows])
