"""Daily sums as matrices: series by days, nan where no entry says anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from operator import attrgetter
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.filters import And, Comparison, Filter, Operator, format_filter
from liftos_mapping.date_bases import default_date_basis
from liftos_mapping.entry_fields import DATE_BASES, LEVEL_IDS, LEVELS
from liftos_memory.domain.detectors.statistics import Booleans, Floats, Integers
from liftos_memory.domain.documents import ObjectKey
from liftos_memory.domain.finished_days import FinishedDays
from liftos_memory.domain.insight_metrics import (
    EVENT_SIZE,
    SUMMED_COLUMNS,
    InsightMetric,
)
from liftos_memory.domain.insights import Subject
from liftos_memory.domain.metrics_query import Granularity, MetricsQuery

MAXIMUM_SERIES: Final = 20_000
"""Series of one level that a run holds; a narrower filter asks for fewer."""

SETTLED_DAYS: Final = 7
"""Days after which numbers that come late count as settled, where nothing says they are final."""

_COUNTED_DAYS: Final = 91
"""Newest days over which the ways of counting an object are held against each other."""

_OTHER_DIMENSIONS: Final = ("channel", "attribution_key", "date_basis")
_ID_DIMENSIONS: Final = tuple(
    name for name in ObjectKey.__dataclass_fields__ if name not in ("platform", "level")
)
_BREAKDOWN: Final = "breakdown_key"
_OBJECT_OF: Final = attrgetter(
    "key.platform", "key.level", "key.account_id",
    *(f"key.{name}" for name in _ID_DIMENSIONS if name != "account_id"), "currency_code",
)  # fmt: skip
"""What is counted, in whichever way."""


def level_dimensions(level: str) -> tuple[str, ...]:
    """Return the dimensions that tell the series of a level apart."""
    required, allowed = LEVEL_IDS[level]
    ids = [name for name in _ID_DIMENSIONS if name in {*required, *allowed}]
    return ("platform", "account_id", *ids, *_OTHER_DIMENSIONS)


def series_query(
    level: str, start: date, end: date, where: Filter | None, finished: FinishedDays
) -> MetricsQuery:
    """Return the query whose rows `SeriesTable.read` takes.

    Entries with a breakdown repeat those without, so they count only where the filter names the
    breakdown.
    """
    return MetricsQuery(
        start_date=start,
        end_date=end,
        level=level,
        granularity=Granularity.DAY,
        group_by=level_dimensions(level),
        where=own_entries(where),
        finished=finished,
    )


def own_entries(where: Filter | None) -> Filter:
    """Return a filter of the entries that series are made of."""
    own = Comparison(_BREAKDOWN, Operator.EQUAL, "")
    if where is None:
        return own
    return where if _BREAKDOWN in format_filter(where) else And((where, own))


@dataclass(frozen=True, slots=True)
class SeriesTable:
    """Daily sums of the series of one level.

    Attributes:
        level: The level.
        start: The first day.
        subjects: The series.
        columns: Sums, series by days, by column; columns without any value are absent.
        final: Where all entries of a day are final.
        quality: Lowest quality of a day, 1 where there is no entry.
        entries: Entries of a day.
        where: The filter of the query, as in `series_query`.
    """

    level: str
    start: date
    subjects: Sequence[Subject]
    columns: Mapping[str, Floats]
    final: Booleans
    quality: Floats
    entries: Integers
    where: Filter | None = field(repr=False)

    @property
    def days(self) -> int:
        """How many days there are."""
        return int(self.final.shape[1])

    def day(self, index: int) -> date:
        """Return the day of a column."""
        return self.start + timedelta(days=int(index))

    def index(self, day: date) -> int:
        """Return the column of a day, which may lie outside."""
        return (day - self.start).days

    @classmethod
    def read(cls, query: MetricsQuery, batches: Sequence[pa.RecordBatch]) -> "SeriesTable":
        """Put the rows of a query from `series_query` in place.

        Raises:
            InvalidFieldsError: There are more series than a run holds.
        """
        keys = [*query.group_by, "currency_code"]
        kept = [*keys, "period_start_date", *SUMMED_COLUMNS, "quality_score", "final"]
        table = pa.Table.from_batches(
            [batch.select([*kept, "entry_count"]) for batch in batches],
            pa.schema([query.schema.field(name) for name in (*kept, "entry_count")]),
        )
        frame = pd.DataFrame(
            {name: table[name].fill_null("").to_numpy(zero_copy_only=False) for name in keys}
        )
        grouped = frame.groupby(keys, sort=True)
        series = grouped.ngroup().to_numpy()
        names = frame.drop_duplicates().sort_values(keys)
        if len(names) > MAXIMUM_SERIES:
            raise InvalidFieldsError.of(
                "filter",
                f"{len(names)} series of level {query.level} match; a run holds {MAXIMUM_SERIES},"
                " so name an account or a platform",
                rule="insights.series",
            )
        days = (query.end_date - query.start_date).days + 1
        shape = (len(names), days)
        at = (
            pc.cast(table["period_start_date"], pa.int32()).to_numpy()
            - (query.start_date - date(1970, 1, 1)).days
        )

        def matrix(column: pa.ChunkedArray, empty: float) -> Floats:
            values = np.full(shape, empty)
            numbers = pc.cast(column, pa.float64(), safe=False).to_numpy()
            values[series, at] = np.where(np.isnan(numbers), empty, numbers)
            return values

        return cls(
            level=query.level,
            start=query.start_date,
            subjects=[
                _subject(query.level, dict(zip(keys, row, strict=True)))
                for row in names.itertuples(index=False)
            ],
            columns={
                name: matrix(table[name], np.nan)
                for name in SUMMED_COLUMNS
                if table[name].null_count < table.num_rows
            },
            final=matrix(pc.cast(table["final"], pa.int8()), 0.0) > 0.0,
            quality=matrix(table["quality_score"], 1.0),
            entries=matrix(table["entry_count"], 0.0).astype(np.int64),
            where=query.where,
        )


def _subject(level: str, row: Mapping[str, str]) -> Subject:
    key = ObjectKey(
        platform=row["platform"],
        level=level,
        **{name: row[name] for name in _ID_DIMENSIONS if name in row},
    )
    return Subject(
        key=key,
        channel=row["channel"],
        attribution_key=row["attribution_key"],
        date_basis=DATE_BASES.index(row["date_basis"]) + 1,
        currency_code=row["currency_code"],
    )


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """One metric of the series that have it.

    Attributes:
        metric: The metric.
        rows: Indices of these series in the table.
        numerators: Sums above the line, or the metric itself in units; series by days.
        denominators: Sums below the line times the divisor; None for an additive metric.
        events: Events behind each day, as many as are usual for it; None where none are counted.
        counted: Events that were counted; None likewise.
        settled: Where nothing is added any more.
    """

    metric: InsightMetric
    rows: Integers
    numerators: Floats
    denominators: Floats | None
    events: Floats | None
    counted: Floats | None
    settled: Booleans

    @property
    def values(self) -> Floats:
        """The metric of each day in its unit; nan where unknown or of too little."""
        if self.denominators is None:
            return self.numerators
        enough = self.denominators >= self.metric.least_denominator * self.metric.divisor
        enough &= self.denominators > 0.0
        half = EVENT_SIZE.get(self.metric.numerator, 1.0) / 2 if self.metric.is_share else 0.0
        # Half an event keeps a day without any on the scale of logarithms.
        found: Floats = np.divide(
            self.numerators + half,
            self.denominators,
            out=np.full(self.numerators.shape, np.nan),
            where=enough,
        )
        return found

    def until_settled(self) -> "MetricSeries":
        """Return the same without days to which something may still be added."""
        if not self.metric.is_late:
            return self
        return MetricSeries(
            self.metric,
            self.rows,
            np.where(self.settled, self.numerators, np.nan),
            self.denominators,
            self.events,
            self.counted,
            self.settled,
        )


def metric_series(table: SeriesTable, metric: InsightMetric, *, today: date) -> MetricSeries | None:
    """Return a metric of the series that have it; None where none has.

    Days from today on are not over and stay unknown. An object whose numbers stand under several
    attributions or date bases has the same clicks and sales under each, so one of them is taken.
    """
    columns = table.columns
    needed = [name for name in (metric.numerator, metric.denominator) if name]
    if any(name not in columns for name in needed):
        return None
    over = min(max(table.index(today), 0), table.days)
    known = np.isfinite(columns[metric.numerator][:, :over])
    if metric.denominator:
        known &= np.isfinite(columns[metric.denominator][:, :over])
    rows = np.flatnonzero(known.any(axis=1))
    if metric.has_money:
        has_currency = np.array([bool(it.currency_code) for it in table.subjects], np.bool_)
        rows = rows[has_currency[rows]]
    known_days = known[:, max(0, over - _COUNTED_DAYS) :].sum(axis=1)
    rows = _counted_once([table.subjects[row] for row in rows.tolist()], rows, known_days[rows])
    if not rows.size:
        return None

    def cut(name: str) -> Floats:
        values = columns[name][rows].copy()
        values[:, over:] = np.nan
        # Credits may be below zero; a scale of logarithms has no place for them.
        values[values < 0.0] = np.nan
        return values

    numerators = cut(metric.numerator)
    denominators = cut(metric.denominator) * metric.divisor if metric.denominator else None
    if denominators is None:
        numerators /= metric.divisor
    events, counted = _events(metric, columns, cut, denominators)
    age_days = table.index(today) - np.arange(table.days)
    return MetricSeries(
        metric=metric,
        rows=rows,
        numerators=numerators,
        denominators=denominators,
        events=events,
        counted=counted,
        settled=table.final[rows] | (age_days[None, :] > SETTLED_DAYS),
    )


def _counted_once(subjects: Sequence[Subject], rows: Integers, known_days: Integers) -> Integers:
    """Return the rows that count each object in one way.

    That is the date basis that its platform dates the level by, else the first; but one that has
    fewer than half as many days as the fullest gives way: a mail is sent once, and opened for days.
    Of attributions it is the one with the most days.

    Args:
        subjects: The series.
        rows: Their rows.
        known_days: Days of each that are known.
    """
    objects = [_OBJECT_OF(subject) for subject in subjects]
    ways: dict[tuple[str, ...], dict[tuple[int, str], int]] = {}
    for counted, subject, days in zip(objects, subjects, known_days.tolist(), strict=True):
        found = ways.setdefault(counted, {})
        way = (subject.date_basis, subject.attribution_key)
        found[way] = found.get(way, 0) + days
    chosen = {counted: _chosen_way(counted, found) for counted, found in ways.items()}
    kept = [
        chosen[counted] == (subject.date_basis, subject.attribution_key)
        for counted, subject in zip(objects, subjects, strict=True)
    ]
    return rows[np.array(kept, np.bool_)]


def _chosen_way(counted: tuple[str, ...], ways: Mapping[tuple[int, str], int]) -> tuple[int, str]:
    if len(ways) == 1:
        return next(iter(ways))
    platform, level = counted[:2]
    usual = default_date_basis(platform, LEVELS.index(level) + 1)
    fullest = max(ways.values())
    return min(
        (way for way, days in ways.items() if 2 * days >= fullest),
        key=lambda way: (way[0] != usual, way[0], -ways[way], way[1]),
    )


def _events(
    metric: InsightMetric,
    columns: Mapping[str, Floats],
    cut: Callable[[str], Floats],
    denominators: Floats | None,
) -> tuple[Floats | None, Floats | None]:
    if metric.events not in columns:
        return None, None
    counted = cut(metric.events) / EVENT_SIZE.get(metric.events, 1.0)
    below = np.isfinite(counted) if denominators is None else np.nan_to_num(denominators)
    total = np.nan_to_num(counted).sum(axis=1)
    share = np.divide(total, below.sum(axis=1), out=np.zeros(total.shape), where=total > 0.0)
    usual = share[:, None] * (np.ones_like(counted) if denominators is None else below)
    return usual, counted
