"""The daily entries that the weekly file becomes, and what they must sum up to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import pyarrow as pa

from liftos.memory.v1.entry_pb2 import Entry, EntryLevel, Metrics
from liftos_cli.demo.channels import CHANNELS, CURRENCY, Channel, scale_of
from liftos_cli.demo.spreading import spread
from liftos_cli.demo.weekly_file import Residual, WeeklyFile, residual, round_half_even

_METRICS: Final = tuple(dict.fromkeys(metric for each in CHANNELS for metric in each.columns))
_SCHEMA: Final = pa.schema(
    [
        ("date", pa.date32()),
        *(
            (name, pa.string())
            for name in (
                *("platform", "level", "account_id", "account_name", "channel", "currency_code"),
                *("campaign_id", "campaign_name", "message_id", "message_name"),
                *("series_id", "series_name"),
            )
        ),
        *((metric, pa.int64()) for metric in _METRICS),
        ("final", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class RoundedFile:
    """The file as whole numbers: money and values in micros, counts in ones.

    Attributes:
        weeks: The Monday of each week.
        columns: One number a week by column.
        residuals: What rounding took, by column, in the file's units.
    """

    weeks: tuple[date, ...]
    columns: Mapping[str, tuple[int, ...]]
    residuals: Mapping[str, Residual]


def round_file(file: WeeklyFile) -> RoundedFile:
    """Round every column to the whole numbers of the metric that it becomes."""
    columns: dict[str, tuple[int, ...]] = {}
    residuals: dict[str, Residual] = {}
    for channel in CHANNELS:
        for metric, column in channel.columns.items():
            exact, scale = file.columns[column], scale_of(metric)
            columns[column] = round_half_even(exact, scale=scale)
            residuals[column] = residual(exact, columns[column], scale=scale)
    return RoundedFile(file.weeks, columns, residuals)


def entry_table(file: RoundedFile) -> pa.Table:
    """Return the entries by day, in the columns of the contract; metrics not in the file are null.

    An object that does not run in a week has no entries there. A week of 0 has entries of 0: that
    is what the file says.
    """
    rows: list[dict[str, Any]] = []
    for place, week in enumerate(file.weeks):
        for channel in CHANNELS:
            rows += _rows_of_week(file, channel, place, week)
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    return table.sort_by([("date", "ascending")])


def entries_of(table: pa.Table) -> list[Entry]:
    """Return the rows of an entry table as messages, for the typed path."""
    return [_entry(row) for row in table.to_pylist()]


def document_count(table: pa.Table, weeks: Sequence[date]) -> int:
    """Return how many documents search makes of the entries: one an object, one an object's week.

    Args:
        table: The entries.
        weeks: The Monday of each of their weeks.
    """
    keys = ("platform", "level", "account_id", "campaign_id", "message_id", "series_id")
    first = weeks[0]
    objects: set[tuple[object, ...]] = set()
    object_weeks: set[tuple[object, ...]] = set()
    for row in table.select([*keys, "date"]).to_pylist():
        key = tuple(row[name] for name in keys)
        objects.add(key)
        object_weeks.add((*key, (row["date"] - first).days // 7))
    return len(objects) + len(object_weeks)


def _rows_of_week(
    file: RoundedFile, channel: Channel, place: int, week: date
) -> Iterable[dict[str, Any]]:
    members = channel.members_in(week)
    spread_metrics = {
        metric: spread(
            file.columns[column][place],
            [member.weights[metric] for member in members],
            channel.day_weights,
        )
        for metric, column in channel.columns.items()
    }
    for index, member in enumerate(members):
        for day in range(7):
            row: dict[str, Any] = {
                "date": week + timedelta(days=day),
                "platform": channel.platform,
                "level": channel.level,
                "account_id": channel.account_id,
                "account_name": channel.account_name,
                "channel": channel.channel or None,
                "currency_code": CURRENCY if channel.has_money else None,
                "final": True,
            }
            if channel.object_field:
                row[channel.object_field] = member.object_id
                row[f"{channel.object_field.removesuffix('_id')}_name"] = member.name
            for metric, parts in spread_metrics.items():
                row[metric] = parts[index][day]
            yield row


def _entry(row: Mapping[str, Any]) -> Entry:
    fields = {name: value for name, value in row.items() if value is not None}
    metrics = Metrics(
        **{name: fields.pop(name) for name in _METRICS if name in fields},
        currency_code=fields.pop("currency_code", ""),
    )
    return Entry(
        **fields
        | {
            "date": fields["date"].isoformat(),
            "level": EntryLevel.Value(f"ENTRY_LEVEL_{fields['level']}"),
        },
        metrics=metrics,
    )
