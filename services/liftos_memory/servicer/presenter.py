"""Stored entries as their readers see them, with the calendar of the org."""

from collections.abc import Sequence

from liftos.memory.v1 import entry_pb2
from liftos_memory.convert.entries import entry_of_row
from liftos_memory.ports import Row


class EntryPresenter:
    """Turns rows into entries."""

    async def one(self, org: str, row: Row) -> entry_pb2.Entry:
        """Return one entry."""
        return entry_of_row(org, row)

    async def many(self, org: str, rows: Sequence[Row]) -> Sequence[entry_pb2.Entry]:
        """Return entries in the order of their rows."""
        return [entry_of_row(org, row) for row in rows]
