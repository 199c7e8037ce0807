"""Reading entries, and the administration of those who write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from liftos_kit.core.errors import NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_mapping.entry_id import format_entry_id
from liftos_memory.ports import (
    EntryStore,
    Row,
    StoredSlice,
    StreamPosition,
    WriteContext,
    WriteFence,
)

_SAMPLED_NAMES = 20
_COLUMN_OF_FIELD = {"quality.score": "quality_score"}


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a page, and where the next one begins; None at the end."""

    rows: Sequence[Row]
    cursor: JsonValue


class Entries:
    """Reads and administers entries through the store."""

    def __init__(self, store: EntryStore) -> None:
        self._store = store

    async def get(self, org: str, name: str, day: date, key: bytes) -> Row:
        """Return one entry.

        Raises:
            NotFoundError: There is none.
        """
        row = await self._store.get(org, day, key)
        if row is None:
            raise NotFoundError(name)
        return row

    async def list_page(
        self,
        org: str,
        *,
        where: Filter | None,
        order_by: Sequence[tuple[str, bool]],
        cursor: JsonValue,
        limit: int,
    ) -> Page:
        """Return a page of entries; `cursor` is that of the page before."""
        names = [_COLUMN_OF_FIELD.get(name, name) for name, _ in order_by]
        after = None if cursor is None else _read_cursor(cursor, names)
        rows = await self._store.list_page(
            org, where=where, order_by=order_by, after=after, limit=limit + 1
        )
        if len(rows) <= limit:
            return Page(rows, None)
        return Page(rows[:limit], _cursor(rows[limit - 1], names))

    async def purge(
        self,
        org: str,
        origin: str,
        where: Filter | None,
        *,
        force: bool,
        repeatable: Repeatable[tuple[int, list[str], int]] | None,
    ) -> tuple[int, list[str], int] | bytes:
        """Delete what belongs to an origin, or with `force` false only count it.

        Returns how many, ids of some of them and the org's version, or the answer that the same
        request was given before.
        """
        count, keys = await self._store.sample_of_origin(org, origin, where, limit=_SAMPLED_NAMES)
        names = [format_entry_id(day, key) for day, key in keys]
        if not force:
            return count, names, await self._store.last_version(org)
        try:
            async with self._store.write(org, WriteContext(origin=f"purge of {origin}")) as write:
                if repeatable is not None:
                    await repeatable.recall(write)
                count = await write.purge(origin, where)
                result = (count, names, await write.finish())
                if repeatable is not None:
                    await repeatable.remember(write, result)
        except AnsweredBeforeError as answered:
            return answered.response
        return result

    async def stream_position(self, org: str, stream_id: str) -> StreamPosition:
        """Return how far a stream, or the writer of records of a scope, has been committed.

        Raises:
            NotFoundError: Nothing of it has.
        """
        position = await self._store.stream_position(org, stream_id)
        if position.version == 0:
            raise NotFoundError(f"orgs/{org}: stream {stream_id}")
        return position

    async def get_slice(
        self, org: str, name: str, slice_id: UUID, *, with_raw: bool
    ) -> StoredSlice:
        """Return one slice.

        Raises:
            NotFoundError: There is none.
        """
        stored = await self._store.get_slice(org, slice_id, with_raw=with_raw)
        if stored is None:
            raise NotFoundError(name)
        return stored

    async def set_fence(
        self, org: str, scope: str, *, epoch: int, closed: bool
    ) -> tuple[WriteFence, int]:
        """Set a fence; see the store."""
        return await self._store.set_fence(org, scope, epoch=epoch, closed=closed)

    async def get_fence(self, org: str, scope: str) -> WriteFence:
        """Return the fence of a scope.

        Raises:
            NotFoundError: None was ever set.
        """
        fence = await self._store.get_fence(org, scope)
        if fence is None:
            raise NotFoundError(f"orgs/{org}: fence {scope}")
        return fence


def _cursor(row: Row, names: Sequence[str]) -> JsonValue:
    values: list[Any] = [row[name] for name in names]
    return [_json(value) for value in (*values, row["date"], row["entry_key"])]


def _json(value: Any) -> JsonValue:  # noqa: ANN401 - any column
    match value:
        case date():
            return {"day": value.isoformat()}
        case bytes():
            return {"hex": value.hex()}
        case UUID():
            return str(value)
        case _:
            plain: JsonValue = value
            return plain


def _read_cursor(cursor: JsonValue, names: Sequence[str]) -> list[object]:
    assert isinstance(cursor, list)
    assert len(cursor) == len(names) + 2, "signed, so it is one of ours"
    values: list[object] = []
    for value in cursor:
        match value:
            case {"day": str(day)}:
                values.append(date.fromisoformat(day))
            case {"hex": str(digits)}:
                values.append(bytes.fromhex(digits))
            case _:
                values.append(value)
    return values
