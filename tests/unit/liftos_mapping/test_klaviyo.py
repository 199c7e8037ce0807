"""Klaviyo campaign and flow reports."""

import datetime as dt
from typing import Any

import pytest

from liftos_mapping.errors import RowErrorCode
from liftos_mapping.transform import TransformContext, transform

CONTEXT = TransformContext(
    account_id="AbC123", currency_code="EUR", time_zone="Europe/Paris", date="2026-11-01"
)
DATES = ["2026-11-01T00:00:00+00:00", "2026-11-02T00:00:00+00:00"]


def flow_row(**statistics: list[object]) -> dict[str, Any]:
    """One result of a flow-series-report."""
    groupings = {"flow_id": "F1", "flow_message_id": "M1", "send_channel": "sms"}
    return {"groupings": groupings, "statistics": statistics}


def entries(row: dict[str, Any], context: TransformContext = CONTEXT) -> list[dict[str, Any]]:
    """The entries of one row, without what is unset."""
    result = transform("klaviyo", [row], context)
    assert result.errors == ()
    assert set(result.source_index) == {0}
    return [
        {name: value for name, value in entry.items() if value not in (None, "")}
        for entry in result.table.to_pylist()
    ]


def test_the_composed_campaign_row(klaviyo_row: dict[str, Any]) -> None:
    """A campaign message of the report's day, by the day of sending; e-mail spend stays unset."""
    assert entries(klaviyo_row) == [
        {
            "date": dt.date(2026, 11, 1),
            "platform": "klaviyo",
            "level": "MESSAGE",
            "account_id": "AbC123",
            "campaign_id": "01G",
            "message_id": "01H",
            "date_basis": "SEND",
            "channel": "email",
            "currency_code": "EUR",
            "time_zone": "Europe/Paris",
            "revenue_micros": 640_500_000,
            "sent": 5000,
            "unique_opened": 1210,
        }
    ]


def test_every_statistic_has_its_column(klaviyo_row: dict[str, Any]) -> None:
    """Each statistic arrives under one name; rates are listed and not stored."""
    klaviyo_row["statistics"] = {
        "recipients": 1.0,
        "delivered": 2.0,
        "opens": 3.0,
        "opens_unique": 4.0,
        "clicks": 5.0,
        "clicks_unique": 6.0,
        "bounced": 7.0,
        "spam_complaints": 8.0,
        "unsubscribes": 9.0,
        "conversions": 10.0,
        "conversion_value": 11.5,
        "open_rate": 0.3,
    }
    [got] = entries(klaviyo_row)
    names = (
        "sent delivered opened unique_opened clicked unique_clicked bounced spam_complaints"
        " unsubscribed conversions_micros revenue_micros"
    )
    assert [got[name] for name in names.split()] == [
        *range(1, 10),
        10_000_000,
        11_500_000,
    ]
    assert transform("klaviyo", [klaviyo_row], CONTEXT).unmapped_fields == ("statistics.open_rate",)


def test_a_text_message_that_fails_counts_as_bounced(klaviyo_row: dict[str, Any]) -> None:
    """Text messages fail and never bounce; what did not arrive is one column for all channels."""
    klaviyo_row["groupings"]["send_channel"] = "sms"
    klaviyo_row["statistics"] = {"bounced": 0.0, "failed": 8.0, "bounced_or_failed": 8.0}
    [got] = entries(klaviyo_row)
    assert got["bounced"] == 8


def test_the_golden_figures_in_a_flat_row() -> None:
    """15000 delivered, 4500 opened and 675 clicked of an already flattened row."""
    row = {
        "campaign_id": "01G",
        "campaign_message_id": "01H",
        "send_channel": "email",
        "date": "2026-11-01",
        "delivered": 15000,
        "opened": "4500",
        "clicked": 675.0,
    }
    [got] = entries(row)
    assert got["level"] == "MESSAGE"
    assert got["clicked"] / got["delivered"] == 0.045
    assert got["opened"] / got["delivered"] == 0.3
    dotted = {"groupings.campaign_id": "01G", "statistics.delivered": 15000.0}
    [got] = entries(dotted)
    assert (got["level"], got["delivered"]) == ("CAMPAIGN", 15000)


@pytest.mark.parametrize("on_the_row", [True, False])
def test_flow_series_give_a_row_a_day(*, on_the_row: bool) -> None:
    """Lists of values become days, with the dates from the row or from the call."""
    row = flow_row(opens=[12, 9.0], conversion_value=[0.0, 19.9], text_message_spend=[1.25, 0])
    context = CONTEXT
    if on_the_row:
        row["date_times"] = DATES
    else:
        context = TransformContext(
            account_id="AbC123", currency_code="EUR", date_times=tuple(DATES)
        )
    first, second = entries(row, context)
    assert (first["date"], second["date"]) == (dt.date(2026, 11, 1), dt.date(2026, 11, 2))
    assert (first["opened"], second["opened"]) == (12, 9)
    assert (first["revenue_micros"], second["revenue_micros"]) == (0, 19_900_000)
    assert (first["spend_micros"], second["spend_micros"]) == (1_250_000, 0)
    assert first["level"] == "MESSAGE"
    assert (first["flow_id"], first["message_id"]) == ("F1", "M1")
    assert "campaign_id" not in first


def test_one_bad_day_leaves_the_others() -> None:
    """A bad value costs its own day only; its place in the series is in the error."""
    row = flow_row(opens=[12, 9.5]) | {"date_times": DATES}
    result = transform("klaviyo", [{}, row], CONTEXT)
    good = transform("klaviyo", [row], CONTEXT)
    assert good.table.column("opened").to_pylist() == [12]
    [error] = good.errors
    assert (error.index, error.field, error.code) == (
        0,
        "statistics.opens[1]",
        RowErrorCode.NOT_WHOLE,
    )
    assert result.source_index == [0, 1]


@pytest.mark.parametrize(
    ("row", "field", "code"),
    [
        (flow_row(opens=[1]), "date_times", RowErrorCode.MISSING),
        (flow_row(opens=[1]) | {"date_times": DATES}, "statistics.opens", "SERIES_LENGTH"),
        (
            {"statistics": {"opens": [1, 2], "clicks": 3}, "date_times": DATES},
            "statistics.clicks",
            RowErrorCode.WRONG_SHAPE,
        ),
        ({"statistics": {"recipients": 5000.5}}, "statistics.recipients", "NOT_WHOLE"),
        (
            {"statistics": {"text_message_spend": 2.0}, "groupings": {"send_channel": "email"}},
            "statistics.text_message_spend",
            RowErrorCode.CONTRADICTION,
        ),
    ],
)
def test_bad_rows(row: dict[str, Any], field: str, code: RowErrorCode) -> None:
    """Each fault gives one error at its path and no entry."""
    result = transform("klaviyo", [row], CONTEXT)
    assert result.table.num_rows == 0
    assert [(error.index, error.field, error.code) for error in result.errors] == [(0, field, code)]


def test_spend_is_for_text_messages_only(klaviyo_row: dict[str, Any]) -> None:
    """A filled-in zero of an e-mail is no measured spend; a text message's zero is one."""
    klaviyo_row["statistics"]["text_message_spend"] = 0.0
    assert "spend_micros" not in entries(klaviyo_row)[0]
    klaviyo_row["groupings"]["send_channel"] = "sms"
    assert entries(klaviyo_row)[0]["spend_micros"] == 0


def test_variations_split_a_message(klaviyo_row: dict[str, Any]) -> None:
    """Further groupings are a part of the key."""
    klaviyo_row["groupings"]["variation"] = "B"
    assert entries(klaviyo_row)[0]["breakdown_key"] == "variation=B"


def test_the_date_basis_can_be_event(klaviyo_row: dict[str, Any]) -> None:
    """Numbers of metric aggregates are dated by the event and must not replace others."""
    context = TransformContext(
        account_id="K", currency_code="EUR", date=dt.date(2026, 11, 1), date_basis="EVENT"
    )
    assert entries(klaviyo_row, context)[0]["date_basis"] == "EVENT"
