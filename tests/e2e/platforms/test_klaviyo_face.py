"""What Klaviyo's official client hides: headers, limits, refusals, and all that goes wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from liftos_platforms import truth
from liftos_platforms.faults import SCOPES, Fault, FaultKind
from liftos_platforms.klaviyo import KlaviyoFace
from liftos_platforms.klaviyo.spoilage import FOREIGN_HOST
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import AccountState, Level, Platform
from liftos_platforms.worlds import token_of

PARIS = "KLvEU1"
NEW_YORK = "KLvUS2"
JSON_API = "application/vnd.api+json"


@pytest.fixture
def simulation() -> Simulation:
    """A world of its own for each test."""
    return Simulation()


@pytest.fixture
async def face(simulation: Simulation) -> AsyncIterator[KlaviyoFace]:
    """Klaviyo on a free port."""
    served = KlaviyoFace(simulation)
    await served.start("127.0.0.1", 0)
    yield served
    await served.stop()


def _headers(simulation: Simulation, account_id: str = PARIS) -> dict[str, str]:
    key = token_of(simulation.world.seed, Platform.KLAVIYO, account_id)
    return {
        "Authorization": f"Klaviyo-API-Key {key}",
        "revision": "2026-10-15",
        "Accept": JSON_API,
        "X-Klaviyo-Revision-Fall-Forward-Opt-Out": "1",
    }


@pytest.fixture
async def http(simulation: Simulation, face: KlaviyoFace) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the headers that Klaviyo wants."""
    # Nothing here speaks TLS, and to load the machine's certificates takes longer than a test.
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{face.port}",
        headers=_headers(simulation),
        timeout=5,
        verify=False,
    ) as client:
        yield client


async def _post(http: httpx.AsyncClient, path: str, body: object, **more: str) -> httpx.Response:
    return await http.post(
        path, content=json.dumps(body), headers={"Content-Type": JSON_API, **more}
    )


async def _metric(http: httpx.AsyncClient, name: str = "Placed Order") -> str:
    answer = await http.get("/api/metrics")
    return next(
        str(one["id"]) for one in answer.json()["data"] if one["attributes"]["name"] == name
    )


def _report(metric: str, kind: str = "campaign-values-report", **more: Any) -> dict[str, Any]:
    attributes = {
        "statistics": ["recipients", "conversion_value"],
        "timeframe": {"start": "2026-10-01T00:00:00", "end": "2026-10-31T23:59:59"},
        "conversion_metric_id": metric,
        **more,
    }
    return {"data": {"type": kind, "attributes": attributes}}


def _error(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == JSON_API
    (error,) = answer.json()["errors"]
    assert error["status"] == answer.status_code
    assert error["detail"]
    assert isinstance(error, dict)
    return error


# --- limits ---------------------------------------------------------------------------------------


async def test_limits_are_told_on_answers_and_waits_on_refusals(
    http: httpx.AsyncClient, simulation: Simulation
) -> None:
    """RateLimit-* stand on all answers but 429, and Retry-After on 429 alone."""
    first = await http.get("/api/accounts")
    assert first.status_code == 200
    assert (
        first.headers["RateLimit-Limit"],
        first.headers["RateLimit-Remaining"],
        first.headers["RateLimit-Reset"],
    ) == ("15", "14", "60")
    assert "Retry-After" not in first.headers
    second = await http.get("/api/accounts")
    assert second.status_code == 429
    assert second.headers["Retry-After"] == "1"
    assert not [name for name in second.headers if name.lower().startswith("ratelimit")]
    assert _error(second)["code"] == "throttled"
    simulation.clock.advance(timedelta(seconds=1))
    wrong = await http.get("/api/accounts", params={"page[size]": "1"})
    assert wrong.status_code == 400
    assert wrong.headers["RateLimit-Remaining"] == "13"


async def test_reports_have_two_a_minute_and_a_day_of_225(
    http: httpx.AsyncClient, simulation: Simulation
) -> None:
    """Each account has its own quota, and a day's end is hours away."""
    path = "/api/campaign-values-reports"
    body = _report(await _metric(http), timeframe={"key": "yesterday"})
    for number in range(225):
        if number:
            simulation.clock.advance(timedelta(seconds=1 if number % 2 else 59))
        assert (await _post(http, path, body)).status_code == 200
    simulation.clock.advance(timedelta(minutes=1))
    parked = await _post(http, path, body)
    assert parked.status_code == 429
    assert int(parked.headers["Retry-After"]) > 10_000
    other = await _post(http, path, body, **_headers(simulation, NEW_YORK))
    assert other.status_code == 400, "the metric is another account's, the quota is not"
    simulation.clock.advance(timedelta(seconds=int(parked.headers["Retry-After"])))
    assert (await _post(http, path, body)).status_code == 200


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Klaviyo-API-Key pk_0"}, 401),
        ({"Authorization": "Bearer unknown"}, 401),
        ({"revision": ""}, 400),
        ({"revision": "2024-10-15"}, 410),
        ({"revision": "2025-01-15"}, 400),
        ({"Accept": "text/html"}, 406),
    ],
)
async def test_wrong_headers_are_refused(
    http: httpx.AsyncClient, changed: dict[str, str], status: int
) -> None:
    """A request without key, revision or a type that Klaviyo speaks does not pass."""
    answer = await http.get("/api/metrics", headers=changed)
    assert answer.status_code == status
    _error(answer)
    assert "RateLimit-Limit" not in answer.headers


async def test_a_retired_revision_falls_forward_without_the_opt_out(
    http: httpx.AsyncClient,
) -> None:
    """The answer is in this revision's shape, and nothing says that it is not the one asked for."""
    del http.headers["X-Klaviyo-Revision-Fall-Forward-Opt-Out"]
    answer = await http.get("/api/campaigns", headers={"revision": "2024-10-15"})
    assert answer.status_code == 200
    assert "definition" in answer.json()["data"][0]["attributes"]


async def test_a_body_has_klaviyos_media_type(http: httpx.AsyncClient) -> None:
    """Plain JSON is refused, and so is what is no JSON."""
    path = "/api/flow-values-reports"
    plain = await http.post(path, json={})
    assert plain.status_code == 415
    broken = await http.post(path, content="{", headers={"Content-Type": JSON_API})
    assert broken.status_code == 400
    assert broken.headers["RateLimit-Remaining"] == "1", "what cannot be read counts"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/campaign-series-reports", 404),
        ("/api/campaigns/", 404),
        ("/api/campaigns/nothing", 404),
        ("/api/accounts/KLvUS2", 404),
        ("/api/flows/nothing/flow-actions", 404),
        ("/api/campaigns?filter=equals(messages.channel,'email')", 400),
        ("/api/campaigns?filter=equals(name,'a')", 400),
        ("/api/campaigns?fields[campaign]=status", 400),
        ("/api/campaigns?include=messages", 400),
        ("/api/campaigns?sort=send_time", 400),
        ("/api/campaigns?page[size]=101", 400),
        ("/api/campaigns?page[cursor]=abc", 400),
        ("/api/metrics?page[size]=10", 400),
        ("/api/events?page[size]=1001", 400),
        ("/api/events?filter=equals(datetime,2026-11-01)", 400),
        ("/api/metric-aggregates", 405),
    ],
)
async def test_what_klaviyo_does_not_have_is_refused(
    http: httpx.AsyncClient, path: str, status: int
) -> None:
    """Unknown paths, methods, parameters and values are errors in Klaviyo's form."""
    answer = await http.get(path)
    assert answer.status_code == status
    _error(answer)


async def test_keys_open_what_they_are_for(http: httpx.AsyncClient, simulation: Simulation) -> None:
    """A missing scope is 403, a revoked key 401, a closed account 403 with its own code."""
    key = token_of(simulation.world.seed, Platform.KLAVIYO, PARIS)
    grant = truth.grant_of(simulation.world, Platform.KLAVIYO, key)
    assert grant is not None
    narrow = replace(grant, scopes=frozenset({"accounts:read"}))
    simulation.world = truth.with_grant(simulation.world, narrow)
    assert (await http.get("/api/accounts")).status_code == 200
    assert _error(await http.get("/api/flows"))["code"] == "permission_denied"
    simulation.world = truth.with_grant(simulation.world, replace(grant, revoked=True))
    assert (await http.get("/api/flows")).status_code == 401
    simulation.world = truth.with_grant(simulation.world, grant)
    account = simulation.account(Platform.KLAVIYO, PARIS)
    simulation.world = truth.with_account(
        simulation.world, replace(account, state=AccountState.DISABLED)
    )
    assert _error(await http.get("/api/flows"))["code"] == "account_disabled"
    refused = simulation.journal.calls(endpoint="flows", account_id=PARIS)
    assert [entry.status for entry in refused] == ["403", "401", "403"]


async def test_a_changed_currency_shows_at_once(
    http: httpx.AsyncClient, simulation: Simulation
) -> None:
    """An account that changes its currency says so on the next call."""
    account = simulation.account(Platform.KLAVIYO, PARIS)
    simulation.world = truth.with_account(simulation.world, replace(account, currency_code="SEK"))
    (told,) = (await http.get("/api/accounts")).json()["data"]
    assert told["attributes"]["preferred_currency"] == "SEK"


# --- reading --------------------------------------------------------------------------------------


async def test_timeframes_that_end_at_midnight_count_a_second_twice(
    http: httpx.AsyncClient, simulation: Simulation
) -> None:
    """Both ends are included: [day, next day 00:00] holds more than [day, 23:59:59]."""
    metric = await _metric(http)
    sums = []
    for end in ("2026-11-05T23:59:59", "2026-11-06T00:00:00"):
        simulation.clock.advance(timedelta(minutes=1))
        timeframe = {"start": "2026-11-05T00:00:00", "end": end}
        body = _report(metric, "flow-values-report", timeframe=timeframe)
        answer = await _post(http, "/api/flow-values-reports", body)
        results = answer.json()["data"]["attributes"]["results"]
        sums.append(sum(row["statistics"]["recipients"] for row in results))
    assert sums[0] < sums[1]


async def test_events_can_be_read_backwards(http: httpx.AsyncClient) -> None:
    """The same events come in either order, over ties that a page's edge cuts."""
    params = {
        "filter": "greater-or-equal(datetime,2026-11-14T00:00:00Z),"
        "less-than(datetime,2026-11-14T06:00:00Z)",
        "page[size]": "50",
    }

    async def read(sort: str) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        query: dict[str, str] = {**params, "sort": sort}
        while True:
            document = (await http.get("/api/events", params=query)).json()
            found += [(one["attributes"]["timestamp"], one["id"]) for one in document["data"]]
            if document["links"]["next"] is None:
                return found
            query = {
                k: v[0] for k, v in parse_qs(urlsplit(document["links"]["next"]).query).items()
            }

    forwards, backwards = await read("timestamp"), await read("-timestamp")
    assert forwards == backwards[::-1]
    assert len({one for _, one in forwards}) == len(forwards) > 100
    assert len({moment for moment, _ in forwards}) < len(forwards), "some fall on one second"


async def test_calls_at_once_are_seen_at_once(
    http: httpx.AsyncClient, face: KlaviyoFace, simulation: Simulation
) -> None:
    """The journal knows how many calls ran together, and what they asked, but no key."""
    face.latency_seconds = 0.2
    await asyncio.gather(*(http.get("/api/flows", params={"sort": "id"}) for _ in range(3)))
    assert simulation.journal.maximum_concurrency(Platform.KLAVIYO, PARIS) == 3
    (entry, *_) = simulation.journal.calls(endpoint="flows")
    assert entry.call.parameters == {"sort": "id"}
    key = token_of(simulation.world.seed, Platform.KLAVIYO, PARIS)
    assert key not in repr(simulation.journal)


# --- faults ---------------------------------------------------------------------------------------

EVENTS = "/api/events?page[size]=5"
SERIES = "flow-series-reports"
STRUCK = {
    FaultKind.CURSOR_INVALID: EVENTS,
    FaultKind.ROW_REPEATED: EVENTS,
    FaultKind.EVENT_IN_FUTURE: EVENTS,
    FaultKind.EVENT_TIMESTAMPS_EQUAL: f"{EVENTS}&filter=greater-than(timestamp,1794639600)",
    FaultKind.EVENT_TIMESTAMP_FLOAT: EVENTS,
    FaultKind.EVENT_METRIC_NULL: EVENTS,
    FaultKind.EVENT_ATTRIBUTIONS_EMPTY: EVENTS,
    FaultKind.EVENT_PROPERTIES_HUGE: EVENTS,
    FaultKind.NEXT_LINK_FOREIGN: EVENTS,
    FaultKind.CAMPAIGN_GONE_BETWEEN_PAGES: "/api/campaigns?page[size]=2",
    FaultKind.SERIES_TOO_SHORT: SERIES,
    FaultKind.STATISTIC_NULL: SERIES,
    FaultKind.STATISTIC_NAN: SERIES,
    FaultKind.STATISTIC_UNKNOWN: SERIES,
    FaultKind.DAILY_LIMITED: SERIES,
}
KINDS = [kind for kind, scope in SCOPES.items() if Platform.KLAVIYO in scope.platforms]


async def _ask(http: httpx.AsyncClient, kind: FaultKind) -> httpx.Response:
    what = STRUCK.get(kind, "/api/campaigns?page[size]=2")
    if what != SERIES:
        first = await http.get(what)
        following = first.json()["links"]["next"] if kind is FaultKind.CURSOR_INVALID else ""
        return await http.get(following) if following else first
    body = _report(
        await _metric(http),
        "flow-series-report",
        interval="daily",
        timeframe={"start": "2026-11-01", "end": "2026-11-07"},
    )
    return await _post(http, f"/api/{SERIES}", body)


async def _outcome(http: httpx.AsyncClient, kind: FaultKind) -> tuple[int, bytes]:
    try:
        answer = await _ask(http, kind)
    except httpx.HTTPError as error:
        return 0, type(error).__name__.encode()
    return answer.status_code, answer.content


def _struck(simulation: Simulation) -> list[FaultKind]:
    return [entry.fault for entry in simulation.journal.calls() if entry.fault]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_fault_strikes_and_passes(
    http: httpx.AsyncClient, face: KlaviyoFace, simulation: Simulation, kind: FaultKind
) -> None:
    """Each fault changes one answer, the journal names it, and the next answer is well again."""
    http.timeout = httpx.Timeout(0.7)
    well = await _outcome(http, kind)
    assert well[0] == 200
    simulation.clock.advance(timedelta(minutes=1))
    simulation.faults.add(Fault(kind, Platform.KLAVIYO, times=1))
    ill = await _outcome(http, kind)
    assert ill != well
    assert simulation.faults.unstruck() == ()
    async with asyncio.timeout(3):
        # A call that never ends is entered when the server notices that its caller has gone.
        while not (struck := _struck(simulation)):  # noqa: ASYNC110 - the journal wakes nobody
            await asyncio.sleep(0.01)
    assert struck == [kind]
    simulation.clock.advance(timedelta(minutes=1))
    after = await _outcome(http, kind)
    assert after[0] == 200
    if kind is not FaultKind.CAMPAIGN_GONE_BETWEEN_PAGES:
        assert after == well


@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [
        (FaultKind.BURST_LIMITED, 429, "1"),
        (FaultKind.DAILY_LIMITED, 429, "20000"),
        (FaultKind.LIMITED_WITHOUT_RETRY_AFTER, 429, None),
        (FaultKind.KEY_REJECTED, 401, None),
        (FaultKind.SCOPE_MISSING, 403, None),
        (FaultKind.REVISION_GONE, 410, None),
        (FaultKind.SERVER_ERROR, 500, None),
    ],
)
async def test_refusals_by_fault_look_like_klaviyos(
    http: httpx.AsyncClient,
    simulation: Simulation,
    kind: FaultKind,
    status: int,
    retry_after: str | None,
) -> None:
    """Injected refusals have the status, the headers and the body of real ones."""
    simulation.faults.add(Fault(kind, Platform.KLAVIYO))
    body = _report("RESQ6t")
    answer = await _post(http, "/api/campaign-values-reports", body)
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == retry_after
    _error(answer)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FaultKind.CHALLENGE, 403),
        (FaultKind.BAD_GATEWAY, 502),
        (FaultKind.SERVICE_UNAVAILABLE, 503),
        (FaultKind.GATEWAY_TIMEOUT, 504),
        (FaultKind.ORIGIN_TIMEOUT, 524),
    ],
)
async def test_proxies_in_front_answer_pages(
    http: httpx.AsyncClient, simulation: Simulation, kind: FaultKind, status: int
) -> None:
    """What stands before Klaviyo answers in HTML."""
    simulation.faults.add(Fault(kind, Platform.KLAVIYO))
    answer = await http.get("/api/flows")
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")


async def test_a_foreign_next_link_points_elsewhere(
    http: httpx.AsyncClient, simulation: Simulation
) -> None:
    """The link keeps its path and cursor, but its host is not Klaviyo's."""
    simulation.faults.add(Fault(FaultKind.NEXT_LINK_FOREIGN, Platform.KLAVIYO))
    document = (await http.get(EVENTS)).json()
    assert document["links"]["next"].startswith(f"{FOREIGN_HOST}/api/events?")


async def test_faults_can_wait_for_a_day(http: httpx.AsyncClient, simulation: Simulation) -> None:
    """A fault on a day strikes the report whose timeframe holds that day and no other."""
    day = truth.local_day(simulation.account(Platform.KLAVIYO, PARIS), simulation.clock.now())
    simulation.faults.add(
        Fault(FaultKind.SERVER_ERROR, Platform.KLAVIYO, day=day - timedelta(days=1))
    )
    metric = await _metric(http)
    for key, status in (("today", 200), ("yesterday", 500)):
        simulation.clock.advance(timedelta(minutes=1))
        body = _report(metric, timeframe={"key": key})
        assert (await _post(http, "/api/campaign-values-reports", body)).status_code == status


async def test_a_campaign_that_goes_between_pages_hides_another(
    http: httpx.AsyncClient, simulation: Simulation
) -> None:
    """One campaign is gone, all later ones move up, and the reader misses one that is there."""
    simulation.faults.add(Fault(FaultKind.CAMPAIGN_GONE_BETWEEN_PAGES, Platform.KLAVIYO, times=1))
    first = (await http.get("/api/campaigns?page[size]=2")).json()
    following = first["links"]["next"]
    seen = [one["id"] for one in first["data"]]
    while following:
        document = (await http.get(following)).json()
        seen += [one["id"] for one in document["data"]]
        following = document["links"]["next"]
    account = simulation.account(Platform.KLAVIYO, PARIS)
    everything = truth.entities_of(
        simulation.world, account, now=simulation.clock.now(), level=Level.CAMPAIGN
    )
    assert len(seen) == len(set(seen)) == len(everything) - 1
    assert (await http.get(f"/api/campaigns/{seen[0]}")).status_code == 404
