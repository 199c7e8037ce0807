"""Daily entries of the weekly file: they follow the mapping, and their weeks give the file back."""

from collections import defaultdict
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from liftos_cli.demo.channels import CHANNELS, MARKET_SOURCE, scale_of
from liftos_cli.demo.daily_entries import (
    RoundedFile,
    document_count,
    entries_of,
    entry_table,
    round_file,
)
from liftos_cli.demo.weekly_file import EVENTS_COLUMN, NUMBER_COLUMNS, read_weekly_file
from liftos_mapping.entry_fields import ENTRY_SCHEMA, LEVEL_IDS, NATURAL_KEY
from liftos_memory.domain.entry_rules import check_batch

METRICS = ("spend_micros", "impressions", "clicks", "delivered", "revenue_micros", "value_micros")
BUILT_IN = frozenset({"meta", "google_ads", "klaviyo", "offline", "commerce"})


@pytest.fixture(scope="module")
def file() -> RoundedFile:
    """The rounded file."""
    return round_file(read_weekly_file())


@pytest.fixture(scope="module")
def table(file: RoundedFile) -> pa.Table:
    """All entries."""
    return entry_table(file)


def test_each_column_becomes_exactly_one_metric() -> None:
    """No column of the file is forgotten, and none is counted twice."""
    columns = [column for channel in CHANNELS for column in channel.columns.values()]

    assert sorted(columns) == sorted([*NUMBER_COLUMNS, EVENTS_COLUMN])


def test_somebody_runs_in_every_month() -> None:
    """Each channel has a member for every month, with a weight for each of its metrics."""
    for channel in CHANNELS:
        for month in range(1, 13):
            running = channel.members_in(date(2018, month, 12))
            assert running
            for metric in channel.columns:
                assert any(member.weights[metric] for member in running)


def test_memory_takes_every_entry(table: pa.Table) -> None:
    """The entries keep all rules of Memory, and no two have the same key."""
    checked = check_batch(table, today=date(2026, 1, 1), known_platforms=BUILT_IN | {MARKET_SOURCE})

    assert checked.errors == ()
    assert checked.rows.num_rows == table.num_rows


def test_ids_fit_their_levels(table: pa.Table) -> None:
    """Each level carries the id that it requires and no other object's."""
    ids = {"campaign_id", "message_id", "series_id"}
    for level, (required, _) in LEVEL_IDS.items():
        rows = table.filter(pc.equal(table["level"], level))
        for name in ids & set(required):
            assert rows[name].null_count == 0
        for name in ids - set(required):
            assert rows[name].null_count == rows.num_rows


def test_weeks_of_entries_give_the_rounded_file_back(file: RoundedFile, table: pa.Table) -> None:
    """Summed by week and channel, all 11 columns equal the file in all 208 weeks."""
    sums: dict[tuple[str, date], int] = defaultdict(int)
    columns = {
        (channel.platform, channel.channel, channel.series_id, metric): column
        for channel in CHANNELS
        for metric, column in channel.columns.items()
    }
    for row in table.to_pylist():
        monday = row["date"] - timedelta(days=row["date"].weekday())
        group = (row["platform"], row["channel"] or "", row["series_id"] or "")
        for name, value in row.items():
            if isinstance(value, int) and not isinstance(value, bool):
                assert value >= 0
                sums[columns[*group, name], monday] += value

    assert sums == {
        (column, week): value
        for column, values in file.columns.items()
        for week, value in zip(file.weeks, values, strict=True)
    }


def test_what_the_file_lacks_stays_unset(table: pa.Table) -> None:
    """A channel's rows have the metrics of its columns and no other."""
    metrics = {metric for channel in CHANNELS for metric in channel.columns}
    for channel in CHANNELS:
        rows = table.filter(
            pc.and_(
                pc.equal(table["account_id"], channel.account_id),
                pc.equal(table["platform"], channel.platform),
            )
        )
        for metric in metrics - set(channel.columns):
            assert rows[metric].null_count == rows.num_rows


def test_entries_are_the_same_every_time(file: RoundedFile, table: pa.Table) -> None:
    """The same file gives the same entries, in the same order."""
    assert entry_table(file).equals(table)


def test_events_stay_flags(table: pa.Table) -> None:
    """An event is 1 on its Monday and 0 on other days, never a part of 1."""
    rows = table.filter(pc.equal(table["series_id"], "events"))

    assert set(rows["value_micros"].to_pylist()) == {0, 1_000_000}
    flagged = rows.filter(pc.equal(rows["value_micros"], 1_000_000))["date"].to_pylist()
    assert flagged == [date(2018, 5, 21), date(2019, 4, 22)]


def test_messages_say_the_same_as_rows(table: pa.Table) -> None:
    """The typed form of rows has the same values, and unset where a row has null."""
    last = table.filter(pc.equal(table["date"], date(2019, 11, 17)))
    entries = entries_of(last)

    for entry, row in zip(entries, last.to_pylist(), strict=True):
        assert entry.date == "2019-11-17"
        assert entry.platform == row["platform"]
        assert entry.campaign_id == (row["campaign_id"] or "")
        assert entry.metrics.currency_code == (row["currency_code"] or "")
        set_metrics = {
            field.name: value
            for field, value in entry.metrics.ListFields()
            if field.name != "currency_code"
        }
        assert set_metrics == {name: row[name] for name in METRICS if row[name] is not None}


def test_columns_are_those_of_the_contract(table: pa.Table) -> None:
    """Every column is one of an entry's, with its type."""
    for name in table.schema.names:
        assert table.schema.field(name).type == ENTRY_SCHEMA.field(name).type
    assert "platform" in NATURAL_KEY


def test_documents_are_counted_by_object_and_week(file: RoundedFile, table: pa.Table) -> None:
    """Two objects in three weeks, one of them in two only, make two profiles and five digests."""
    weeks = file.weeks[:3]
    first = table.filter(
        pc.and_(
            pc.is_in(table["series_id"], value_set=pa.array(["competitor_sales", "events"])),
            pc.less(table["date"], weeks[0] + timedelta(days=21)),
        )
    )
    shorter = first.filter(
        pc.or_(
            pc.equal(first["series_id"], "events"),
            pc.less(first["date"], weeks[0] + timedelta(days=14)),
        )
    )

    assert document_count(first, weeks) == 2 + 6
    assert document_count(shorter, weeks) == 2 + 5


def test_scales_are_micros_or_ones() -> None:
    """Amounts and values count in millionths, counts in ones."""
    assert scale_of("spend_micros") == 1_000_000
    assert scale_of("clicks") == 1
