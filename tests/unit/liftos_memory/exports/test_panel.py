"""Panels against a plain reading of the rules, for random shops."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.liftos_memory.exports.consumer_checks import problems

from liftos_kit.core.errors import DataInsufficientError, InvalidFieldsError
from liftos_memory.domain.causal_panel import (
    VALUE_COLUMNS,
    VALUE_METRICS,
    Panel,
    build_panel,
    series_controls,
    short_name,
    treatment_metrics,
    unique_name,
)
from liftos_memory.domain.dataset_request import (
    DatasetFormat,
    DatasetRequest,
    GapPolicy,
    Kpi,
    complete_steps,
)
from liftos_memory.domain.identification import identify
from liftos_memory.domain.lift_tests import LiftTests
from liftos_memory.domain.metrics_query import Granularity
from liftos_memory.domain.panel_accounts import Series
from liftos_memory.domain.panel_calendar import PanelCalendar
from liftos_memory.domain.panel_gaps import ClosedPanel, close_gaps
from liftos_memory.domain.panel_layout import Layout, lay_out
from liftos_memory.domain.panel_sidecar import Described, sidecar

START = date(2025, 3, 3)
STEPS = complete_steps(START, START + timedelta(days=27), Granularity.WEEK)
DAYS = 28
CHANNELS = (
    ("meta", "a1", "facebook", ("spend_micros", "impressions")),
    ("meta", "a2", "facebook", ("spend_micros", "impressions")),
    ("meta", "a2", "", ("spend_micros", "clicks")),
    ("klaviyo", "k", "email", ("delivered",)),
)
ACCOUNTS = {
    ("meta", "a1"): "CAMPAIGN",
    ("meta", "a2"): "CAMPAIGN",
    ("klaviyo", "k"): "MESSAGE",
    ("commerce", "shop"): "OUTCOME",
}


@dataclass(frozen=True)
class Shop:
    """Random sums of steps, and on which days each account was connected."""

    rows: Sequence[Mapping[str, Any]]
    connected: Mapping[tuple[str, str], Sequence[bool]]

    @property
    def values(self) -> pd.DataFrame:
        """The sums, as a store reads them."""
        frame = pd.DataFrame(
            [{name: row.get(name) for name in VALUE_COLUMNS} for row in self.rows],
            columns=list(VALUE_COLUMNS),
        )
        frame["step"] = pd.to_datetime(frame["step"])
        return frame.astype(dict.fromkeys(VALUE_METRICS, "Int64"))

    @property
    def days(self) -> dict[Series, Any]:
        """Connected days by series."""
        return {
            Series(platform, account, ACCOUNTS[platform, account], "", "EVENT", ""): np.array(flags)
            for (platform, account), flags in self.connected.items()
        }

    def panel(self, kpi: Kpi = Kpi.REVENUE) -> Panel:
        """The panel."""
        return build_panel(self.values, self.days, STEPS, kpi=kpi, unit="")


def row(
    step: int, platform: str, account: str, channel: str, **metrics: int | None
) -> dict[str, Any]:
    """Return the sums of one account and channel in a step."""
    counts = {f"{name}_count": int(metrics.get(name) is not None) for name in VALUE_METRICS}
    return {
        "step": STEPS[step].start,
        "unit": "",
        "platform": platform,
        "account_id": account,
        "level": ACCOUNTS[platform, account],
        "channel": channel,
        **metrics,
        **counts,
        "entry_count": 1,
        "final_count": 1,
    }


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    """Shops of four weeks."""
    rows = []
    for step in range(len(STEPS)):
        if draw(st.booleans()) or step == 0:
            rows.append(
                row(step, "commerce", "shop", "", revenue_micros=draw(st.integers(0, 10**12)))
            )
        for platform, account, channel, metrics in CHANNELS:
            if draw(st.booleans()):
                amounts = {name: draw(st.none() | st.integers(0, 10**9)) for name in metrics}
                rows.append(row(step, platform, account, channel, **amounts))
    connected = {
        account: draw(
            st.just([True] * DAYS)
            | st.lists(st.sampled_from([True] * 9 + [False]), min_size=DAYS, max_size=DAYS)
        )
        for account in ACCOUNTS
    }
    return Shop(rows, connected)


def expected_cells(shop: Shop) -> dict[tuple[str, str, str, int], float | None]:
    """Return channel, metric and step of every cell, by the rules alone; None is unknown."""
    sums: dict[Any, list[int]] = defaultdict(list)
    entries: set[Any] = set()
    accounts: dict[Any, set[Any]] = defaultdict(set)
    reported: dict[Any, set[str]] = defaultdict(set)
    for one in shop.rows:
        if one["level"] == "OUTCOME":
            continue
        channel = one["platform"], one["channel"]
        step = [step.start for step in STEPS].index(one["step"])
        accounts[channel].add((one["platform"], one["account_id"]))
        entries.add((channel, step))
        for metric in VALUE_METRICS:
            if one.get(metric) is not None:
                reported[channel].add(metric)
                sums[channel, metric, step].append(one[metric])
    cells: dict[tuple[str, str, str, int], float | None] = {}
    for channel, metrics in reported.items():
        for metric in metrics:
            for step in range(len(STEPS)):
                week = slice(7 * step, 7 * step + 7)
                known = all(all(shop.connected[who][week]) for who in accounts[channel])
                unset = (channel, step) in entries and not sums[channel, metric, step]
                scale = 10**6 if metric.endswith("_micros") else 1
                total = sum(sums[channel, metric, step]) / scale
                cells[*channel, metric, step] = None if unset or not known else total
    return cells


@settings(max_examples=150)
@given(shops())
def test_every_cell_is_what_the_rules_say(shop: Shop) -> None:
    """A sum, 0 where all accounts were connected, or unknown."""
    if not any(one["level"] != "OUTCOME" for one in shop.rows):
        return
    panel = shop.panel()
    found = {}
    for cells in panel.channels:
        for metric, values in cells.numbers.items():
            for step in range(len(STEPS)):
                unknown = cells.unknown[0, step] or np.isnan(values[0, step])
                number = None if unknown else float(values[0, step])
                found[cells.platform, cells.channel, metric, step] = number
    assert found == expected_cells(shop)


def _tried(make: Callable[[], Any]) -> tuple[Any, Any]:
    """Return what was made, or why not."""
    try:
        return make(), None
    except DataInsufficientError as error:
        return None, error


@settings(max_examples=150)
@given(shops(), st.sampled_from(list(GapPolicy)), st.sampled_from(list(DatasetFormat)))
def test_what_is_exported_is_taken(shop: Shop, policy: GapPolicy, format_: DatasetFormat) -> None:
    """Whatever the gaps, a data set passes its consumer's checks, or is refused with reasons."""
    if not any(one["level"] != "OUTCOME" for one in shop.rows):
        return
    panel = shop.panel()
    closed, refusal = _tried(lambda: close_gaps(panel, policy, Kpi.REVENUE))
    if closed is None:
        assert panel.gaps
        assert {violation.field for violation in refusal.violations} == {"on_gap"}
        return
    if policy is GapPolicy.FAIL:
        assert not closed.gaps
    layout, refusal = _tried(lambda: lay_out(closed.panel, format_, Kpi.REVENUE, "EUR"))
    if layout is None:
        assert "vary" in refusal.message or "different" in refusal.message
        return
    told = sidecar(_described(shop, closed, layout, policy, format_))
    assert problems(layout.table.to_pandas(date_as_object=False), told) == []
    assert len(told["channels"]) == len(layout.channels)
    last = closed.panel.steps[-1]
    kept = [one for one in shop.rows if closed.panel.steps[0].start <= one["step"] <= last.end]
    assert told["quality"][layout.kpi]["entry_count"] == sum(
        one["level"] == "OUTCOME" for one in kept
    )
    begin = STEPS.index(closed.panel.steps[0])
    assert list(closed.panel.steps) == STEPS[begin : begin + len(closed.panel.steps)]
    if policy is not GapPolicy.TRIM:
        assert len(closed.panel.steps) == len(STEPS)


def _described(
    shop: Shop, closed: ClosedPanel, layout: Layout, policy: GapPolicy, format_: DatasetFormat
) -> Described:
    first, last = closed.panel.steps[0].start, closed.panel.steps[-1].end
    values = shop.values
    values = values[values["step"].between(pd.Timestamp(first), pd.Timestamp(last))]
    return Described(
        request=DatasetRequest(
            STEPS[0].start, STEPS[-1].end, format_, granularity=Granularity.WEEK, on_gap=policy
        ),
        currency_code="EUR",
        as_of=datetime(2025, 4, 1, tzinfo=UTC),
        store_version=1,
        closed=closed,
        layout=layout,
        calendar=PanelCalendar((), (), (), {}),
        lift_tests=LiftTests((), ()),
        report=identify(
            [one.channel for one in layout.channels], layout.treatments, control_count=0
        ),
        series=list(shop.days),
        survey=pd.DataFrame({"time_zone": ["Europe/Berlin"]}),
        values=values,
        qualities=values[
            ["step", "unit", "platform", "account_id", "level", "channel", "entry_count"]
        ].assign(issues="", mismatched=""),
        cut=(),
        levels_aside={},
        snippets={},
        made_with={},
        sha256="",
    )


def _steady(**connected: Sequence[bool]) -> Shop:
    rows = [
        made
        for step in range(len(STEPS))
        for made in (
            row(step, "commerce", "shop", "", revenue_micros=(5 + step) * 10**6),
            row(step, "meta", "a1", "facebook", spend_micros=(1 + step) * 10**6, impressions=90),
            row(step, "klaviyo", "k", "email", delivered=10 * step),
        )
    ]
    days = {("meta", "a1"): "meta", ("klaviyo", "k"): "klaviyo", ("commerce", "shop"): "shop"}
    return Shop(
        rows, {account: connected.get(word, [True] * DAYS) for account, word in days.items()}
    )


def _without(*places: int) -> list[bool]:
    return [place not in places for place in range(DAYS)]


def test_gaps_are_named_by_account_and_days() -> None:
    """FAIL says who was not connected when, each run of days once."""
    panel = _steady(meta=_without(8, 9, 20)).panel()
    with pytest.raises(DataInsufficientError) as caught:
        close_gaps(panel, GapPolicy.FAIL, Kpi.REVENUE)
    assert [violation.description for violation in caught.value.violations] == [
        "account a1 of meta has neither CAMPAIGN entries nor a slice from 2025-03-11 to 2025-03-12",
        "account a1 of meta has neither CAMPAIGN entries nor a slice on 2025-03-23",
    ]
    assert caught.value.metadata["found"] == "2"
    assert caught.value.metadata["required"] == "4"


def test_trim_keeps_the_longest_run_and_the_later_of_two() -> None:
    """Steps before and after it are listed."""
    closed = close_gaps(_steady(meta=_without(0)).panel(), GapPolicy.TRIM, Kpi.REVENUE)
    assert (closed.panel.steps, closed.trimmed) == (tuple(STEPS[1:]), (STEPS[0],))
    closed = close_gaps(_steady(meta=_without(8, 16)).panel(), GapPolicy.TRIM, Kpi.REVENUE)
    assert closed.panel.steps == (STEPS[3],)
    assert closed.panel.outcome.numbers["revenue_micros"].tolist() == [[8.0]]
    with pytest.raises(DataInsufficientError):
        close_gaps(_steady(meta=[False] * DAYS).panel(), GapPolicy.TRIM, Kpi.REVENUE)


def test_zero_keeps_what_is_known_and_never_makes_up_an_outcome() -> None:
    """A step with some of its days keeps their sum; an outcome without days is refused."""
    closed = close_gaps(_steady(meta=_without(8)).panel(), GapPolicy.ZERO, Kpi.REVENUE)
    (meta,) = [one for one in closed.panel.channels if one.platform == "meta"]
    assert meta.numbers["spend_micros"].tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert closed.gaps[0].account_id == "a1"
    with pytest.raises(DataInsufficientError) as caught:
        close_gaps(_steady(shop=_without(8)).panel(), GapPolicy.ZERO, Kpi.REVENUE)
    assert "no outcome is made up" in caught.value.message


def test_a_control_with_a_gap_is_never_taken_for_zero() -> None:
    """It fails, trims, or is left out and named."""
    panel = _steady().panel()
    rows = pd.DataFrame(
        {
            "step": pd.to_datetime([STEPS[place].start for place in (0, 1, 3)]),
            "unit": "",
            "platform": "market",
            "account_id": "m",
            "series_id": "Price Index",
            "value": [1.0, 2.0, 4.0],
        }
    )
    controls, gaps = series_controls(rows, panel, set())
    with_controls = Panel(
        panel.units, panel.steps, panel.outcome, panel.channels, tuple(controls), tuple(gaps)
    )
    closed = close_gaps(with_controls, GapPolicy.ZERO, Kpi.REVENUE)
    assert (closed.left_out, closed.panel.controls) == (("price_index",), ())
    closed = close_gaps(with_controls, GapPolicy.TRIM, Kpi.REVENUE)
    assert closed.panel.controls[0].values.tolist() == [[1.0, 2.0]]
    with pytest.raises(DataInsufficientError):
        close_gaps(with_controls, GapPolicy.FAIL, Kpi.REVENUE)


def test_columns_that_never_change() -> None:
    """Robyn gets none, and an outcome that never changes is refused; others are told of them."""
    panel = _steady().panel()
    layout = lay_out(panel, DatasetFormat.ROBYN, Kpi.REVENUE, "EUR")
    assert [one.exposure for one in layout.channels if one.spend] == [""]
    assert [one.column for one in layout.left_out] == ["meta_facebook_I"]
    constant = _steady()
    rows = [
        {**made, "revenue_micros": 5} if made["level"] == "OUTCOME" else made
        for made in constant.rows
    ]
    with pytest.raises(DataInsufficientError):
        lay_out(Shop(rows, constant.connected).panel(), DatasetFormat.ROBYN, Kpi.REVENUE, "EUR")
    lay_out(Shop(rows, constant.connected).panel(), DatasetFormat.PYMC, Kpi.REVENUE, "EUR")


def test_a_silent_channel_stays_where_it_may() -> None:
    """Meridian takes a channel that is always 0; pymc-marketing cannot scale it."""
    base = _steady()
    rows = [*base.rows, row(0, "meta", "a1", "silent", spend_micros=0)]
    panel = Shop(rows, base.connected).panel()
    columns = {
        format_: {one.channel for one in lay_out(panel, format_, Kpi.REVENUE, "EUR").channels}
        for format_ in (DatasetFormat.MERIDIAN, DatasetFormat.PYMC)
    }
    assert "meta_silent" in columns[DatasetFormat.MERIDIAN]
    assert "meta_silent" not in columns[DatasetFormat.PYMC]


def test_a_panel_has_a_largest_size() -> None:
    """Beyond it the answer is what to ask for instead."""
    steps = complete_steps(date(2015, 1, 1), date(2025, 1, 1), Granularity.DAY)
    connected = {series: np.ones(len(steps), np.bool_) for series in _steady().days}
    rows = [
        row(0, "commerce", "shop", "", revenue_micros=1),
        *(row(0, "meta", "a1", f"c{place}", spend_micros=1) for place in range(500)),
    ]
    for one in rows:
        one["step"] = steps[0].start
    with pytest.raises(InvalidFieldsError, match="cells"):
        build_panel(Shop(rows, {}).values, connected, steps, kpi=Kpi.REVENUE, unit="")


def test_names_of_columns() -> None:
    """Lower case, one underscore between words, no digit first; a taken name gets a number."""
    assert [short_name(text) for text in ("TV & Out-of-Home", "2nd", "", "Ü")] == [
        "tv_out_of_home",
        "x_2nd",
        "x_",
        "x_",
    ]
    taken: set[str] = set()
    assert [unique_name("tv", taken) for _ in range(3)] == ["tv", "tv_2", "tv_3"]


def test_exposure_of_paid_and_unpaid_channels() -> None:
    """Impressions before clicks; mail by what was delivered."""
    found = {cells.name: treatment_metrics(cells) for cells in _steady().panel().channels}
    assert found == {
        "meta_facebook": ("spend_micros", "impressions"),
        "klaviyo_email": ("delivered",),
    }
