"""A patient reader of Meta's face gets the truth through any plan of passing faults."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest

from liftos_platforms.faults import random_plan
from liftos_platforms.testing import Platforms
from liftos_platforms.truth import Level, Metric, Platform

DAY = date(2026, 11, 2)
REPORT = {
    "level": "ad",
    "fields": "ad_id,spend,actions",
    "time_range": json.dumps({"since": DAY.isoformat(), "until": DAY.isoformat()}),
    "time_increment": "1",
}
MOST_TRIES = 40


class ReadAgainError(Exception):
    """Something came that is no good answer; the whole report is read again."""


async def ask(graph: httpx.AsyncClient, method: str, path: str, **more: Any) -> dict[str, Any]:
    """An answer that is an object and no refusal."""
    try:
        answer = await graph.request(method, path, **more)
        value = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ReadAgainError from error
    if answer.status_code != 200 or not isinstance(value, dict):
        raise ReadAgainError
    return value


async def read_once(graph: httpx.AsyncClient) -> dict[str, Decimal]:
    """Submit, poll and read all pages: spend by ad."""
    submitted = await ask(graph, "POST", "/act_1001/insights", data=REPORT)
    run_id = submitted["report_run_id"]
    for _ in range(8):
        run = await ask(graph, "GET", f"/{run_id}")
        if run["async_status"] == "Job Completed":
            break
    else:
        raise ReadAgainError
    spend: dict[str, Decimal] = {}
    params = {"limit": "4"}
    while True:
        page = await ask(graph, "GET", f"/{run_id}/insights", params=params)
        if not isinstance(page["data"], list):
            raise ReadAgainError
        rows = [row for row in page["data"] if isinstance(row, dict)]
        spend |= {row["ad_id"]: Decimal(row["spend"]) for row in rows}
        paging = page["paging"]
        if isinstance(paging, list) or "next" not in paging:
            return spend
        params["after"] = paging["cursors"]["after"]


@pytest.mark.parametrize("seed", range(12))
async def test_passing_faults_pass(meta: Platforms, seed: int) -> None:
    """Whatever strikes a few times, reading again brings every row, and every amount, once."""
    simulation = meta.simulation
    simulation.faults.add(*random_plan(seed, Platform.META, count=6, maximum_skip=8))
    async with httpx.AsyncClient(
        base_url=f"{meta.url(Platform.META)}/v26.0",
        headers={"Authorization": f"Bearer {meta.token(Platform.META)}"},
        timeout=2,
    ) as graph:
        for _ in range(MOST_TRIES):
            try:
                found = await read_once(graph)
            except ReadAgainError:
                continue
            break
        else:
            raise AssertionError(simulation.journal.calls()[-1])
    true = simulation.rows(Platform.META, "1001", level=Level.AD, day=DAY)
    assert found == {
        row.ad_id: Decimal(row.metrics[Metric.SPEND_MICROS]) / 1_000_000 for row in true
    }
