"""The connectors by the rules that every source keeps, against the simulated platforms."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final

import pytest
from tests.e2e.ingestion.platform_worker import WorldClock

from liftos_ingestion.adapters.sources.google_ads import GoogleAdsSource
from liftos_ingestion.adapters.sources.klaviyo import KlaviyoSource
from liftos_ingestion.adapters.sources.meta import MetaSource
from liftos_ingestion.source_ports import JsonObject, PlatformSource
from liftos_ingestion.testing.source_conformance import (
    PlatformFault,
    RecordedCall,
    SourceConformance,
    SourceUnderTest,
)
from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.google_ads.face import GoogleAdsFace
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import Platforms, running_platforms
from liftos_platforms.truth import Platform
from liftos_platforms.worlds import WorldPlan

ACCOUNTS: Final[Mapping[Platform, str]] = MappingProxyType(
    {
        Platform.META: "1001",
        Platform.GOOGLE_ADS: "1112223331",
        Platform.KLAVIYO: "KLvEU1",
    }
)
FIRST = date(2026, 8, 3)
LAST = date(2026, 8, 4)
SMALL = WorldPlan(campaigns=3, ad_groups=2, ads=3, sends=130, flows=2)
_TIMEOUT_SECONDS = 1.0

_HTTP_FAULTS: Final[Mapping[PlatformFault, FaultKind]] = {
    PlatformFault.UNAVAILABLE: FaultKind.SERVICE_UNAVAILABLE,
    PlatformFault.GARBLED: FaultKind.ANSWER_IS_HTML,
    PlatformFault.TRUNCATED: FaultKind.ANSWER_CUT_OFF,
    PlatformFault.SILENT: FaultKind.ANSWER_NEVER_COMES,
}
FAULTS: Final[Mapping[Platform, Mapping[PlatformFault, FaultKind]]] = MappingProxyType(
    {
        Platform.META: {
            **_HTTP_FAULTS,
            PlatformFault.REJECTED: FaultKind.TOKEN_EXPIRED,
            PlatformFault.LIMITED: FaultKind.ACCOUNT_LIMITED,
        },
        Platform.GOOGLE_ADS: {
            PlatformFault.UNAVAILABLE: FaultKind.UNAVAILABLE_AT_START,
            PlatformFault.REJECTED: FaultKind.ACCESS_REVOKED,
            PlatformFault.LIMITED: FaultKind.QUOTA_TEMPORARILY_EXHAUSTED,
            PlatformFault.TRUNCATED: FaultKind.UNAVAILABLE_MID_STREAM,
            PlatformFault.SILENT: FaultKind.STREAM_HANGS,
        },
        Platform.KLAVIYO: {
            **_HTTP_FAULTS,
            PlatformFault.REJECTED: FaultKind.KEY_REJECTED,
            PlatformFault.LIMITED: FaultKind.STEADY_LIMITED,
        },
    }
)
"""What each platform has of the ways in which platforms fail."""

READING_CALLS: Final[Mapping[Platform, tuple[str, ...]]] = MappingProxyType(
    {
        Platform.META: ("insights_submit",),
        Platform.GOOGLE_ADS: ("token", "list_accessible_customers", "search_stream"),
        Platform.KLAVIYO: (
            "campaign-values-reports",
            "flow-values-reports",
            "flow-series-reports",
            "metric-aggregates",
        ),
    }
)
"""Calls that are no GET: reports that are ordered, queries, and tokens."""


def source_of(platform: Platform, platforms: Platforms) -> PlatformSource:
    """The connector of a simulated platform."""
    url = platforms.url(platform)
    match platform:
        case Platform.META:
            clock = WorldClock(platforms.simulation.clock)
            return MetaSource(url, version="v26.0", timeout_seconds=_TIMEOUT_SECONDS, clock=clock)
        case Platform.GOOGLE_ADS:
            face = platforms.faces[platform]
            assert isinstance(face, GoogleAdsFace)
            token_url = f"http://127.0.0.1:{face.rest_port}/token"
            address = url.removeprefix("http://")
            return GoogleAdsSource(
                address, plaintext=True, token_url=token_url, timeout_seconds=_TIMEOUT_SECONDS
            )
        case Platform.KLAVIYO:
            return KlaviyoSource(url, revision="2026-10-15", timeout_seconds=_TIMEOUT_SECONDS)


def connection_of(platform: Platform, platforms: Platforms) -> tuple[Mapping[str, str], JsonObject]:
    """A credential that the platform takes, and settings."""
    match platform:
        case Platform.META:
            return {"access_token": platforms.token(platform, ACCOUNTS[platform])}, {}
        case Platform.GOOGLE_ADS:
            credential = {
                "client_id": "123456789012-web.apps.googleusercontent.com",
                "client_secret": "GOCSPX-simulated",
                "refresh_token": platforms.token(platform),
            }
            return credential, {"access_level": "basic", "login_customer_id": "900-000-0001"}
        case Platform.KLAVIYO:
            return {"api_key": platforms.token(platform, ACCOUNTS[platform])}, {}


class TestConnectors(SourceConformance):
    """Meta, Google Ads and Klaviyo."""

    @pytest.fixture(params=list(Platform))
    async def subject(self, request: pytest.FixtureRequest) -> AsyncIterator[SourceUnderTest]:
        """A connector, and a small world behind it in which nothing changes any more."""
        platform: Platform = request.param
        simulation = Simulation.of(SMALL)
        journal = simulation.journal

        def calls() -> list[RecordedCall]:
            return [
                RecordedCall(it.method, it.call.endpoint)
                for it in journal.calls(platform, with_polls=True)
            ]

        def rest() -> None:
            if platform is Platform.KLAVIYO:
                simulation.clock.advance(timedelta(minutes=1))

        @contextmanager
        def broken(fault: PlatformFault) -> Iterator[None]:
            simulation.faults.add(Fault(FAULTS[platform][fault], platform, times=None))
            yield
            simulation.faults.clear()

        async with running_platforms(platform, simulation=simulation) as platforms:
            credential, settings = connection_of(platform, platforms)
            yield SourceUnderTest(
                source=source_of(platform, platforms),
                credential=credential,
                settings=settings,
                account_id=ACCOUNTS[platform],
                start_date=FIRST,
                end_date=LAST,
                calls=calls,
                broken=broken,
                faults=tuple(FAULTS[platform]),
                reading_calls=READING_CALLS[platform],
                rest=rest,
            )
