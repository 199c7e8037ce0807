"""Klaviyo's messages to rows of a level: sums are exact, people are not summed."""

import datetime as dt
import json
from collections.abc import Iterable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_ingestion.adapters.sources.klaviyo.rows import MessageDay, people, rows_of, total
from liftos_ingestion.source_ports import JsonObject
from liftos_mapping.transform import TransformContext, transform

DAY = dt.date(2026, 11, 1)
CONTEXT = TransformContext(account_id="A", currency_code="EUR", time_zone="UTC")
MONEY = st.integers(0, 10**9).map(lambda cents: cents / 100)


def _rows(level: str, found: Iterable[MessageDay]) -> list[JsonObject]:
    return list(rows_of(level, found))


def message(message_id: str = "M1", **fields: object) -> MessageDay:
    """A message of a flow, or of what is said."""
    given = {"flow_id": "F1", "channel": "email", "statistics": {"delivered": 5.0}} | fields
    return MessageDay(day=DAY, message_id=message_id, **given)  # type: ignore[arg-type]


def test_a_flow_is_the_sum_of_its_messages() -> None:
    """Money is summed as decimals; 0.1 and 0.2 are 0.3."""
    rows = _rows(
        "FLOW",
        [
            message("M1", statistics={"delivered": 5.0, "conversion_value": 0.1}),
            message("M2", statistics={"delivered": 7.0, "conversion_value": 0.2}),
            message("M3", flow_id="", campaign_id="C1"),
        ],
    )
    assert rows == [
        {
            "date": "2026-11-01",
            "groupings": {"flow_id": "F1", "send_channel": "email"},
            "statistics": {"delivered": "12.0", "conversion_value": "0.3"},
        }
    ]


@given(st.lists(MONEY, min_size=1, max_size=20))
def test_sums_are_exact(values: list[float]) -> None:
    """No order and no number of floats adds anything that was not there."""
    assert Decimal(str(total(values))) == sum((Decimal(str(v)) for v in values), Decimal(0))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], 3.0),
        ([None], None),
        ([3.0, None], None),
        ([3.0, "many", None], "many"),
        ([True, 1.0], True),
    ],
)
def test_a_sum_is_no_better_than_its_parts(values: list[object], expected: object) -> None:
    """An unknown part leaves it unknown, and one that is no number is handed on to be refused."""
    assert total(values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [([4.0], 4.0), ([4.0, 0.0], 4.0), ([0.0, 0], 0.0), ([4.0, 1.0], None), ([4.0, None], None)],
)
def test_people_are_known_where_one_count_says_all(values: list[object], expected: object) -> None:
    """Who is counted twice cannot be told from two who are counted once."""
    assert people(values) == expected


@given(
    st.lists(
        st.tuples(st.sampled_from("ABC"), st.sampled_from(["F", ""]), st.integers(0, 50)),
        max_size=12,
        unique=True,
    )
)
def test_levels_agree(found: list[tuple[str, str, int]]) -> None:
    """Campaigns and flows together deliver what their messages do."""
    messages = [
        message(
            f"{owner}{flow}{number}",
            flow_id=f"F{owner}" if flow else "",
            campaign_id="" if flow else f"C{owner}",
            statistics={"delivered": float(number)},
        )
        for owner, flow, number in found
    ]
    sums = {}
    for level in ("MESSAGE", "FLOW", "CAMPAIGN"):
        result = transform("klaviyo", _rows(level, messages), CONTEXT)
        assert result.errors == ()
        assert set(result.table["level"].to_pylist()) <= {level}
        sums[level] = sum(result.table["delivered"].to_pylist())
    assert sums["MESSAGE"] == sums["FLOW"] + sums["CAMPAIGN"]


def test_a_message_that_comes_twice_counts_once() -> None:
    """Pages may overlap; the later answer holds."""
    twice = [message(statistics={"delivered": 5.0}), message(statistics={"delivered": 6.0})]
    (row,) = _rows("FLOW", twice)
    assert row["statistics"] == {"delivered": 6.0}


def test_mixed_channels_have_none() -> None:
    """A campaign of mail and text keeps the texts' spend and is of no single channel."""
    (row,) = _rows(
        "CAMPAIGN",
        [
            message("M1", flow_id="", campaign_id="C1", statistics={"text_message_spend": 0.0}),
            message(
                "M2",
                flow_id="",
                campaign_id="C1",
                channel="sms",
                statistics={"text_message_spend": 1.25},
            ),
        ],
    )
    table = transform("klaviyo", [row], CONTEXT).table
    assert table["spend_micros"].to_pylist() == [1_250_000]
    assert table["channel"].to_pylist() == [None]


def test_orphans_stay_apart() -> None:
    """Messages of unknown campaigns are not summed to one, and can be told apart when refused."""
    rows = _rows("CAMPAIGN", [message("M1", flow_id=""), message("M2", flow_id="")])
    assert len(rows) == 2
    result = transform(
        "klaviyo",
        rows,
        TransformContext(account_id="A", currency_code="EUR", level="CAMPAIGN"),
    )
    assert result.table.num_rows == 0
    assert {error.index for error in result.errors} == {0, 1}


def test_what_is_no_number_can_be_kept() -> None:
    """A row with NaN is refused by the mapping, and is JSON all the same."""
    rows = _rows("MESSAGE", [message(statistics={"delivered": float("nan")})])
    json.dumps(rows, allow_nan=False)
    (error,) = transform("klaviyo", rows, CONTEXT).errors
    assert error.field == "statistics.delivered"
