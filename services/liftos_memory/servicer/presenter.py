"""Stored entries as their readers see them, with the calendar of the org."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from datetime import date, timedelta
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from liftos.memory.v1 import entry_pb2
from liftos_memory.convert.calendar import day_message
from liftos_memory.convert.entries import entry_of_row
from liftos_memory.ports import Row
from liftos_memory.usecases.calendar import OrgCalendar, OrgCalendars

_KEPT_MONTHS: Final = 1_024
_FIELD: Final = "calendar_day"

_Month = tuple[bytes, ...]


class EntryPresenter:
    """Turns rows into entries with their calendar days.

    Days are computed a month at a time and kept, serialised, until their org's settings or events
    change; `OrgCalendars` says how soon a change is seen.
    """

    def __init__(self, calendars: OrgCalendars, executor: Executor) -> None:
        self._calendars = calendars
        self._executor = executor
        self._months: OrderedDict[tuple[OrgCalendar, int], _Month] = OrderedDict()

    async def one(self, org: str, row: Row, mask: FieldMask) -> entry_pb2.Entry:
        """Return one entry; a mask that leaves out its calendar day saves the work for it."""
        entry = entry_of_row(org, row)
        if _wants_calendar(mask):
            calendar = await self._calendars.get(org)
            day = row["date"]
            month = self._kept_month(calendar, day)
            if month is None:
                month = (await self._compute(calendar, (day,)))[_month_number(day)]
            entry.calendar_day.ParseFromString(month[day.day - 1])
        return entry

    async def many(
        self, org: str, rows: Sequence[Row], mask: FieldMask
    ) -> Sequence[entry_pb2.Entry]:
        """Return entries in the order of their rows."""
        entries = [entry_of_row(org, row) for row in rows]
        if rows and _wants_calendar(mask):
            calendar = await self._calendars.get(org)
            months = await self._all_months(calendar, (row["date"] for row in rows))
            for entry, row in zip(entries, rows, strict=True):
                day = row["date"]
                entry.calendar_day.ParseFromString(months[_month_number(day)][day.day - 1])
        return entries

    def _kept_month(self, calendar: OrgCalendar, day: date) -> _Month | None:
        key = (calendar, _month_number(day))
        month = self._months.get(key)
        if month is not None:
            self._months.move_to_end(key)
        return month

    async def _all_months(self, calendar: OrgCalendar, days: Iterable[date]) -> dict[int, _Month]:
        months = {}
        missing = []
        for number, day in {_month_number(day): day for day in days}.items():
            month = self._kept_month(calendar, day)
            if month is None:
                missing.append(day)
            else:
                months[number] = month
        if missing:
            months |= await self._compute(calendar, missing)
        return months

    async def _compute(self, calendar: OrgCalendar, days: Sequence[date]) -> dict[int, _Month]:
        """Compute and keep the months of these days."""

        def compute() -> dict[int, _Month]:
            return {_month_number(day): _month(calendar, day) for day in days}

        months = await asyncio.get_running_loop().run_in_executor(self._executor, compute)
        for number, month in months.items():
            self._months[calendar, number] = month
        while len(self._months) > _KEPT_MONTHS:
            self._months.popitem(last=False)
        return months


def _wants_calendar(mask: FieldMask) -> bool:
    paths = mask.paths
    return not paths or any(path.partition(".")[0] == _FIELD for path in paths)


def _month_number(day: date) -> int:
    return day.year * 12 + day.month


def _month(calendar: OrgCalendar, day: date) -> _Month:
    first = day.replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    days = calendar.days(first, following - timedelta(days=1))
    return tuple(day_message(each).SerializeToString() for each in days)
