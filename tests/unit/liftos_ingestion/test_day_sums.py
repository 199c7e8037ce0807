"""Sums of a lane by day: every row once, on however many pages it comes."""

from datetime import date, timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from liftos_ingestion.domain.day_sums import DaySums, last_of_each, row_keys
from liftos_mapping.engine import TransformContext, evaluate
from liftos_mapping.platforms import platform_mapping

DAY = date(2026, 3, 2)

_rows = st.tuples(st.integers(0, 30), st.integers(0, 2))


def _page(rows: list[tuple[int, int]]) -> pa.Table:
    raw = [
        {
            "account_id": "7",
            "campaign_id": f"{campaign}",
            "date_start": f"{DAY + timedelta(days=day)}",
            "date_stop": f"{DAY + timedelta(days=day)}",
            "clicks": f"{1 + campaign}",
        }
        for campaign, day in rows
    ]
    context = TransformContext(account_id="7", level="CAMPAIGN", date_basis="INTERACTION")
    return evaluate(platform_mapping("meta"), raw, context).table


@given(st.lists(st.lists(_rows, min_size=1, max_size=12), min_size=1, max_size=12))
def test_a_row_counts_once(pages: list[list[tuple[int, int]]]) -> None:
    """Also where it comes again on the same page, or on a page that is not the next one."""
    sums = DaySums()
    for rows in pages:
        table = _page(rows)
        keys = row_keys(table)
        kept = last_of_each(keys)
        sums.add(table.filter(pa.array(kept)), keys[kept])
    expected: dict[date, dict[str, int]] = {}
    for campaign, day in {it for rows in pages for it in rows}:
        of_day = expected.setdefault(DAY + timedelta(days=day), {"clicks": 0})
        of_day["clicks"] += 1 + campaign
    assert sums.by_day() == expected
