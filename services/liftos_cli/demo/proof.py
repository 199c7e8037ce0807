"""The comparison of what is stored, summed by week, with the rounded file: value by value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from liftos.memory.v1.memory_service_pb2 import MetricsRow
from liftos_cli.demo.channels import CHANNELS, Channel
from liftos_cli.demo.daily_entries import RoundedFile

GROUP_BY: Final = ("platform", "channel", "series_id")
"""Dimensions that tell the channels of one level apart."""

LEVELS: Final = tuple(dict.fromkeys(channel.level for channel in CHANNELS))
"""Every level that has to be asked, one by one: levels are never summed across."""

_CURRENCY: Final = "currency_code"


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that is not as it should be.

    Attributes:
        week: The Monday.
        column: The file's column; for what the file does not have, the metric and where it was.
        expected: The rounded file's value; None where there should be none.
        stored: What the store sums up to; None where it has nothing.
    """

    week: date
    column: str
    expected: int | None
    stored: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing every value both ways.

    Attributes:
        compared_count: Values of the file that were compared.
        differences: None if all is well.
        stored_totals: The sum over all weeks of what is stored, by column.
    """

    compared_count: int
    differences: tuple[Difference, ...]
    stored_totals: Mapping[str, int]


def compare(file: RoundedFile, rows_by_level: Mapping[str, Iterable[MetricsRow]]) -> Comparison:
    """Compare the file with the answers of `QueryMetrics` by week.

    A value of the file that the store lacks is a difference, and so is anything in the store that
    the file does not have: another week, another group, another metric.

    Args:
        file: The rounded file.
        rows_by_level: The rows of each of `LEVELS`, grouped by `GROUP_BY`.
    """
    stored: dict[tuple[str, date], int] = {}
    differences: list[Difference] = []
    for level, rows in rows_by_level.items():
        channels = {_group(channel): channel for channel in CHANNELS if channel.level == level}
        for row in rows:
            week = date.fromisoformat(row.period_start_date)
            group = tuple(row.group.get(name, "") for name in GROUP_BY)
            columns = channels[group].columns if group in channels else {}
            for field, value in row.metrics.ListFields():
                metric = field.name
                if metric == _CURRENCY:
                    continue
                column = columns.get(metric)
                if column is None or (column, week) in stored:
                    where = ".".join(filter(None, (level, *group, metric)))
                    differences.append(Difference(week, where, None, value))
                else:
                    stored[column, week] = value
    compared_count = 0
    totals: dict[str, int] = {}
    for column, values in file.columns.items():
        totals[column] = sum(value for (name, _), value in stored.items() if name == column)
        for week, expected in zip(file.weeks, values, strict=True):
            compared_count += 1
            found = stored.pop((column, week), None)
            if found != expected:
                differences.append(Difference(week, column, expected, found))
    differences += [
        Difference(week, column, None, value) for (column, week), value in stored.items()
    ]
    return Comparison(compared_count, tuple(differences), totals)


def _group(channel: Channel) -> tuple[str, ...]:
    return (channel.platform, channel.channel, channel.series_id)
