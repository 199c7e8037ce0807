"""The module's own pulls from simulated platforms."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from tests.e2e.causal.asking import code_and_text
from tests.e2e.causal.conftest import StubClient

from liftos.causal.v1 import causal_pb2, causal_service_pb2, causal_service_pb2_grpc
from liftos.common.v1.marketing_pb2 import DateRange
from liftos_causal.server import application
from liftos_causal.settings import CausalSettings
from liftos_kit.server import Server
from liftos_kit.testing.server import authorization
from liftos_platforms.google_ads.face import GoogleAdsFace
from liftos_platforms.testing import HOST, Platforms, running_platforms
from liftos_platforms.truth import Level, Metric, Platform

_ORG = "pulled"
_PARENT = f"orgs/{_ORG}"
_FIRST = date(2026, 6, 1)
_DAYS = DateRange(start_date="2026-06-01", end_date="2026-06-07")
_ACCOUNTS = {Platform.META: "1001", Platform.GOOGLE_ADS: "1112223331"}


@pytest.fixture(scope="module")
async def platforms() -> AsyncIterator[Platforms]:
    """Meta and Google Ads."""
    async with running_platforms(Platform.META, Platform.GOOGLE_ADS) as running:
        yield running


@pytest.fixture(scope="module")
async def pulled(
    platforms: Platforms, settings: CausalSettings, admin: asyncpg.Connection
) -> AsyncIterator[Callable[..., Any]]:
    """Clients of a service that reads those platforms, for an org with one account of each."""
    google = platforms.faces[Platform.GOOGLE_ADS]
    assert isinstance(google, GoogleAdsFace)
    for platform, account_id in (("meta", "act_1001"), ("google_ads", "1112223331")):
        await admin.execute(
            "insert into platform_accounts (org_id, platform, account_id, currency)"
            " values ($1, $2, $3, 'USD')",
            _ORG,
            platform,
            account_id,
        )
    given = settings.model_dump() | {
        "meta_url": platforms.url(Platform.META),
        "meta_token": platforms.token(Platform.META, _ACCOUNTS[Platform.META]),
        "google_ads_url": f"http://{HOST}:{google.rest_port}",
        "google_ads_refresh_token": platforms.token(Platform.GOOGLE_ADS),
        "google_ads_client_id": "123456789012-web.apps.googleusercontent.com",
        "google_ads_client_secret": "GOCSPX-of-the-module",
        "google_ads_developer_token": "AbCdEfGhIjKlMnOpQrStUv",
        "google_ads_login_customer_id": "9000000001",
    }
    server = Server(application(CausalSettings(**given)))
    try:
        await server.start()
        async with grpc.aio.insecure_channel(f"{settings.host}:{server.port}") as channel:
            stub = causal_service_pb2_grpc.CausalServiceStub(channel)
            yield lambda: StubClient(stub, authorization(_ORG, roles=("writer",)))
    finally:
        await server.drain()


def _request(**changes: Any) -> causal_service_pb2.SyncPlatformsRequest:
    return causal_service_pb2.SyncPlatformsRequest(
        **{
            "parent": _PARENT,
            "date_range": _DAYS,
            "sync_type": causal_pb2.SYNC_TYPE_FULL,
            "request_id": str(uuid4()),
            **changes,
        }
    )


async def _ended(client: StubClient, name: str) -> causal_pb2.PlatformSync:
    async with asyncio.timeout(30):
        while True:
            answer = await client.GetPlatformSync(
                causal_service_pb2.GetPlatformSyncRequest(name=name)
            )
            sync: causal_pb2.PlatformSync = answer.platform_sync
            if sync.state != causal_pb2.SYNC_STATE_RUNNING:
                return sync
            await asyncio.sleep(0.05)


async def test_a_sync_stores_what_platforms_know(
    pulled: Callable[..., Any], platforms: Platforms, admin: asyncpg.Connection
) -> None:
    """Spend by platform equals the truth to the unit that the platform tells; twice is once."""
    request = _request()
    begun = (await pulled().SyncPlatforms(request)).platform_sync
    assert (await pulled().SyncPlatforms(request)).platform_sync.name == begun.name
    for name in (begun.name, (await pulled().SyncPlatforms(_request())).platform_sync.name):
        sync = await _ended(pulled(), name)
        assert sync.state == causal_pb2.SYNC_STATE_SUCCEEDED, sync
        assert all(each.row_count > 0 for each in sync.platforms)
    found = await admin.fetch(
        "select platform, sum(spend)::float8 as spend from clean_performance"
        " where org_id = $1 group by platform",
        _ORG,
    )
    rolled_up = await admin.fetch(
        "select platform, sum(spend)::float8 as spend from channel_daily"
        " where org_id = $1 group by platform",
        _ORG,
    )
    assert sorted(map(tuple, found)) == sorted(map(tuple, rolled_up))
    for platform, account_id in _ACCOUNTS.items():
        spent = sum(
            row.metrics.get(Metric.SPEND_MICROS, 0)
            for day in range(7)
            for row in platforms.simulation.rows(
                platform, account_id, level=Level.CAMPAIGN, day=_FIRST + timedelta(days=day)
            )
        )
        stored = {row["platform"]: row["spend"] for row in found}[platform.value]
        # Meta tells cents.
        assert stored == pytest.approx(spent / 1e6, abs=0.5)


async def test_a_platform_that_refuses_is_told_apart(
    causal: Callable[..., Any], admin: asyncpg.Connection
) -> None:
    """A service without credentials says which it needs, and keeps nothing."""
    before = await admin.fetchval("select count(*) from campaign_performance")
    request = _request(parent="orgs/acme", platforms=["meta"])
    begun = (await causal("writer").SyncPlatforms(request)).platform_sync
    sync = await _ended(causal("writer"), begun.name)
    assert sync.state == causal_pb2.SYNC_STATE_FAILED
    assert "set LIFTOS_META_TOKEN" in sync.platforms[0].error
    assert await admin.fetchval("select count(*) from campaign_performance") == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"platforms": ["tiktok"]}, "tiktok cannot be read; google_ads, meta can"),
        ({"date_range": None}, "a full sync needs days"),
    ],
)
async def test_what_cannot_be_read_is_refused(
    causal: Callable[..., Any], changes: dict[str, Any], reason: str
) -> None:
    """Before anything begins."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await causal("writer").SyncPlatforms(_request(parent="orgs/acme", **changes))
    code, text = code_and_text(refused.value)
    assert (code, reason in text) == (grpc.StatusCode.INVALID_ARGUMENT, True), text
