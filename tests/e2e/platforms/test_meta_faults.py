"""Everything that can go wrong with Meta's face, seen from a plain HTTP client."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from liftos_platforms import truth
from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.meta import MetaFace
from liftos_platforms.testing import Platforms
from liftos_platforms.truth import Level, Metric, Platform

DAY = "2026-11-02"
REPORT = {
    "level": "ad",
    "fields": "ad_id,spend,actions",
    "time_range": json.dumps({"since": DAY, "until": DAY}),
    "time_increment": "1",
}


@pytest.fixture
async def graph(meta: Platforms) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token in its header."""
    async with httpx.AsyncClient(
        base_url=f"{meta.url(Platform.META)}/v26.0",
        headers={"Authorization": f"Bearer {meta.token(Platform.META)}"},
        timeout=5,
    ) as client:
        yield client


def strike(meta: Platforms, kind: FaultKind, **more: Any) -> None:
    """Let a fault strike."""
    meta.simulation.faults.add(Fault(kind, Platform.META, **more))


async def submit(graph: httpx.AsyncClient, account_id: str = "1001", **params: str) -> str:
    """Make a run."""
    answer = await graph.post(f"/act_{account_id}/insights", data={**REPORT, **params})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["report_run_id"])


async def finish(graph: httpx.AsyncClient, run_id: str, polls: int = 6) -> dict[str, Any]:
    """Poll a run until it has ended, or so often."""
    for _ in range(polls):
        node: dict[str, Any] = (await graph.get(f"/{run_id}")).json()
        if node.get("async_status") in {"Job Completed", "Job Failed", "Job Skipped"}:
            break
    return node


async def completed(graph: httpx.AsyncClient, **params: str) -> str:
    """A run that is done."""
    run_id = await submit(graph, **params)
    assert (await finish(graph, run_id))["async_status"] == "Job Completed"
    return run_id


def error_of(answer: httpx.Response) -> tuple[int, int]:
    """Code and subcode of a refusal."""
    error = answer.json()["error"]
    return error["code"], error.get("error_subcode", 0)


@pytest.mark.parametrize("kind", [FaultKind.CONNECTION_RESET, FaultKind.ANSWER_LOST])
async def test_a_broken_connection(
    meta: Platforms, graph: httpx.AsyncClient, kind: FaultKind
) -> None:
    """A reset is a reset, and journal and answer are as good as before on the next call."""
    strike(meta, kind)
    with pytest.raises(httpx.NetworkError):
        await graph.get("/act_1001")
    assert (await graph.get("/act_1001")).status_code == 200
    assert [entry.status for entry in meta.simulation.journal.calls()] == ["", "200"]


async def test_a_lost_answer_makes_a_second_run(meta: Platforms, graph: httpx.AsyncClient) -> None:
    """Whoever submits again after a lost answer has two runs: a POST is not idempotent."""
    strike(meta, FaultKind.ANSWER_LOST, endpoint="insights_submit")
    with pytest.raises(httpx.NetworkError):
        await submit(graph)
    assert await submit(graph) == "602300000000002"
    assert (await graph.get("/602300000000001")).json()["account_id"] == "1001"


@pytest.mark.parametrize("kind", [FaultKind.ANSWER_CUT_OFF, FaultKind.ANSWER_LENGTH_WRONG])
async def test_an_answer_that_breaks_off(
    meta: Platforms, graph: httpx.AsyncClient, kind: FaultKind
) -> None:
    """Headers are fine and the body never ends as promised."""
    strike(meta, kind)
    with pytest.raises(httpx.RemoteProtocolError):
        await graph.get("/act_1001")


async def test_an_answer_that_never_comes(meta: Platforms, graph: httpx.AsyncClient) -> None:
    """Only the caller's own timeout ends the wait, and the face stops in good order after it."""
    strike(meta, FaultKind.ANSWER_NEVER_COMES)
    with pytest.raises(httpx.ReadTimeout):
        await graph.get("/act_1001", timeout=0.2)


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        (FaultKind.ANSWER_IS_HTML, 200, "<!DOCTYPE html>"),
        (FaultKind.ANSWER_IS_EMPTY, 200, ""),
        (FaultKind.BAD_GATEWAY, 502, "<!DOCTYPE html>"),
        (FaultKind.SERVICE_UNAVAILABLE, 503, "<!DOCTYPE html>"),
    ],
)
async def test_an_answer_that_is_no_json(
    meta: Platforms, graph: httpx.AsyncClient, *, kind: FaultKind, status: int, body: str
) -> None:
    """Proxies answer for the platform, with its usage headers as on any answer."""
    strike(meta, kind)
    answer = await graph.get("/act_1001")
    assert answer.status_code == status
    assert answer.text.startswith(body)
    assert "x-app-usage" in answer.headers


@pytest.mark.parametrize(
    ("kind", "code", "subcode"),
    [
        (FaultKind.RUN_TOO_LARGE, 2, 1504038),
        (FaultKind.RUN_TIMED_OUT, 2, 1504044),
    ],
)
async def test_a_run_that_fails(
    meta: Platforms, graph: httpx.AsyncClient, *, kind: FaultKind, code: int, subcode: int
) -> None:
    """A failed run says why, and has no rows."""
    strike(meta, kind)
    run_id = await submit(graph)
    node = await finish(graph, run_id)
    assert node["async_status"] == "Job Failed"
    assert (node["error_code"], node["error_subcode"]) == (code, subcode)
    assert error_of(await graph.get(f"/{run_id}/insights")) == (2601, 1815107)


@pytest.mark.parametrize(
    ("kind", "status", "percent"),
    [
        (FaultKind.RUN_STUCK_AT_START, "Job Not Started", 0),
        (FaultKind.RUN_STUCK_AT_END, "Job Running", 100),
        (FaultKind.RUN_SKIPPED, "Job Skipped", 0),
    ],
)
async def test_a_run_that_never_completes(
    meta: Platforms, graph: httpx.AsyncClient, *, kind: FaultKind, status: str, percent: int
) -> None:
    """A stuck run stays as it is, also after hours."""
    strike(meta, kind)
    run_id = await submit(graph)
    await finish(graph, run_id)
    meta.simulation.clock.advance(timedelta(hours=5))
    node = await finish(graph, run_id, polls=1)
    assert (node["async_status"], node["async_percent_completion"]) == (status, percent)


async def test_a_new_run_is_not_seen_at_once(meta: Platforms, graph: httpx.AsyncClient) -> None:
    """The first polls may say that the run does not exist."""
    strike(meta, FaultKind.RUN_NOT_YET_VISIBLE, times=2)
    run_id = await submit(graph)
    assert [error_of(await graph.get(f"/{run_id}")) for _ in range(2)] == [(100, 33)] * 2
    assert (await finish(graph, run_id))["async_status"] == "Job Completed"


async def test_a_run_is_gone_for_good(meta: Platforms, graph: httpx.AsyncClient) -> None:
    """A run that expired, by a fault or by its age, is not found, nor are its rows."""
    struck, old = await completed(graph), await completed(graph)
    strike(meta, FaultKind.RUN_EXPIRED)
    assert error_of(await graph.get(f"/{struck}/insights")) == (100, 33)
    assert error_of(await graph.get(f"/{struck}")) == (100, 33)
    assert (await graph.get(f"/{old}/insights")).status_code == 200
    meta.simulation.clock.advance(timedelta(days=30))
    assert error_of(await graph.get(f"/{old}")) == (100, 33)


async def test_results_come_a_little_after_completion(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """Rows may lag behind the status, and a summary may be refused once."""
    run_id = await completed(graph)
    strike(meta, FaultKind.RESULTS_NOT_READY, times=3)
    strike(meta, FaultKind.SUMMARY_NOT_READY)
    answers = [await graph.get(f"/{run_id}/insights") for _ in range(5)]
    assert [error_of(answer) for answer in answers[:3]] == [(2601, 1815107)] * 3
    assert error_of(answers[3]) == (100, 0)
    assert "Cannot include" in answers[3].text
    assert answers[4].status_code == 200


async def test_a_field_that_cannot_be_read_for_one_ad(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """Only reports with this field, this ad and this day fail; all around it can be read."""
    rows = meta.simulation.rows(Platform.META, "1001", level=Level.AD, day=date.fromisoformat(DAY))
    bad, good = rows[0].ad_id, rows[1].ad_id
    strike(
        meta,
        FaultKind.FIELD_UNREADABLE,
        field="actions",
        entity_id=bad,
        day=date.fromisoformat(DAY),
        times=None,
    )

    async def ends(ad_id: str, fields: str) -> str:
        condition = [{"field": "ad.id", "operator": "IN", "value": [ad_id]}]
        run_id = await submit(graph, filtering=json.dumps(condition), fields=fields)
        return str((await finish(graph, run_id))["async_status"])

    assert await ends(bad, "ad_id,actions") == "Job Failed"
    assert await ends(bad, "ad_id,spend") == "Job Completed"
    assert await ends(good, "ad_id,actions") == "Job Completed"


async def test_too_much_data_depends_on_the_page(meta: Platforms, graph: httpx.AsyncClient) -> None:
    """A smaller limit is served where a larger one is refused."""
    run_id = await completed(graph)
    strike(meta, FaultKind.TOO_MUCH_DATA, amount=100, times=None)
    large = await graph.get(f"/{run_id}/insights", params={"limit": 500})
    assert (large.status_code, error_of(large)) == (500, (1, 0))
    assert "reduce the amount of data" in large.text
    assert (await graph.get(f"/{run_id}/insights", params={"limit": 50})).status_code == 200


async def test_pages_that_are_not_what_they_seem(meta: Platforms, graph: httpx.AsyncClient) -> None:
    """A page may be empty with a next one, repeat a row, hold a text, or end in a list."""
    run_id = await completed(graph)
    plain = (await graph.get(f"/{run_id}/insights", params={"limit": 100})).json()["data"]
    for kind in (FaultKind.PAGE_IS_EMPTY, FaultKind.ROW_REPEATED, FaultKind.PAGING_IS_LIST):
        strike(meta, kind)
    found: list[Any] = []
    shapes: list[int] = []
    after: dict[str, str] = {}
    for _ in range(20):
        page = (await graph.get(f"/{run_id}/insights", params={"limit": "5", **after})).json()
        found += page["data"]
        shapes.append(len(page["data"]))
        if isinstance(page["paging"], list) or "next" not in page["paging"]:
            break
        after = {"after": page["paging"]["cursors"]["after"]}
    assert shapes[0] == 0
    assert 6 in shapes
    assert page["paging"] == []
    assert len(found) == len(plain) + 1
    assert {row["ad_id"] for row in found} == {row["ad_id"] for row in plain}


async def test_rows_that_hold_what_nobody_asked_for(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """Unknown fields, unknown action types and bare texts stand among good rows."""
    run_id = await completed(graph)
    kinds = (FaultKind.FIELD_UNKNOWN, FaultKind.ACTION_TYPE_UNKNOWN, FaultKind.ITEM_IS_NO_ROW)
    for kind in kinds:
        strike(meta, kind)
    pages = [(await graph.get(f"/{run_id}/insights")).json()["data"] for _ in kinds]
    assert all("mystery_score" in row for row in pages[0])
    assert any(
        action["action_type"] == "omni_mystery"
        for row in pages[1]
        for action in row.get("actions", [])
    )
    assert sum(isinstance(row, str) for row in pages[2]) == 1
    strike(meta, FaultKind.DATA_IS_NULL)
    assert (await graph.get(f"/{run_id}/insights")).json() == {"data": None}


async def test_a_token_that_dies_between_pages(meta: Platforms, graph: httpx.AsyncClient) -> None:
    """The first page comes and the second is 190/463, by a fault or because it was taken back."""
    run_id = await completed(graph)
    strike(meta, FaultKind.TOKEN_EXPIRED, where={"after": "*?"})
    first = await graph.get(f"/{run_id}/insights", params={"limit": 5})
    after = first.json()["paging"]["cursors"]["after"]
    second = await graph.get(f"/{run_id}/insights", params={"limit": 5, "after": after})
    assert (second.status_code, error_of(second)) == (401, (190, 463))
    simulation = meta.simulation
    grant = simulation.world.grants[0]
    simulation.world = truth.with_grant(simulation.world, replace(grant, revoked=True))
    assert error_of(await graph.get("/act_1001")) == (190, 458)


async def test_a_cursor_ends_with_its_hour(meta: Platforms, graph: httpx.AsyncClient) -> None:
    """A page that is asked for too late is refused, and so is one that a fault strikes."""
    run_id = await completed(graph)
    first = (await graph.get(f"/{run_id}/insights", params={"limit": 5})).json()
    params = {"limit": "5", "after": first["paging"]["cursors"]["after"]}
    strike(meta, FaultKind.CURSOR_INVALID)
    assert (await graph.get(f"/{run_id}/insights")).status_code == 200
    assert error_of(await graph.get(f"/{run_id}/insights", params=params)) == (100, 0)
    assert (await graph.get(f"/{run_id}/insights", params=params)).status_code == 200
    meta.simulation.clock.advance(timedelta(minutes=61))
    assert error_of(await graph.get(f"/{run_id}/insights", params=params)) == (100, 0)


async def test_limits_of_management_spare_insights(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """80004 strikes an account's campaigns and not its reports, and says when it ends."""
    strike(meta, FaultKind.MANAGEMENT_LIMITED, amount=12, times=None)
    refused = await graph.get("/act_1001/campaigns")
    assert error_of(refused) == (80004, 2446079)
    usage = json.loads(refused.headers["X-Business-Use-Case-Usage"])["1001"]
    assert [item["estimated_time_to_regain_access"] for item in usage] == [12]
    assert await submit(graph)


async def test_strict_about_who_and_what(meta: Platforms, graph: httpx.AsyncClient) -> None:
    """Versions, tokens, accounts, paths, bodies and parameters are refused as Meta refuses them."""
    base = meta.url(Platform.META)
    none = {"Authorization": ""}
    cases = [
        (await graph.get("/act_1001", headers=none), 400, (2500, 0)),
        (await graph.get("/act_1001", params={"access_token": "x"}, headers=none), 401, (190, 0)),
        (await graph.get(f"{base}/v15.0/act_1001"), 400, (2635, 0)),
        (await graph.get("/act_1006/insights"), 403, (200, 0)),
        (await graph.get("/act_404"), 400, (100, 33)),
        (await graph.get("/act_1001/adcreatives"), 400, (2500, 0)),
        (await graph.post("/act_1001/insights", json=REPORT), 400, (100, 0)),
        (await graph.get("/act_1001/ads", params={"fields": "mood"}), 400, (100, 0)),
        (await graph.get("/act_1001", params={"appsecret_proof": "0"}), 400, (100, 0)),
    ]
    for answer, status, error in cases:
        assert (answer.status_code, error_of(answer)) == (status, error), answer.text


async def test_an_account_without_campaigns_is_empty(graph: httpx.AsyncClient) -> None:
    """No campaigns are an empty list, not an error, and a report of them completes."""
    assert (await graph.get("/act_1005/campaigns")).json() == {"data": []}
    run_id = await submit(graph, "1005")
    assert (await finish(graph, run_id))["async_status"] == "Job Completed"
    assert (await graph.get(f"/{run_id}/insights")).json() == {"data": []}


async def test_tokens_are_told_about_and_exchanged(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """A token can be looked up and exchanged for one that lives sixty days, and then dies."""
    face = meta.faces[Platform.META]
    assert isinstance(face, MetaFace)
    app = {"client_id": face.app_id, "client_secret": face.app_secret}
    exchanged = await graph.get(
        "/oauth/access_token",
        params={
            "grant_type": "fb_exchange_token",
            "fb_exchange_token": meta.token(Platform.META),
            **app,
        },
    )
    token = exchanged.json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    lookup = {"input_token": token, "access_token": f"{face.app_id}|{face.app_secret}"}
    assert (await graph.get("/act_1001", headers=headers)).status_code == 200
    assert (await graph.get("/debug_token", params=lookup)).json()["data"]["is_valid"] is True
    meta.simulation.clock.advance(timedelta(days=60))
    assert error_of(await graph.get("/act_1001", headers=headers)) == (190, 463)
    data = (await graph.get("/debug_token", params=lookup)).json()["data"]
    assert data["is_valid"] is False
    assert data["expires_at"] == int(meta.simulation.clock.now().timestamp())


async def test_a_summary_is_the_sum_of_all_pages(meta: Platforms, graph: httpx.AsyncClient) -> None:
    """The platform's own total is the truth's, whatever the page."""
    run_id = await completed(graph)
    page = await graph.get(f"/{run_id}/insights", params={"limit": "2", "summary": '["spend"]'})
    true = meta.simulation.rows(Platform.META, "1001", level=Level.AD, day=date.fromisoformat(DAY))
    total = sum(row.metrics[Metric.SPEND_MICROS] for row in true)
    assert round(float(page.json()["summary"]["spend"]) * 1_000_000) == total
    refused = await graph.get(f"/{run_id}/insights", params={"summary": '["reach"]'})
    assert "Cannot include reach in summary" in refused.text


async def test_a_run_shows_the_moment_of_its_making(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """Rows of a run do not move with the clock; a new run has today's."""
    yesterday = json.dumps({"since": "2026-11-14", "until": "2026-11-14"})
    run_id = await completed(graph, time_range=yesterday, level="account", fields="spend")
    first = (await graph.get(f"/{run_id}/insights")).json()["data"]
    meta.simulation.clock.advance(timedelta(days=2))
    assert (await graph.get(f"/{run_id}/insights")).json()["data"] == first
    later = await completed(graph, time_range=yesterday, level="account", fields="spend")
    assert (await graph.get(f"/{later}/insights")).json()["data"] != first


async def test_the_journal_knows_calls_polls_and_concurrency(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """Calls and polls are counted apart, overlap is seen, and no token is kept."""
    meta.simulation.answer_delay_seconds = 0.1
    await asyncio.gather(*(graph.get(f"/act_{account}") for account in (1001, 1002, 1001)))
    meta.simulation.answer_delay_seconds = 0.0
    run_id = await completed(graph)
    await graph.get(f"/{run_id}/insights", params={"limit": 3})
    journal = meta.simulation.journal
    assert journal.maximum_concurrency(Platform.META) == 3
    assert journal.maximum_concurrency(Platform.META, "1001") == 2
    assert [entry.call.endpoint for entry in journal.calls()] == [
        "account", "account", "account", "insights_submit", "report_run_insights",
    ]  # fmt: skip
    assert len(journal.polls()) == 4
    last = journal.calls()[-1]
    assert (last.rows, last.status, last.call.first_day) == (3, "200", date.fromisoformat(DAY))
    assert meta.token(Platform.META) not in repr(journal)
