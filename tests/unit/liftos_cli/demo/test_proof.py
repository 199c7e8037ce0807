"""The comparison of the store with the file finds every kind of difference."""

from collections.abc import Callable
from datetime import date

import pytest

from liftos.memory.v1.entry_pb2 import Metrics
from liftos.memory.v1.memory_service_pb2 import MetricsRow
from liftos_cli.demo.channels import CHANNELS
from liftos_cli.demo.daily_entries import RoundedFile, round_file
from liftos_cli.demo.proof import LEVELS, Difference, compare
from liftos_cli.demo.weekly_file import read_weekly_file

Rows = dict[str, list[MetricsRow]]


@pytest.fixture(scope="module")
def file() -> RoundedFile:
    """The rounded file."""
    return round_file(read_weekly_file())


@pytest.fixture
def answers(file: RoundedFile) -> Rows:
    """What a store answers that has everything."""
    rows: Rows = {level: [] for level in LEVELS}
    for place, week in enumerate(file.weeks):
        for channel in CHANNELS:
            group = {"platform": channel.platform, "channel": channel.channel}
            metrics = Metrics(currency_code="EUR" if channel.has_money else "")
            for metric, column in channel.columns.items():
                setattr(metrics, metric, file.columns[column][place])
            rows[channel.level].append(
                MetricsRow(
                    period_start_date=week.isoformat(),
                    group=group | {"series_id": channel.series_id},
                    metrics=metrics,
                )
            )
    return rows


def test_a_whole_store_has_no_differences(file: RoundedFile, answers: Rows) -> None:
    """All 208 weeks of all 11 columns are compared, and the totals are the file's."""
    comparison = compare(file, answers)

    assert comparison.differences == ()
    assert comparison.compared_count == 208 * 11
    assert comparison.stored_totals == {
        column: sum(values) for column, values in file.columns.items()
    }


def _change(rows: Rows) -> None:
    rows["CAMPAIGN"][0].metrics.spend_micros += 1


def _lose_a_row(rows: Rows) -> None:
    del rows["OUTCOME"][3]


def _lose_a_zero(rows: Rows) -> None:
    next(row for row in rows["CONTROL"] if row.group["series_id"] == "events").ClearField("metrics")


def _double(rows: Rows) -> None:
    rows["MESSAGE"].append(rows["MESSAGE"][0])


def _foreign_metric(rows: Rows) -> None:
    rows["CAMPAIGN"][0].metrics.conversions_micros = 0


def _foreign_group(rows: Rows) -> None:
    rows["CAMPAIGN"].append(
        MetricsRow(
            period_start_date="2015-11-23",
            group={"platform": "tiktok"},
            metrics=Metrics(spend_micros=1),
        )
    )


def _foreign_week(rows: Rows) -> None:
    rows["OUTCOME"].append(
        MetricsRow(
            period_start_date="2019-11-18",
            group={"platform": "commerce"},
            metrics=Metrics(revenue_micros=5),
        )
    )


@pytest.mark.parametrize(
    "damage",
    [
        _change,
        _lose_a_row,
        _lose_a_zero,
        _double,
        _foreign_metric,
        _foreign_group,
        _foreign_week,
    ],
)
def test_each_damage_is_one_difference(
    file: RoundedFile, answers: Rows, damage: Callable[[Rows], None]
) -> None:
    """A wrong, missing, doubled or foreign value is found, and nothing else is reported."""
    damage(answers)

    assert len(compare(file, answers).differences) == 1


def test_a_difference_says_where_and_what(file: RoundedFile, answers: Rows) -> None:
    """It names the week, the column, and both values; a lost zero is not a zero."""
    _lose_a_zero(answers)

    assert compare(file, answers).differences == (
        Difference(date(2015, 11, 23), "events", expected=0, stored=None),
    )
