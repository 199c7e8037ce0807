"""Numbers as people read them."""

from datetime import timedelta
from decimal import Decimal

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from liftos.memory.v1.entry_pb2 import DateBasis, DerivedMetrics, Entry, EntryLevel, Metrics
from liftos_cli.entry_view import (
    DEFAULT_COLUMNS,
    chosen_columns,
    chosen_metrics,
    differences,
    entry_cell,
    telling_columns,
)
from liftos_cli.errors import CommandError
from liftos_cli.figures import amount, cell, counted, length, ratio


@given(micros=st.integers(-(2**63), 2**63 - 1))
def test_amounts_lose_nothing(micros: int) -> None:
    """The text reads back as the micros, with at least two places."""
    text = amount(micros)
    assert Decimal(text.replace(",", "")) * 1_000_000 == micros
    assert len(text.partition(".")[2]) >= 2


def test_ratios_have_no_exponents() -> None:
    """Four digits, but never fewer than all whole ones."""
    told = [ratio(value) for value in (52_610.4, 999.96, 999.94, 1.25, 0.0197778, -2e6)]
    assert told == ["52,610", "1,000", "999.9", "1.25", "0.01978", "-2,000,000"]


def test_metrics_are_chosen_by_name() -> None:
    """Amounts by their name in units too; a slip of the finger gets what was meant."""
    assert chosen_metrics(["spend", "clicks", "roas"]) == {"spend_micros", "clicks", "roas"}
    with pytest.raises(CommandError) as refused:
        chosen_metrics(["spent"])
    assert "spend" in refused.value.advice


def test_one_is_no_plural() -> None:
    """One is told apart, of words with a plural of their own too."""
    assert [counted(n, "row") for n in (0, 1, 1_200)] == ["0 rows", "1 row", "1,200 rows"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (31, "31 s"),
        (60.25, "1 min"),
        (5_400, "1 h 30 min"),
        (86_400, "1 d"),
        (90_061, "1 d 1 h"),
    ],
)
def test_lengths_are_told_by_their_largest_units(seconds: float, text: str) -> None:
    """At most two of them, without the fractions that limits are kept with."""
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    assert length(duration) == text


def test_unset_is_a_dash_and_zero_is_zero() -> None:
    """A number that was not reported looks different from one that is nothing."""
    metrics = Metrics(clicks=0, spend_micros=0)
    names = ("clicks", "spend", "impressions", "revenue")
    assert [cell(metrics, name) for name in names] == ["0", "0.00", "-", "-"]


def test_cells_of_an_entry() -> None:
    """Fields, metrics, ratios and the object are found by their names."""
    entry = Entry(
        name="orgs/demo/entries/x",
        level=EntryLevel.ENTRY_LEVEL_AD,
        account_id="1",
        campaign_id="2",
        ad_id="3",
        ad_name="Blue",
        final=True,
        metrics=Metrics(currency_code="USD", spend_micros=1_500_000, clicks=12_000),
        derived_metrics=DerivedMetrics(ctr=0.0197778),
    )
    names = ("name", "level", "object", "final", "currency_code", "spend", "clicks", "ctr")
    shown = ["x", "AD", "Blue (3)", "yes", "USD", "1.50", "12,000", "0.01978"]
    assert [entry_cell(entry, name) for name in names] == shown
    with pytest.raises(CommandError, match="'colour'") as raised:
        chosen_columns("date, colour")
    known = raised.value.advice.removeprefix("choose of ").split(", ")
    assert {"breakdown", "object", "campaign_name", "spend", "delivered", "roas"} <= set(known)
    assert chosen_columns(",".join(known)) == known


def test_rows_that_would_look_alike_say_what_is_apart() -> None:
    """A breakdown is shown where one row has it, and what dates stand for where it differs."""
    whole = Entry(platform="klaviyo", date="2026-01-05", date_basis=DateBasis.DATE_BASIS_SEND)
    part = Entry(platform="klaviyo", breakdown_key="country=DE", date_basis=whole.date_basis)
    event = Entry(platform="klaviyo", date_basis=DateBasis.DATE_BASIS_EVENT)
    assert telling_columns([whole]) == list(DEFAULT_COLUMNS)
    assert telling_columns([whole, part])[4] == "breakdown"
    assert telling_columns([part])[4] == "breakdown"
    assert telling_columns([whole, event])[4] == "date_basis"
    assert entry_cell(part, "breakdown") == "country=DE"


def test_differences_name_what_changed() -> None:
    """A restatement shows the value before and after, amounts in units."""
    before = Entry(metrics=Metrics(spend_micros=1_000_000, clicks=1))
    after = Entry(metrics=Metrics(spend_micros=2_500_000))
    paths = ["metrics.spend_micros", "metrics.clicks"]
    assert differences(before, after, paths) == "spend 1.00 → 2.50, clicks 1 → -"
