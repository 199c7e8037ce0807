"""Frames of the client through a real Memory and back."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pandas as pd
import pytest

from liftos.memory.v1.slice_pb2 import ChangeKind
from liftos_client import AsyncUnifiedDataAPI, Client, connect
from liftos_client.errors import FieldInvalidError, FilterInvalidError, NotFoundError
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer


@pytest.fixture
async def client(memory_server: RunningServer, org: str) -> AsyncIterator[Client]:
    """A client of the module's server."""
    token = issue_token(secret=SECRET.encode(), org=org, roles=["admin"], scopes=["memory"])
    async with connect(memory_server.target, token=token) as client:
        yield client


def _frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "date": pd.date_range("2026-01-05", periods=4),
            "platform": ["meta", "meta", "google_ads", "meta"],
            "level": "campaign",
            "account_id": ["7", "7", "8", ""],
            "campaign_id": [1, 2, 3, 4],
            "currency_code": "EUR",
            "time_zone": "Europe/Berlin",
            "impressions": [1_000, 2_000, None, 10],
            "clicks": [10, 20, None, 1],
            "spend": [Decimal("1.10"), "2.2000005", 3.3, 0],
        }
    )


async def test_a_frame_comes_back_as_it_was_written(client: Client) -> None:
    """Money is exact, missing stays missing, and a refused row is named by its place."""
    written = await client.memory.upsert_frame(_frame(), origin="notebook/1")
    assert (written.row_count, written.upserted_count, written.refused_count) == (4, 3, 1)
    assert {(refused.row, refused.error.field) for refused in written.item_errors} == {
        (3, "account_id")
    }
    api = AsyncUnifiedDataAPI(client)
    frame = await api.query("2026-01-05", "2026-01-08", at_least_as_fresh=written)
    assert frame["period_start_date"].dt.strftime("%d").tolist() == ["05", "06", "07"]
    assert frame["spend"].tolist() == [1.1, 2.2, 3.3]
    assert frame["clicks"].isna().tolist() == [False, False, True]
    assert frame["ctr"].tolist()[:2] == [0.01, 0.01]
    micros = await client.memory.query_metrics_frame(
        "2026-01-05", "2026-01-08", level="CAMPAIGN", group_by=["platform"]
    )
    # 2.2000005 is a tie at the seventh place, and rounds to the even micro.
    assert dict(zip(micros["platform"], micros["spend_micros"], strict=True)) == {
        "google_ads": 3_300_000,
        "meta": 3_300_000,
    }
    rows = await client.memory.query_metrics(
        "2026-01-05", "2026-01-08", level="CAMPAIGN", group_by=["platform"]
    ).collect()
    assert [row.metrics.spend_micros for row in rows] == [3_300_000, 3_300_000]


async def test_the_same_frame_again_changes_nothing(client: Client) -> None:
    """Writing is harmless to repeat."""
    await client.memory.upsert_frame(_frame(), origin="notebook/1")
    again = await client.memory.upsert_frame(_frame(), origin="notebook/1")
    assert (again.upserted_count, again.unchanged_count, again.refused_count) == (0, 3, 1)


async def test_errors_of_the_service_are_typed(client: Client) -> None:
    """What the real server refuses arrives with its class and its details."""
    with pytest.raises(NotFoundError) as missing:
        await client.memory.get_entry("20260105-" + "0" * 32)
    assert missing.value.metadata["resource_name"].startswith("orgs/")
    with pytest.raises(FilterInvalidError):
        await client.memory.list_entries(filter="clicks >").collect()
    with pytest.raises(FieldInvalidError) as invalid:
        await client.memory.query_metrics_frame("2026-01-09", "2026-01-05", level="AD")
    assert "date_range" in {violation.field for violation in invalid.value.field_violations}


async def test_a_watch_sees_what_is_written(client: Client) -> None:
    """Changes come in commit order through the client's own watch."""
    await client.memory.upsert_frame(_frame(), origin="notebook/1")
    seen = []
    async for answer in client.memory.watch_entries(resume_token="begin"):
        seen += [change.kind for change in answer.changes]
        if len(seen) == 3:
            break
    assert seen == [ChangeKind.CHANGE_KIND_INSERTED] * 3
