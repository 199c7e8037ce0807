"""Which entries a panel is made of, and on which days accounts were connected."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftos_kit.core.errors import DataInsufficientError, InvalidFieldsError
from liftos_kit.core.filters import parse_filter
from liftos_memory.domain.dataset_request import ACCOUNT_UNIT, DatasetFormat, DatasetRequest
from liftos_memory.domain.entry_filter import ENTRY_FILTER_FIELDS
from liftos_memory.domain.panel_accounts import (
    SURVEY_COLUMNS,
    Days,
    Series,
    choose_series,
    connected_days,
    runs,
)

DAY = date(2025, 3, 3)
META = Series("meta", "a1", "CAMPAIGN", "", "INTERACTION", "")


def _request(**fields: Any) -> DatasetRequest:
    return DatasetRequest(DAY, DAY, DatasetFormat.LONG, **fields)


def _survey(*rows: dict[str, Any]) -> pd.DataFrame:
    base: dict[str, Any] = {
        "platform": "meta",
        "account_id": "a1",
        "level": "CAMPAIGN",
        "attribution_key": "",
        "date_basis": "INTERACTION",
        "breakdown": "",
        "currency_code": "EUR",
        "time_zone": "",
        "date": DAY,
        "entry_count": 1,
        "matching_count": 1,
        "kpi_count": 0,
    }
    frame = pd.DataFrame([base | row for row in rows], columns=list(SURVEY_COLUMNS))
    frame["date"] = pd.to_datetime(frame["date"])
    return frame


SHOP: dict[str, Any] = {
    "platform": "commerce",
    "account_id": "shop",
    "level": "OUTCOME",
    "date_basis": "EVENT",
    "kpi_count": 1,
}


def test_each_account_is_read_at_one_level() -> None:
    """The first level of the request at which it has entries that the filter takes."""
    survey = _survey(
        SHOP,
        {"level": "AD"},
        {},
        {"account_id": "a2", "level": "AD"},
        {"account_id": "a3", "level": "CAMPAIGN", "matching_count": 0},
        {"account_id": "a3", "level": "AD"},
    )
    chosen = {one.account_id: one.level for one in choose_series(survey, _request())}
    assert chosen == {"a1": "CAMPAIGN", "a2": "AD", "a3": "AD", "shop": "OUTCOME"}
    chosen_ad = choose_series(survey, _request(levels=("AD", "CAMPAIGN")))
    assert {one.level for one in chosen_ad} == {"AD", "OUTCOME"}


@pytest.mark.parametrize(
    ("rows", "field", "words"),
    [
        ([{"attribution_key": "7d_click"}], "filter", 'attribution_key = "7d_click"'),
        ([{"date_basis": "CONVERSION"}], "filter", "date_basis = CONVERSION"),
        (
            [SHOP | {"platform": "shopify"}],
            "kpi_filter",
            'platform = "commerce"',
        ),
        ([SHOP | {"date_basis": "CONVERSION"}], "kpi_filter", "date_basis"),
    ],
)
def test_what_would_count_twice_is_refused(
    rows: list[dict[str, Any]], field: str, words: str
) -> None:
    """The answer says how to choose."""
    with pytest.raises(InvalidFieldsError) as caught:
        choose_series(_survey(SHOP, {}, *rows), _request())
    (violation,) = caught.value.violations
    assert violation.field == field
    assert words in violation.description


def test_several_shops_are_summed_once_somebody_says_so() -> None:
    """A filter that names them is the choice."""
    survey = _survey(SHOP, SHOP | {"platform": "shopify"}, {})
    where = parse_filter('platform = "shopify" OR platform = "commerce"', ENTRY_FILTER_FIELDS)
    chosen = choose_series(survey, _request(kpi_where=where))
    assert [one.platform for one in chosen] == ["commerce", "meta", "shopify"]


def test_breakdowns() -> None:
    """Totals before parts; parts of one kind are summed; a unit needs its breakdown."""
    parts = {"breakdown": "country"}
    ages = {"breakdown": "age"}

    def names(unit: str, *rows: dict[str, Any]) -> str:
        shop = SHOP | ({"breakdown": unit} if unit else {})
        chosen = choose_series(_survey(shop, *rows), _request(unit=unit))
        return next(one.breakdown for one in chosen if one.platform == "meta")

    assert names("", {}, parts, ages) == ""
    assert names("", parts) == "country"
    assert names("country", {}, parts, ages) == "country"
    assert names("country", {}, {"breakdown": "age&country"}) == "age&country"
    for unit, rows in (("", (parts, ages)), ("country", ({}, ages))):
        with pytest.raises(InvalidFieldsError, match="by"):
            names(unit, *rows)


def test_accounts_are_no_units_where_shops_do_not_advertise() -> None:
    """The answer names both, and what to take in their place."""
    with pytest.raises(InvalidFieldsError) as caught:
        choose_series(_survey(SHOP, {}), _request(unit=ACCOUNT_UNIT))
    (violation,) = caught.value.violations
    assert violation.field == "unit"
    assert "the shop's are shop, those that advertise a1;" in violation.description
    chosen = choose_series(_survey(SHOP | {"account_id": "a1"}, {}), _request(unit=ACCOUNT_UNIT))
    assert {one.account_id for one in chosen} == {"a1"}


def test_nothing_to_do_or_nothing_to_explain() -> None:
    """Both are needed."""
    with pytest.raises(DataInsufficientError, match="treatments"):
        choose_series(_survey(SHOP), _request())
    with pytest.raises(DataInsufficientError, match="revenue"):
        choose_series(_survey({}), _request())


def _slices(*rows: tuple[date, date, int]) -> pd.DataFrame:
    columns = [
        *("platform", "account_id", "level", "attribution_key", "date_basis"),
        *("start_date", "end_date", "version"),
    ]
    return pd.DataFrame(
        [("meta", "a1", "CAMPAIGN", "", "INTERACTION", *row) for row in rows],
        columns=columns,
        dtype=object,
    )


def _removals(*rows: tuple[date, int]) -> pd.DataFrame:
    return pd.DataFrame(
        [("meta", "a1", "CAMPAIGN", *row) for row in rows],
        columns=["platform", "account_id", "level", "date", "version"],
        dtype=object,
    )


def test_entries_and_slices_connect_and_removals_do_not() -> None:
    """A day has an entry, or a slice since it was last emptied."""
    day = [date(2025, 3, number) for number in range(3, 10)]
    survey = _survey(
        {"date": day[0], "matching_count": 0},
        {"date": day[6], "level": "ACCOUNT"},
        {"date": day[5], "account_id": "a2"},
    )
    slices = _slices((date(2025, 3, 1), day[2], 4), (day[4], date(2025, 4, 1), 9))
    removals = _removals((day[1], 5), (day[2], 3), (day[4], 8))
    connected = connected_days(META, survey, slices, removals, Days(day[0], 7))
    assert connected.tolist() == [True, False, True, False, True, True, True]
    nothing = connected_days(META, survey[:0], _slices(), _removals(), Days(day[0], 7))
    assert not nothing.any()


def test_runs() -> None:
    """Places that follow one another, each once."""
    assert list(runs([])) == []
    assert list(runs(np.array([1, 2, 3, 5, 7, 8]).tolist())) == [(1, 3), (5, 5), (7, 8)]
