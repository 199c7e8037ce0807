"""Rows that hold many days become rows of one day each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from liftos_mapping.conversions import show
from liftos_mapping.errors import RowError, RowErrorCode
from liftos_mapping.mapping import SeriesRule


@dataclass(slots=True)
class UnfoldedRows:
    """One-day rows and where they came from.

    Attributes:
        rows: The one-day rows.
        source_index: For each the position of its raw row.
        day_index: For each its place in the raw row's dates; None where the row was one day.
        errors: Raw rows that could not be unfolded.
    """

    rows: Sequence[object]
    source_index: Sequence[int]
    day_index: Sequence[int | None]
    errors: list[RowError] = field(default_factory=list)


def unfold(
    rows: Sequence[object], rule: SeriesRule | None, shared_dates: Sequence[object]
) -> UnfoldedRows:
    """Unfolds the rows whose values are lists; all others pass as they are."""
    if rule is None:
        return UnfoldedRows(rows, range(len(rows)), [None] * len(rows))
    unfolded: list[object] = []
    source_index: list[int] = []
    day_index: list[int | None] = []
    errors: list[RowError] = []

    def add(row: object, *, source: int, day: int | None) -> None:
        unfolded.append(row)
        source_index.append(source)
        day_index.append(day)

    for index, row in enumerate(rows):
        values = row.get(rule.values) if isinstance(row, Mapping) else None
        if not isinstance(row, Mapping) or not _is_series(values):
            add(row, source=index, day=None)
            continue
        dates = row.get(rule.dates, shared_dates)
        error = _series_error(index, rule, values, dates)
        if error is not None:
            errors.append(error)
            continue
        for day, one_day in enumerate(_days(row, rule, values, dates)):
            add(one_day, source=index, day=day)
    return UnfoldedRows(unfolded, source_index, day_index, errors)


def _is_series(values: object) -> bool:
    return isinstance(values, Mapping) and any(isinstance(v, list) for v in values.values())


def _series_error(index: int, rule: SeriesRule, values: object, dates: object) -> RowError | None:
    if not isinstance(dates, list | tuple) or not dates:
        message = f"lists of values need the list of their dates in {rule.dates}"
        return RowError(index, rule.dates, RowErrorCode.MISSING, message)
    assert isinstance(values, Mapping)
    for name, series in values.items():
        path = f"{rule.values}.{name}"
        if not isinstance(series, list):
            message = f"expected a list of {len(dates)} values, got {show(series)}"
            return RowError(index, path, RowErrorCode.WRONG_SHAPE, message)
        if len(series) != len(dates):
            message = f"{len(series)} values for {len(dates)} dates"
            return RowError(index, path, RowErrorCode.SERIES_LENGTH, message)
    return None


def _days(
    row: Mapping[str, object], rule: SeriesRule, values: object, dates: object
) -> list[dict[str, object]]:
    assert isinstance(values, Mapping)
    assert isinstance(dates, list | tuple)
    shared = {name: value for name, value in row.items() if name not in (rule.values, rule.dates)}
    return [
        {
            **shared,
            rule.date: date,
            rule.values: {name: series[day] for name, series in values.items()},
        }
        for day, date in enumerate(dates)
    ]
