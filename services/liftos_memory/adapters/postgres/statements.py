"""Statements whose text follows from the question, and their rows as text that Arrow reads."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from liftos_kit.telemetry import record_statement
from liftos_memory.domain.metrics_query import Granularity

MONDAY: Final = "date '0001-01-01'"
"""SQL of a Monday, from which weeks are counted."""

STEPS: Final[Mapping[Granularity, str]] = {
    Granularity.DAY: "date",
    Granularity.WEEK: f"date - (date - {MONDAY}) % 7",
    Granularity.MONTH: "date_trunc('month', date::timestamp)::date",
    Granularity.QUARTER: "date_trunc('quarter', date::timestamp)::date",
    Granularity.YEAR: "date_trunc('year', date::timestamp)::date",
}
"""SQL of the first day of the step that a date is in."""

BREAKDOWN: Final = (
    "case when breakdown_key = '' then '' else regexp_replace(breakdown_key, '=[^&]*', '', 'g') end"
)
"""SQL of the names in a breakdown key, as `age&gender`."""

_CSV_PIECE_BYTES: Final = 192 * 1024
_NO_TIMEOUT: Final = 86_400.0


@dataclass(slots=True)
class Parameters:
    """Values of a statement, each with its place."""

    values: list[Any] = field(default_factory=list)

    def add(self, value: object, sql_type: str) -> str:
        """Return the place of a value, typed."""
        self.values.append(value)
        return f"${len(self.values)}::{sql_type}"


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with its parameters."""

    sql: str
    values: tuple[Any, ...]


def half_even(number: str) -> str:
    """Return SQL of a number rounded to a whole one; Postgres rounds halves away from zero."""
    return (
        f"(case when abs({number} % 1) = 0.5 then 2 * round({number} / 2) else round({number}) end)"
        "::bigint"
    )


async def copy_csv(
    connection: asyncpg.Connection, statement: Statement
) -> AsyncGenerator[bytes, None]:
    """Yield the rows of a statement as CSV, in pieces of whole lines.

    The database makes the text and Arrow reads it, so that no row passes through Python.
    """
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue(1)
    waiting = bytearray()

    async def take(data: bytes) -> None:
        waiting.extend(data)
        if len(waiting) >= _CSV_PIECE_BYTES:
            # No text holds a line break: control characters are refused on the way in.
            end = waiting.rindex(b"\n") + 1
            piece = bytes(waiting[:end])
            del waiting[:end]
            await pieces.put(piece)

    async def copy() -> None:
        start = time.perf_counter()
        failure: Exception | None = None
        try:
            await connection.copy_from_query(
                statement.sql, *statement.values, output=take, format="csv", timeout=_NO_TIMEOUT
            )
            if waiting:
                await pieces.put(bytes(waiting))
        except Exception as error:
            failure = error
        record_statement(statement.sql, time.perf_counter() - start, failure)
        await pieces.put(None)
        if failure is not None:
            raise failure

    copying = asyncio.create_task(copy())
    try:
        while (piece := await pieces.get()) is not None:
            yield piece
        await copying
    finally:
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)
