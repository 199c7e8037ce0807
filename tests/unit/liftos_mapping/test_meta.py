"""Meta Insights rows."""

import datetime as dt
import time
from typing import Any

import pytest

from liftos_mapping.entry_fields import ENTRY_SCHEMA
from liftos_mapping.errors import RowErrorCode
from liftos_mapping.transform import TransformContext, transform

GOLDEN: dict[str, Any] = {
    "account_id": "1",
    "account_currency": "USD",
    "date_start": "2026-11-01",
    "spend": "1250.50",
    "impressions": "45000",
    "clicks": "890",
    "actions": [{"action_type": "purchase", "value": "23"}],
}


def entry(row: dict[str, Any], context: TransformContext | None = None) -> dict[str, Any]:
    """The one entry of one row."""
    result = transform("meta", [row], context)
    assert result.errors == ()
    [only] = result.table.to_pylist()
    return dict(only)


def code_of(row: dict[str, Any], context: TransformContext | None = None) -> tuple[str, str]:
    """Field and code of the one error of one row."""
    result = transform("meta", [row], context)
    assert result.table.num_rows == 0
    [error] = result.errors
    return error.field, error.code


def test_the_composed_row(meta_row: dict[str, Any]) -> None:
    """Every number of a documented row arrives under its name and unit."""
    result = transform("meta", [meta_row])
    assert result.errors == ()
    assert result.source_index == [0]
    assert result.unmapped_fields == ("attribution_setting", "purchase_roas")
    assert result.table.schema == ENTRY_SCHEMA
    [got] = result.table.to_pylist()
    actions = got.pop("actions")
    assert {name: value for name, value in got.items() if value not in (None, "")} == {
        "date": dt.date(2026, 11, 1),
        "platform": "meta",
        "level": "AD",
        "account_id": "1001",
        "campaign_id": "2001",
        "campaign_name": "Autumn",
        "ad_group_id": "3001",
        "ad_id": "4001",
        "date_basis": "INTERACTION",
        "currency_code": "EUR",
        "spend_micros": 53_390_000,
        "revenue_micros": 212_400_000,
        "impressions": 3613,
        "clicks": 80,
        "link_clicks": 61,
        "conversions_micros": 4_000_000,
        "video_views": 900,
        "reach": 3100,
        "frequency": 1.165484,
    }
    numbers = {
        (a["action_type"], a["window"]): (a["count_micros"], a["value_micros"]) for a in actions
    }
    assert numbers == {
        ("link_click", "default"): (61_000_000, None),
        ("offsite_conversion.fb_pixel_purchase", "default"): (4_000_000, None),
        ("omni_purchase", "1d_view"): (None, 32_400_000),
        ("omni_purchase", "7d_click"): (None, 180_000_000),
        ("omni_purchase", "default"): (4_000_000, 212_400_000),
        ("purchase", "1d_view"): (1_000_000, None),
        ("purchase", "7d_click"): (3_000_000, None),
        ("purchase", "default"): (4_000_000, None),
        ("video_thruplay_watched_actions.video_view", "default"): (120_000_000, None),
    }
    assert list(numbers) == sorted(numbers)


def test_the_golden_figures() -> None:
    """Spend 1250.50 of 45000 impressions, 890 clicks and 23 purchases, as micros and counts."""
    got = entry(GOLDEN)
    assert got["spend_micros"] == 1_250_500_000
    assert (got["impressions"], got["clicks"]) == (45000, 890)
    assert got["conversions_micros"] == 23_000_000
    assert got["level"] == "ACCOUNT"
    assert round(got["spend_micros"] / 1e6 / got["impressions"] * 1000, 4) == 27.7889
    assert round(got["clicks"] / got["impressions"], 7) == 0.0197778


@pytest.mark.parametrize(
    ("types", "chosen"),
    [
        (["purchase", "omni_purchase"], "omni_purchase"),
        (["offsite_conversion.fb_pixel_purchase", "purchase"], "purchase"),
        (["offsite_conversion.fb_pixel_purchase"], "offsite_conversion.fb_pixel_purchase"),
    ],
)
def test_one_purchase_action_is_chosen(types: list[str], chosen: str) -> None:
    """Overlapping purchase actions are chosen by priority, the same one for count and value."""
    numbers = {type_: position + 1 for position, type_ in enumerate(types)}
    actions = [{"action_type": type_, "value": f"{n}.5"} for type_, n in numbers.items()]
    values = [{"action_type": type_, "value": f"{n}0"} for type_, n in numbers.items()]
    got = entry(GOLDEN | {"actions": actions, "action_values": values})
    assert got["conversions_micros"] == numbers[chosen] * 1_000_000 + 500_000
    assert got["revenue_micros"] == numbers[chosen] * 10_000_000


def test_the_priority_can_be_chosen() -> None:
    """A call can name its own actions that count as conversions."""
    actions = [
        {"action_type": "omni_purchase", "value": "9"},
        {"action_type": "lead", "value": "2"},
    ]
    values = [{"action_type": "omni_purchase", "value": "100"}]
    row = GOLDEN | {"actions": actions, "action_values": values}
    got = entry(row, TransformContext(conversion_actions=("lead",)))
    assert got["conversions_micros"] == 2_000_000
    assert got["revenue_micros"] is None


def test_absent_metrics_stay_unset() -> None:
    """What a row does not have is not measured: unset, not zero; a zero stays a zero."""
    row = {key: GOLDEN[key] for key in ("account_id", "account_currency", "date_start")}
    got = entry(row | {"impressions": "0", "actions": [{"action_type": "like", "value": "1"}]})
    assert got["impressions"] == 0
    for name in ("spend_micros", "clicks", "conversions_micros", "revenue_micros", "reach"):
        assert got[name] is None
    assert entry(row)["actions"] is None
    assert entry(row | {"actions": []})["actions"] == []


def test_breakdowns_are_part_of_the_key() -> None:
    """Rows of one day split by breakdowns get different, ordered and escaped keys."""
    row = GOLDEN | {
        "publisher_platform": "facebook",
        "gender": "female",
        "age": "25-34",
        "region": "A&B=C%",
        "image_asset": {"id": "9"},
    }
    got = entry(row)
    assert got["breakdown_key"] == (
        "age=25-34&gender=female&image_asset=9&publisher_platform=facebook&region=A%26B%3DC%25"
    )
    assert got["channel"] == "facebook"
    assert entry(GOLDEN)["breakdown_key"] == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"spend": "1,250.50"}, ("spend", "NOT_A_NUMBER")),
        ({"spend": "-3"}, ("spend", "NEGATIVE")),
        ({"spend": float("nan")}, ("spend", "NOT_FINITE")),
        ({"spend": True}, ("spend", "NOT_A_NUMBER")),
        ({"impressions": "1.5"}, ("impressions", "NOT_WHOLE")),
        ({"clicks": [3]}, ("clicks", "WRONG_SHAPE")),
        ({"account_id": 1001.0}, ("account_id", "INEXACT_ID")),
        ({"account_id": None}, ("account_id", "MISSING")),
        ({"account_currency": "euro"}, ("account_currency", "NOT_TEXT")),
        ({"account_currency": None}, ("account_currency", "MISSING")),
        ({"date_start": "2026-13-01"}, ("date_start", "NOT_A_DATE")),
        ({"date_start": None}, ("date_start", "MISSING")),
        ({"date_stop": "2026-11-07"}, ("date_stop", "NOT_DAILY")),
        ({"ad_id": "4"}, ("campaign_id", "MISSING")),
        ({"actions": {"purchase": "23"}}, ("actions", "WRONG_SHAPE")),
        ({"actions": ["purchase"]}, ("actions", "WRONG_SHAPE")),
        ({"actions": [{"value": "1"}]}, ("actions", "WRONG_SHAPE")),
        ({"actions": [{"action_type": " ", "value": "1"}]}, ("actions", "WRONG_SHAPE")),
        ({"actions": [{"action_type": "\ud800", "value": "1"}]}, ("actions", "NOT_TEXT")),
        (
            {"actions": [{"action_type": "purchase", "value": "2"}] * 2},
            ("actions", "DUPLICATE_ACTION"),
        ),
        (
            {"actions": [{"action_type": "purchase", "value": "2", "default": "2"}]},
            ("actions", "AMBIGUOUS"),
        ),
        (
            {"actions": [{"action_type": "purchase", "value": "two"}]},
            ("actions[purchase].value", "NOT_A_NUMBER"),
        ),
        (
            {"action_values": [{"action_type": "lead", "7d_click": "x"}]},
            ("action_values[lead].7d_click", "NOT_A_NUMBER"),
        ),
        (
            {"outbound_clicks": [{"action_type": "outbound_click", "value": "x"}]},
            ("outbound_clicks[outbound_click].value", "NOT_A_NUMBER"),
        ),
        (
            {"video_play_actions": [{"action_type": "video_view", "value": "1.5"}]},
            ("video_play_actions[video_view].value", "NOT_WHOLE"),
        ),
        ({"age": ["25-34"]}, ("age", "NOT_TEXT")),
    ],
)
def test_bad_values_are_row_errors(change: dict[str, Any], expected: tuple[str, str]) -> None:
    """Each bad value gives exactly one error, at the field that holds it, and no entry."""
    assert code_of(GOLDEN | change) == expected


def test_a_bad_row_does_not_touch_its_neighbours() -> None:
    """Good rows land, with the positions of the rows that they came from."""
    bad_list = [{"action_type": "a", "value": "1"}, {"action_type": "b", "value": "x"}]
    rows: list[object] = [
        GOLDEN,
        GOLDEN | {"spend": "?", "clicks": "?"},
        "not a row",
        GOLDEN | {"actions": None},
        GOLDEN | {"actions": []},
        GOLDEN | {"actions": bad_list},
        GOLDEN | {"actions": []},
        GOLDEN,
    ]
    result = transform("meta", rows)
    assert result.source_index == [0, 3, 4, 6, 7]
    assert [(e.index, e.field, e.code) for e in result.errors] == [
        (1, "spend", RowErrorCode.NOT_A_NUMBER),
        (1, "clicks", RowErrorCode.NOT_A_NUMBER),
        (2, "", RowErrorCode.NOT_AN_OBJECT),
        (5, "actions[b].value", RowErrorCode.NOT_A_NUMBER),
    ]
    assert result.table.column("conversions_micros").to_pylist() == [
        23_000_000,
        None,
        None,
        None,
        23_000_000,
    ]


def test_unknown_fields_are_listed() -> None:
    """Fields that no rule reads are named, also inside the lists of actions."""
    row = GOLDEN | {
        "objective": "OUTCOME_SALES",
        "quality": {"score": 1},
        "actions": [{"action_type": "purchase", "value": "1", "action_device": "desktop"}],
    }
    assert transform("meta", [row]).unmapped_fields == (
        "actions[].action_device",
        "objective",
        "quality",
    )


def test_ten_thousand_rows_take_half_a_second(meta_row: dict[str, Any]) -> None:
    """Ten thousand full rows cost at most half a second of CPU at the best of five tries."""
    rows = [meta_row | {"ad_id": str(n), "spend": f"{n}.07"} for n in range(10_000)]
    durations = []
    for _ in range(5):
        started = time.process_time()
        result = transform("meta", rows)
        durations.append(time.process_time() - started)
    assert result.table.num_rows == 10_000
    assert result.table.column("spend_micros")[9_999].as_py() == 9_999_070_000
    assert min(durations) < 0.5
