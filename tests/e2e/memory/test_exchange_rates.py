"""Exchange rates through the server, on Postgres."""

from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from tests.inprocess.kit.statuses import refusal_of

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1 import source_pb2

Written = tuple[str, str, str]


def _rates(rates: Sequence[Written], source: str = "ECB") -> list[source_pb2.ExchangeRate]:
    return [
        source_pb2.ExchangeRate(currency_code=code, date=day, rate=rate, source=source)
        for code, day, rate in rates
    ]


async def _upsert(
    client: Any, org: str, rates: Sequence[Written], source: str = "ECB", **fields: Any
) -> Any:
    request = pb.UpsertExchangeRatesRequest(
        parent=f"orgs/{org}", exchange_rates=_rates(rates, source), **fields
    )
    return await client.UpsertExchangeRates(request)


async def _list(client: Any, org: str, **fields: Any) -> Any:
    return await client.ListExchangeRates(
        pb.ListExchangeRatesRequest(parent=f"orgs/{org}", **fields)
    )


async def test_rates_come_back_exactly_and_in_order(memory_client: Any, org: str) -> None:
    """Decimals keep all 24 digits, without trailing zeros, by currency and day."""
    client = memory_client(org, "admin")
    await _upsert(
        client,
        org,
        [
            ("GBP", "2026-01-02", "999999999999.123456789012"),
            ("EUR", "2026-01-03", "1.080"),
            ("EUR", "2026-01-01", "0.000000000001"),
            ("JPY", "2026-01-01", "100"),
        ],
    )
    page = await _list(client, org)
    assert [(one.currency_code, one.date, one.rate) for one in page.exchange_rates] == [
        ("EUR", "2026-01-01", "0.000000000001"),
        ("EUR", "2026-01-03", "1.08"),
        ("GBP", "2026-01-02", "999999999999.123456789012"),
        ("JPY", "2026-01-01", "100"),
    ]
    assert {one.source for one in page.exchange_rates} == {"ECB"}
    only = await _list(client, org, currency_code="GBP")
    assert [one.currency_code for one in only.exchange_rates] == ["GBP"]


async def test_same_rates_are_unchanged(memory_client: Any, org: str) -> None:
    """A rate counts as changed when its worth or its source changed, however it is written."""
    client = memory_client(org, "admin")
    first = await _upsert(client, org, [("EUR", "2026-01-01", "1.1"), ("GBP", "2026-01-01", "1.3")])
    assert (first.upserted_count, first.unchanged_count) == (2, 0)
    again = await _upsert(
        client, org, [("EUR", "2026-01-01", "1.1000"), ("GBP", "2026-01-01", "1.31")]
    )
    assert (again.upserted_count, again.unchanged_count) == (1, 1)
    other = await _upsert(client, org, [("EUR", "2026-01-01", "1.1")], source="Fed")
    assert (other.upserted_count, other.unchanged_count) == (1, 0)
    tokens = {first.write_token, again.write_token, other.write_token}
    assert len(tokens) == 3, "each write is a commit of its own"


async def test_pages_are_complete_and_without_doubles(memory_client: Any, org: str) -> None:
    """All rates come once, whatever the page size."""
    client = memory_client(org, "admin")
    written = [
        (code, f"2026-01-{day:02}", f"1.{day}")
        for code in ("CHF", "EUR", "GBP")
        for day in range(1, 8)
    ]
    await _upsert(client, org, written)
    seen: list[Written] = []
    token = ""
    while True:
        page = await _list(client, org, page_size=4, page_token=token)
        seen += [(one.currency_code, one.date, one.rate) for one in page.exchange_rates]
        token = page.next_page_token
        if not token:
            break
        assert len(page.exchange_rates) == 4
    assert seen == written


async def test_rates_belong_to_their_org(memory_client: Any, org: str) -> None:
    """Another org sees none of them."""
    await _upsert(memory_client(org, "admin"), org, [("EUR", "2026-01-01", "1.1")])
    other = f"{org}-other"
    assert not (await _list(memory_client(other, "reader"), other)).exchange_rates


@pytest.mark.parametrize(
    "rates",
    [
        [],
        [("EUR", "2026-01-01", "0")],
        [("EUR", "2026-01-01", "0.0")],
        [("EUR", "2026-01-01", "-1")],
        [("EUR", "2026-01-01", "1.0000000000001")],
        [("EUR", "2026-01-01", "1234567890123")],
        [("EUR", "2026-01-01", "")],
        [("EUR", "2026-02-30", "1")],
        [("EUR", "2026-1-1", "1")],
        [("eur", "2026-01-01", "1")],
        [("ZZZ", "2026-01-01", "1")],
        [("USD", "2026-01-01", "1.1")],
        [("EUR", "2026-01-01", "1"), ("EUR", "2026-01-01", "1")],
        [("GBP", "2026-01-01", "1.3"), ("EUR", "2026-01-01", "0")],
    ],
)
async def test_wrong_rates_are_refused_and_nothing_is_written(
    memory_client: Any, org: str, rates: list[Written]
) -> None:
    """One wrong rate refuses the request as a whole."""
    client = memory_client(org, "admin")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _upsert(client, org, rates)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "exchange_rates" in (refused.value.details() or "")
    assert not (await _list(client, org)).exchange_rates


async def test_a_closed_fence_refuses_rates(memory_client: Any, org: str) -> None:
    """Rates are a write like any other: the org's fence holds for them."""
    client = memory_client(org, "admin")
    await client.SetWriteFence(
        pb.SetWriteFenceRequest(parent=f"orgs/{org}", scope="*", epoch=1, closed=True)
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _upsert(client, org, [("EUR", "2026-01-01", "1.1")])
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_an_old_writer_of_a_scope_writes_no_rates(memory_client: Any, org: str) -> None:
    """A higher epoch takes the scope over; the scope alone can be closed too."""
    client = memory_client(org, "admin")
    fence = {"fence_scope": "migrations/m1"}
    await _upsert(client, org, [("EUR", "2026-01-01", "1.1")], **fence, fencing_epoch=1)
    await _upsert(client, org, [("EUR", "2026-01-01", "1.2")], **fence, fencing_epoch=2)
    for late in (1, None):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _upsert(client, org, [("EUR", "2026-01-01", "1.3")], **fence, fencing_epoch=late)
        assert refusal_of(refused.value).reason == "ERROR_REASON_EPOCH_FENCED"
    await client.SetWriteFence(
        pb.SetWriteFenceRequest(parent=f"orgs/{org}", scope="migrations/m1", epoch=2, closed=True)
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _upsert(client, org, [("EUR", "2026-01-01", "1.3")], **fence, fencing_epoch=2)
    assert refusal_of(refused.value).reason == "ERROR_REASON_FENCE_CLOSED"
    assert [one.rate for one in (await _list(client, org)).exchange_rates] == ["1.2"]


async def test_only_admins_write_rates(memory_client: Any, org: str) -> None:
    """Rates decide what money is worth for everybody."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _upsert(memory_client(org, "writer"), org, [("EUR", "2026-01-01", "1.1")])
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
