"""The rows of a reading out of all that a source of an org's own has, grouped where needed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.source_ports import JsonObject, Page, ReadRequest
from liftos_mapping.engine import days_of
from liftos_mapping.grouping import RowGroups
from liftos_mapping.mapping import PlatformMapping
from liftos_mapping.transform import TransformContext

PATH_DATE: Final = "path_date"
"""The field of rows that are grouped which has the day of their file or call."""

MAXIMUM_GROUPS: Final = 500_000
"""Rows that a reading of grouped rows gives, at most; they are all in memory at once."""

_PAGE_ROWS: Final = 5000


class AskedRows:
    """Takes rows as they come, and gives those of the days that are asked for.

    Where the mapping groups rows, all of them are grouped before any is given: a part of a sum on
    one page and the rest on another would be two entries of one key.

    Args:
        mapping: The mapping of the raw rows; what is given is for `mapping.grouped()`.
        request: What is asked for.
        query_hash: Of what the source is asked.
    """

    def __init__(self, mapping: PlatformMapping, request: ReadRequest, *, query_hash: str) -> None:
        self._mapping = mapping.grouped()
        self._request = request
        self._query_hash = query_hash
        self._has_given = False
        self._groups = (
            None
            if mapping.grouping is None
            else RowGroups(mapping, lambda rows: self._asked(rows, None))
        )

    def take(self, rows: Sequence[JsonObject], day: date | None) -> Sequence[JsonObject]:
        """Take rows in, and return those that can be given now.

        Args:
            rows: Raw rows.
            day: The day of those that do not say theirs.

        Raises:
            ReadingError: TOO_LARGE where there are too many groups.
        """
        if self._groups is None:
            chosen = self._asked(rows, day)
            ready = [row for row, asked in zip(rows, chosen, strict=True) if asked]
            self._has_given = self._has_given or bool(ready)
            return ready
        dated = rows if day is None else [_dated(row, day) for row in rows]
        self._groups.add(dated)
        if len(self._groups) > MAXIMUM_GROUPS:
            raise ReadingError(
                Failure(ErrorClass.TOO_LARGE, f"The days have more than {MAXIMUM_GROUPS} groups.")
            )
        return ()

    def rest(self) -> Iterator[Page]:
        """Yield what could only be given once all rows were taken in, or that there was none."""
        grouped = [] if self._groups is None else self._groups.rows()
        count = len(grouped) or int(not self._has_given)
        for start in range(0, count, _PAGE_ROWS):
            rows = grouped[start : start + _PAGE_ROWS]
            yield Page(rows, TransformContext(), query_hash=self._query_hash)

    def _asked(self, rows: Sequence[JsonObject], day: date | None) -> list[bool]:
        """Which rows are of the days; those whose day cannot be read are, to be told of."""
        request = self._request
        return [
            (it := found or day) is None or request.start_date <= it <= request.end_date
            for found in days_of(self._mapping, rows)
        ]


def _dated(row: JsonObject, day: date) -> JsonObject:
    # What is no object is told of where it is grouped.
    return {**row, PATH_DATE: day.isoformat()} if isinstance(row, Mapping) else row
