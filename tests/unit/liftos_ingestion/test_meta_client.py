"""Calls of the Graph API and its pages, over a transport that a test scripts."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftos_ingestion.adapters.sources.meta.client import (
    PAGE_ROWS,
    SMALLEST_PAGE_ROWS,
    UNREADABLE_ITEM,
    ListPage,
    MetaClient,
    MetaCredential,
)
from liftos_ingestion.adapters.sources.platform_http import PlatformHttp
from liftos_ingestion.domain.failures import ErrorClass, ReadingError
from liftos_ingestion.domain.rate_limits import Limit, Observation
from liftos_kit.secrets.secret import Secret

Script = Callable[[httpx.Request], httpx.Response]
TOKEN = "EAABtokenForTheseTests"


class NoWait:
    """A clock on which nothing takes time.

    Attributes:
        slept: How long each wait was.
    """

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        """Return always the same moment."""
        return datetime(2026, 11, 15, 12, tzinfo=UTC)

    def today(self) -> date:
        """Return always the same day."""
        return self.now().date()

    def monotonic_seconds(self) -> float:
        """Return always the same."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Return at once."""
        self.slept.append(seconds)


class RecordingGate:
    """Lets every call out and keeps what was asked and told."""

    org = "org"
    run = ""

    def __init__(self) -> None:
        self.entered: list[tuple[tuple[str, ...], bool]] = []
        self.observed: list[Observation] = []

    async def enter(self, limits: Sequence[Limit], *, is_poll: bool = False) -> None:
        """Let it out."""
        names = tuple(f"{it.key.scope}:{it.key.key}:{it.unit}" for it in limits)
        self.entered.append((names, is_poll))

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Keep them."""
        self.observed += observations

    def received(self, size_bytes: int) -> None:
        """Count nothing."""

    def in_hand(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Have room for everything."""
        return nullcontext()


def test_an_app_is_shared_by_those_who_have_its_secret() -> None:
    """Without a secret, or an id that it belongs to, an org is counted by itself."""
    token, secret = Secret(TOKEN), Secret("of-the-app")
    shared = MetaCredential(token, "614", secret)
    assert shared.app("acme").counted_for == shared.app("umbrella").counted_for
    for alone in (
        MetaCredential(token, "614"),
        MetaCredential(token, app_secret=secret),
        MetaCredential(token),
    ):
        assert alone.app("acme").counted_for == "org:acme"


@asynccontextmanager
async def client_of(
    script: Script, *, gate: RecordingGate | None = None, app_secret: str = ""
) -> AsyncIterator[MetaClient]:
    """A client whose calls a script answers."""
    gate = gate or RecordingGate()
    transport = httpx.MockTransport(script)
    async with PlatformHttp(
        "http://meta.test", gate, headers={}, timeout_seconds=1, transport=transport
    ) as http:
        yield MetaClient(
            http,
            gate,
            version="v26.0",
            credential=MetaCredential(
                Secret(TOKEN), "614", Secret(app_secret) if app_secret else None
            ),
            clock=NoWait(),
        )


def page(rows: Sequence[object], after: str = "", **paging: Any) -> dict[str, object]:
    """A page; with a link to the next where `after` is one."""
    link = {"next": f"http://elsewhere.test/?access_token={TOKEN}"} if after else {}
    return {"data": list(rows), "paging": {"cursors": {"after": after or "END"}, **link, **paging}}


def reduce_data() -> httpx.Response:
    """The refusal of a page that is too large."""
    message = "Please reduce the amount of data you're asking for, then retry your request"
    return httpx.Response(500, json={"error": {"code": 1, "message": message}})


async def all_pages(client: MetaClient) -> list[ListPage]:
    """All pages of a list."""
    return [it async for it in client.pages("6023/insights", account_id="1001")]


async def test_pages_follow_cursors_and_not_links() -> None:
    """Each page is asked for at the same place with our own parameters; `after` alone is no end."""
    asked: list[httpx.Request] = []

    def script(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        place = int(request.url.params.get("after", "0"))
        return httpx.Response(200, json=page([{"n": place}], str(place + 1) if place < 2 else ""))

    async with client_of(script) as client:
        pages = await all_pages(client)
    assert [it.items for it in pages] == [[{"n": 0}], [{"n": 1}], [{"n": 2}]]
    assert {it.url.host for it in asked} == {"meta.test"}
    assert {it.url.path for it in asked} == {"/v26.0/6023/insights"}
    assert [it.url.params.get("after") for it in asked] == [None, "1", "2"]
    assert all(it.headers["authorization"] == f"Bearer {TOKEN}" for it in asked)
    assert all(TOKEN not in str(it.url) for it in asked)
    assert all(TOKEN.encode() not in it.raw for it in pages)
    assert all(b"access_token=redacted" in it.raw for it in pages[:2])


async def test_a_page_shrinks_and_stays_small() -> None:
    """Half as many rows until Meta answers; later pages begin with what it took."""
    limits: list[int] = []

    def script(request: httpx.Request) -> httpx.Response:
        limits.append(int(request.url.params["limit"]))
        if limits[-1] > 130:
            return reduce_data()
        last = "after" in request.url.params
        return httpx.Response(200, json=page([{}], "" if last else "1"))

    async with client_of(script) as client:
        assert len(await all_pages(client)) == 2
    assert limits == [PAGE_ROWS, 250, 125, 125]


async def test_a_page_that_is_always_too_large() -> None:
    """It ends as too large, after the smallest page and not later."""
    limits: list[int] = []

    def script(request: httpx.Request) -> httpx.Response:
        limits.append(int(request.url.params["limit"]))
        return reduce_data()

    async with client_of(script) as client:
        with pytest.raises(ReadingError) as error:
            await all_pages(client)
    assert error.value.failure.error_class is ErrorClass.TOO_LARGE
    assert limits == [500, 250, 125, 62, 31, 15, SMALLEST_PAGE_ROWS]


async def test_a_list_that_leads_to_itself_ends() -> None:
    """An empty page may be asked for again; a place that never moves on is a failure."""
    calls = 0

    def script(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(200, json=page([], "same"))

    async with client_of(script) as client:
        with pytest.raises(ReadingError, match="leads to itself"):
            await all_pages(client)
    assert calls < 10


@pytest.mark.parametrize(
    "body",
    [
        {"data": None},
        {"paging": {}},
        [],
        {"data": [], "paging": "more"},
        {"data": [], "paging": [1]},
        {"data": [], "paging": {"next": "http://x", "cursors": None}},
        {"data": [], "paging": {"next": "http://x", "cursors": {"after": 5}}},
    ],
)
async def test_a_page_that_cannot_be_read(body: object) -> None:
    """It is asked for again a few times and then fails as an outage, never as an empty page."""
    calls = 0

    def script(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(200, json=body)

    async with client_of(script) as client:
        with pytest.raises(ReadingError) as error:
            await all_pages(client)
    assert error.value.failure.error_class is ErrorClass.TRANSIENT
    assert calls == 3


async def test_items_that_are_no_objects_are_handed_on() -> None:
    """Nothing of a page is lost."""
    async with client_of(lambda _: httpx.Response(200, json=page([{"a": 1}, "b", None]))) as client:
        (only,) = await all_pages(client)
    assert only.items == [{"a": 1}, {UNREADABLE_ITEM: "b"}, {UNREADABLE_ITEM: None}]


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["data", "paging", "error"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["next", "cursors", "after", "code"]), inner)
            ),
        ),
    ),
    st.sampled_from([200, 400, 500]),
)
async def test_any_answer_is_a_page_or_a_failure(body: dict[str, object], status: int) -> None:
    """No answer gets past as something else."""
    async with client_of(lambda _: httpx.Response(status, json=body)) as client:
        try:
            pages = await all_pages(client)
        except ReadingError:
            return
    assert status == 200
    assert isinstance(body["data"], list)
    assert len(pages[0].items) == len(body["data"])


async def test_what_is_made_is_made_once() -> None:
    """A call that makes a report is not repeated by itself, a call that reads is."""
    calls: list[str] = []

    def script(request: httpx.Request) -> httpx.Response:
        calls.append(request.method)
        raise httpx.ReadError("reset")

    async with client_of(script) as client:
        with pytest.raises(ReadingError):
            await client.post("act_1/insights", {"level": "ad"}, account_id="1")
        with pytest.raises(ReadingError) as error:
            await client.get("6023", account_id="1")
    assert calls == ["POST", "GET", "GET", "GET"]
    assert error.value.failure.error_class is ErrorClass.TRANSIENT


async def test_limits_are_asked_and_told_with_failures_too() -> None:
    """A refusal blocks the account for as long as its headers say, and is not sent again."""
    usage = {"1001": [{"type": "ads_insights", "call_count": 100, "total_cputime": 1,
                       "total_time": 1, "estimated_time_to_regain_access": 7}]}  # fmt: skip
    calls = 0

    def script(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(
            400,
            json={"error": {"code": 80000, "error_subcode": 2446079, "message": "too many"}},
            headers={"X-Business-Use-Case-Usage": json.dumps(usage)},
        )

    gate = RecordingGate()
    async with client_of(script, gate=gate) as client:
        with pytest.raises(ReadingError) as error:
            await client.get("6023", account_id="1001", is_poll=True)
    assert calls == 1
    assert gate.entered == [(("app:614:percent", "account:1001:percent"), True)]
    assert error.value.failure.retry_after_seconds == 420
    block = gate.observed[-1]
    assert (block.limit.key.key, block.limit.unit, block.reset_seconds) == ("1001", "block", 420)
    assert gate.observed[0].used == 100


async def test_usage_is_read_from_answers_that_are_no_json() -> None:
    """A page for people has the headers as well."""
    gate = RecordingGate()
    header = {"X-App-Usage": '{"call_count":93,"total_cputime":1,"total_time":1}'}
    async with client_of(
        lambda _: httpx.Response(200, text="<html>", headers=header), gate=gate
    ) as it:
        with pytest.raises(ReadingError):
            await it.get("me")
    assert {seen.used for seen in gate.observed} == {93}


async def test_every_call_proves_the_app() -> None:
    """With a secret each call has its proof, by RFC 2104 over the token; without one none has."""
    seen: list[str] = []

    def script(request: httpx.Request) -> httpx.Response:
        form = httpx.QueryParams(request.content.decode())
        seen.append(request.url.params.get("appsecret_proof") or form.get("appsecret_proof", ""))
        return httpx.Response(200, json={})

    for secret in ("s3cretOfTheApp", ""):
        async with client_of(script, app_secret=secret) as client:
            await client.get("6023", account_id="1")
            await client.post("act_1/insights", {}, account_id="1")
    assert seen[0] == seen[1]
    assert seen[0] == "d14a867466748b8d363ef76f74b0e320a6e7949fd6c54cde007ec68523bced81"
    assert seen[2:] == ["", ""]


async def test_secret_parameters_travel_in_a_body() -> None:
    """The one call of a batch is answered like a call of its own."""
    urls: list[str] = []
    answers = iter(
        [
            [None],
            [{"code": 200, "body": "<html>"}],
            [{"code": 200, "body": '{"data":{"is_valid":true}}'}],
            [{"code": 400, "body": '{"error":{"code":101,"message":"client secret"}}'}],
        ]
    )

    def script(request: httpx.Request) -> httpx.Response:
        urls.append(str(request.url))
        return httpx.Response(200, json=next(answers))

    async with client_of(script) as client:
        found = await client.get_in_body("debug_token", {"input_token": TOKEN})
        assert found == {"data": {"is_valid": True}}
        with pytest.raises(ReadingError) as error:
            await client.get_in_body("oauth/access_token", {"fb_exchange_token": TOKEN})
    assert error.value.failure.error_class is ErrorClass.CREDENTIALS
    assert set(urls) == {"http://meta.test/v26.0/"}
