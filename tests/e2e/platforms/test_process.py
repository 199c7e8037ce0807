"""All platforms in a process of their own, held by their control port."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from liftos_platforms.truth import Platform
from liftos_platforms.worlds import token_of

SERVICES = Path(__file__).parents[3] / "services"


@asynccontextmanager
async def started(*options: str) -> AsyncIterator[tuple[Process, dict[str, int]]]:
    """The process, and the ports that it tells."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "liftos_platforms", "serve", *options, cwd=SERVICES, stdout=PIPE
    )
    try:
        assert process.stdout
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 10)


@pytest.fixture(scope="module")
async def control() -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, int]]]:
    """A client of the control port, and all ports."""
    async with (
        started("--seed", "11") as (_, ports),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['control_port']}") as client,
    ):
        yield client, ports


def reader(port: int, token: str) -> httpx.AsyncClient:
    """A client of Meta's face."""
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}/v26.0", headers={"Authorization": f"Bearer {token}"}
    )


async def test_a_process_ends_in_good_order() -> None:
    """Every port answers when the line is out, and SIGTERM ends with 0."""
    async with started() as (process, ports):
        assert sorted(ports) == [
            "control_port", "google_ads_port", "google_ads_rest_port", "klaviyo_port", "meta_port",
        ]  # fmt: skip
        for port in ports.values():
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_another_process_holds_the_world_in_hand(
    control: tuple[httpx.AsyncClient, dict[str, int]],
) -> None:
    """Clock, faults, journal, accounts and credentials are all within reach."""
    client, ports = control
    token = token_of(11, Platform.META)
    grants = (await client.get("/grants")).json()["grants"]
    assert token in {grant["token"] for grant in grants}
    assert (await client.get("/credentials/meta")).json() == {"access_token": token}
    assert set((await client.get("/credentials/google_ads")).json()) == {
        *("client_id", "client_secret", "refresh_token")
    }
    async with reader(ports["meta_port"], token) as graph:
        moved = (await client.post("/clock", json={"advance_seconds": 3600})).json()
        assert moved == {"now": "2026-11-15T13:00:00+00:00"}

        fault: dict[str, Any] = {"kind": "insights_limited", "platform": "meta", "amount": 3}
        waiting = (await client.post("/faults", json=fault)).json()["faults"]
        assert [item["kind"] for item in waiting] == ["insights_limited"]
        params = {"fields": "spend", "date_preset": "yesterday"}
        limited = await graph.get("/act_1001/insights", params=params)
        assert limited.json()["error"]["code"] == 80000
        assert (await client.get("/faults")).json() == {"faults": []}

        report = (await graph.get("/act_1001/insights", params=params)).json()["data"]
        query = {"platform": "meta", "account_id": "1001", "level": "ACCOUNT", "day": "2026-11-14"}
        rows = (await client.get("/rows", params=query)).json()["rows"]
        assert round(float(report[0]["spend"]) * 1e6) == rows[0]["metrics"]["spend_micros"]

        await client.post("/accounts/meta/1001", json={"currency_code": "CHF"})
        node = (await graph.get("/act_1001", params={"fields": "currency"})).json()
        assert node["currency"] == "CHF"

        await client.post("/grants/meta", json={"token": token, "revoked": True})
        assert (await graph.get("/act_1001")).json()["error"]["code"] == 190

        calls = (await client.get("/journal", params={"platform": "meta"})).json()["calls"]
        assert [call["error"] for call in calls] == ["80000/2446079", "", "", "190/458"]
        assert token not in json.dumps(calls)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/clock", {"later": 1}, 400, "unknown: later"),
        ("/clock", {"now": "2026-11-15T12:00:00"}, 400, "no time zone"),
        ("/faults", {"kind": "rain", "platform": "meta"}, 400, "rain"),
        ("/faults", {"kind": "run_skipped", "platform": "klaviyo"}, 400, "klaviyo has no fault"),
        ("/faults", {"platform": "meta"}, 400, "kind"),
        ("/accounts/meta/1", {"state": "DISABLED"}, 404, "no account '1'"),
        ("/accounts/meta/1001", {"time_zone": "Europe/Atlantis"}, 400, "Atlantis"),
    ],
)
async def test_a_slip_is_told(
    control: tuple[httpx.AsyncClient, dict[str, int]],
    *,
    path: str,
    body: dict[str, object],
    status: int,
    words: str,
) -> None:
    """What cannot be read is refused with a sentence."""
    client, _ = control
    answer = await client.post(path, json=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]
