"""The official SDK, unmodified, over TLS and with refreshed tokens, reads the simulator."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.google_ads.face import GoogleAdsFace
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import Level, Metric, Platform
from liftos_platforms.worlds import WorldPlan, token_of

_PROGRAM = Path(__file__).with_name("google_ads_sdk_program.py")
_MANAGER = "9000000001"
_CUSTOMER = "1112223331"
_FIRST, _LAST = date(2026, 11, 1), date(2026, 11, 7)
_CAMPAIGNS = (
    "SELECT customer.id, campaign.id, campaign.name, campaign.status, segments.date, "
    "metrics.cost_micros, metrics.impressions, metrics.clicks, metrics.conversions, "
    "metrics.conversions_value FROM campaign "
    f"WHERE segments.date BETWEEN '{_FIRST}' AND '{_LAST}'"
)
_ADS = (
    "SELECT campaign.id, ad_group.id, ad_group_ad.ad.id, ad_group_ad.ad.name, segments.date, "
    "metrics.cost_micros, metrics.impressions, metrics.clicks, metrics.conversions, "
    "metrics.conversions_value FROM ad_group_ad "
    f"WHERE segments.date BETWEEN '{_FIRST}' AND '{_LAST}' ORDER BY segments.date"
)


@dataclass(frozen=True)
class _Stage:
    simulation: Simulation
    face: GoogleAdsFace
    roots: Path

    async def run(self, mode: str, *cases: dict[str, str]) -> list[dict[str, Any]]:
        """Run cases through the SDK in a process that trusts the face."""
        asked = {
            "mode": mode,
            "endpoint": f"localhost:{self.face.port}",
            "token_uri": f"http://127.0.0.1:{self.face.rest_port}/token",
            "refresh_token": token_of(7, Platform.GOOGLE_ADS),
            "login_customer_id": _MANAGER,
            "developer_token": None if mode == "sync" else "ignored since it was retired",
            "cases": cases,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_PROGRAM),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self.roots)},
        )
        output, errors = await process.communicate(json.dumps(asked).encode())
        assert process.returncode == 0, errors.decode()
        outcomes: list[dict[str, Any]] = json.loads(output)
        return outcomes


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[_Stage]:
    """A face that speaks TLS, with small pages."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    roots = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    simulation = Simulation.of(WorldPlan())
    face = GoogleAdsFace(
        simulation,
        page_rows=10,
        credentials=grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)]),
    )
    await face.start("localhost", 0)
    yield _Stage(simulation, face, roots)
    await face.stop()


def _case(call: str, query: str = "", customer_id: str = _CUSTOMER) -> dict[str, str]:
    return {"call": call, "customer_id": customer_id, "query": query}


def _expected(simulation: Simulation, level: Level) -> list[tuple[object, ...]]:
    days = ((_FIRST + timedelta(days=n)) for n in range((_LAST - _FIRST).days + 1))
    return [
        (
            row.date.isoformat(),
            row.entity.entity_id if row.entity else "",
            row.metrics[Metric.SPEND_MICROS],
            row.metrics[Metric.IMPRESSIONS],
            row.metrics[Metric.CLICKS],
            row.metrics[Metric.CONVERSIONS_MICROS],
            row.metrics[Metric.REVENUE_MICROS],
        )
        for day in days
        for row in simulation.rows(Platform.GOOGLE_ADS, _CUSTOMER, level=level, day=day)
    ]


def _read(rows: list[dict[str, Any]], level: Level) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for row in rows:
        entity = row["campaign"] if level is Level.CAMPAIGN else row["adGroupAd"]["ad"]
        metrics = row["metrics"]
        found.append(
            (
                row["segments"]["date"],
                entity["id"],
                int(metrics["costMicros"]),
                int(metrics["impressions"]),
                int(metrics["clicks"]),
                round(metrics["conversions"] * 1_000_000),
                round(metrics["conversionsValue"] * 1_000_000),
            )
        )
    return found


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_the_sdk_reads_the_truth(stage: _Stage, mode: str) -> None:
    """Streams, pages, the tree of customers and the doors to it are what the truth says."""
    tree = (
        "SELECT customer_client.id, customer_client.level, customer_client.manager, "
        "customer_client.status FROM customer_client"
    )
    campaigns, ads, customers, clients = await stage.run(
        mode,
        _case("stream", _CAMPAIGNS),
        _case("search", _ADS),
        _case("customers"),
        _case("stream", tree, _MANAGER),
    )
    expected = _expected(stage.simulation, Level.CAMPAIGN)
    assert _read(campaigns["rows"], Level.CAMPAIGN) == expected
    assert len(expected) > 20
    expected = _expected(stage.simulation, Level.AD)
    assert _read(ads["rows"], Level.AD) == expected
    assert len(expected) > 80
    assert customers["rows"] == ["customers/9000000001", "customers/9000000002"]
    levels = {
        row["customerClient"]["id"]: row["customerClient"].get("level", "0")
        for row in clients["rows"]
    }
    assert levels[_MANAGER] == "0"
    assert levels[_CUSTOMER] == "1"
    # Two managers lead to it, and it is listed once.
    assert len(levels) == len(clients["rows"])
    assert levels["1112223333"] == "2"


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_the_sdk_sees_errors_as_the_platform_sends_them(stage: _Stage, mode: str) -> None:
    """Each error surfaces in the SDK's own way, with its failure and request id in the trailers."""
    at_quota, broken = f"{_CAMPAIGNS} LIMIT 5", f"{_CAMPAIGNS} LIMIT 9"
    stage.simulation.faults.add(
        Fault(
            FaultKind.QUOTA_TEMPORARILY_EXHAUSTED,
            Platform.GOOGLE_ADS,
            where={"query": at_quota},
            amount=17,
        ),
        Fault(FaultKind.UNAVAILABLE_MID_STREAM, Platform.GOOGLE_ADS, where={"query": broken}),
    )
    wrong, closed, quota, stream, manager = await stage.run(
        mode,
        _case("stream", "SELECT campaign.nam FROM campaign"),
        _case("search", "SELECT customer.id FROM customer", "1112223336"),
        _case("stream", at_quota),
        _case("stream", broken),
        _case("search", "SELECT metrics.clicks FROM customer", _MANAGER),
    )
    # The asynchronous client raises its own exception for one answer, and not for a stream.
    assert wrong["error"] == ("GoogleAdsException" if mode == "sync" else "InvalidArgument")
    assert _code(wrong) == {"queryError": "UNRECOGNIZED_FIELD"}
    assert wrong["failure"]["errors"][0]["trigger"] == {"stringValue": "campaign.nam"}
    assert closed["error"] == manager["error"] == "GoogleAdsException"
    assert _code(closed) == {"authorizationError": "CUSTOMER_NOT_ENABLED"}
    assert _code(manager) == {"queryError": "REQUESTED_METRICS_FOR_MANAGER"}
    assert quota["error"] == "ResourceExhausted"
    assert _code(quota) == {"quotaError": "RESOURCE_TEMPORARILY_EXHAUSTED"}
    details = quota["failure"]["errors"][0]["details"]["quotaErrorDetails"]
    assert details["retryDelay"] == "17s"
    assert details["rateScope"] == "ACCOUNT"
    assert stream["error"] == "ServiceUnavailable"
    assert stream["failure"] is None
    assert 0 < len(stream["rows"]) < 9
    for outcome in (wrong, closed, quota, manager):
        assert outcome["failure"]["requestId"] == outcome["request_id"] != ""


def _code(outcome: dict[str, Any]) -> object:
    return outcome["failure"]["errors"][0]["errorCode"]
