"""Declared HTTP APIs, against a real server: pages, errors, limits, and hosts that are refused."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.liftos_ingestion.own_source_parts import (
    ACCOUNTS,
    FIRST,
    LAST,
    OpenGate,
    asked,
    context,
    entries,
    pages,
    rows_of,
)

from liftos_ingestion.adapters.sources.own_sources import OwnSources, check_source
from liftos_ingestion.adapters.sources.public_addresses import PublicTransport, allowed_address
from liftos_ingestion.catalog_ports import NewSource, SourceKind
from liftos_ingestion.domain.failures import ErrorClass, ReadingError
from liftos_ingestion.source_ports import Credential, PlatformAccount, PlatformSource, query_hash
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.secrets.secret import Secret
from liftos_mapping.engine import evaluate

MAPPING: dict[str, Any] = {
    "date_basis": "EVENT",
    "columns": {"date": "day", "orders": "n", "revenue_micros": "total"},
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """A server on this machine; gives its address."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def definition(base_url: str = "https://api.example.com", **more: Any) -> dict[str, Any]:
    """A definition with one read."""
    read: dict[str, Any] = {"level": "OUTCOME", "path": "/rows", "records": "rows"}
    for key in ("level", "method", "path", "params", "body", "records", "pagination"):
        if key in more:
            read[key] = more.pop(key)
    return {"base_url": base_url, "accounts": ACCOUNTS, "reads": [read], **more}


def source(
    base_url: str, *, private: bool = True, mapping: Mapping[str, Any] = MAPPING, **more: Any
) -> PlatformSource:
    """A source of a declared API."""
    built = OwnSources(None, private_allowed=private, timeout_seconds=5)
    spec = definition(base_url, **more)
    return built.build(NewSource("till", "Till", SourceKind.HTTP, spec, mapping))


def row(n: int, day: str = "2026-11-01") -> dict[str, Any]:
    """A row of the API."""
    return {"day": day, "n": n, "total": "1.5"}


def answering(*answers: object) -> tuple[Handler, list[web.Request]]:
    """Give these answers in turn, the last one for ever; and what was asked."""
    requests: list[web.Request] = []
    left = list(answers)

    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        requests.append(request)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, web.Response):
            return web.Response(
                body=answer.body, status=answer.status, headers=answer.headers.copy()
            )
        return web.json_response(answer)

    return handler, requests


async def test_placeholders_are_filled_and_quoted() -> None:
    """Days and account stand in path, query and body; an account never changes the path."""
    handler, requests = answering({"rows": [row(1)]})
    account = {"account_id": "a/../b?c", "time_zone": "UTC", "currency_code": "EUR"}
    async with served(handler) as url:
        of = source(
            f"{url}/v2",
            accounts=[account],
            method="POST",
            path="/accounts/{account}/rows",
            params={"from": "{start_date:%Y%m%d}", "until": "{next_date}"},
            body={"filter": [{"to": "{end_date}", "of": "{account}"}], "size": 5},
        )
        one = PlatformAccount("a/../b?c", "", "UTC", "EUR")
        found = await entries(of, asked(account=one))
    assert [it["orders"] for it in found] == [1]
    (request,) = requests
    assert request.raw_path.startswith("/v2/accounts/a%2F..%2Fb%3Fc/rows?")
    assert dict(request.query) == {"from": "20261101", "until": "2026-11-03"}
    sent = json.loads(await request.text())
    assert sent == {"filter": [{"to": "2026-11-02", "of": "a/../b?c"}], "size": 5}


@pytest.mark.parametrize(
    ("auth", "credential", "header", "value"),
    [
        ({"kind": "bearer"}, {"token": "t0ken"}, "Authorization", "Bearer t0ken"),
        ({"kind": "header", "name": "X-Key"}, {"value": "k3y"}, "X-Key", "k3y"),
        (
            {"kind": "basic"},
            {"username": "u", "password": "pä"},
            "Authorization",
            f"Basic {base64.b64encode('u:pä'.encode()).decode()}",
        ),
    ],
)
async def test_credentials_go_into_headers(
    auth: dict[str, str], credential: dict[str, str], header: str, value: str
) -> None:
    """A credential is sent as a header, is needed, and is never told."""
    handler, requests = answering({"rows": []})
    async with served(handler) as url:
        of = source(url, auth=auth, headers={"Accept": "application/json"})
        assert rows_of(await pages(of, asked(), OpenGate(), **credential)) == []
        assert requests[0].headers[header] == value
        assert not any(it in requests[0].raw_path for it in credential.values())
        first = next(iter(credential))
        with pytest.raises(ReadingError, match=f"has no {first}"):
            await pages(of, asked())


async def test_a_credential_that_is_no_header_is_not_sent() -> None:
    """A line break in a token would begin another header; the failure does not show it."""
    of = source("https://api.example.com", auth={"kind": "bearer"})
    with pytest.raises(ReadingError, match="no header can have") as caught:
        await pages(of, asked(), token="se\ncret")
    assert caught.value.failure.error_class is ErrorClass.CREDENTIALS
    assert "cret" not in str(caught.value)


async def test_every_way_of_paging_ends_with_all_rows() -> None:
    """Cursors, numbers, offsets and links; short pages are not taken for the last."""
    rows = [row(n) for n in range(7)]

    async def handler(request: web.Request) -> web.StreamResponse:
        query = request.query
        start = int(query.get("cursor") or query.get("offset") or 0)
        size = min(int(query.get("limit", 3)), 3)
        if "page" in query:
            start = (int(query["page"]) - 1) * size
        after = start + size
        more = after < len(rows)
        headers = {}
        if more and "linked" in query:
            here = "/rows?linked=1&offset="
            headers["Link"] = f'<{here}0>; rel="prev", <{here}{after}>; rel="next"'
        return web.json_response(
            {
                "rows": rows[start:after],
                "next": str(after) if more else None,
                "url": f"/rows?offset={after}" if more else "",
                "more": more,
            },
            headers=headers,
        )

    ways: list[dict[str, Any]] = [
        {"pagination": {"kind": "cursor", "param": "cursor", "from": "next"}},
        {"pagination": {"kind": "page", "param": "page", "size_param": "limit", "size": 100}},
        {"pagination": {"kind": "offset", "param": "offset", "more": "more"}},
        {"pagination": {"kind": "link", "from": "url"}},
        {"pagination": {"kind": "link"}, "params": {"linked": "1"}},
    ]
    async with served(handler) as url:
        for way in ways:
            found = await pages(source(url, **way), asked())
            assert rows_of(found) == rows, way
            asked_for = {page.query_hash for page in found}
            params = way.get("params", {})
            assert asked_for == {query_hash(url, "GET", "/rows", params, None)}, (
                "pages are no question"
            )
            assert found[0].raw.startswith(b'{"rows"')


async def test_pages_of_a_post_are_asked_for_in_its_body() -> None:
    """The cursor of a POST goes where its other words are."""
    handler, requests = answering({"rows": [row(1)], "next": "b"}, {"rows": [row(2)]})
    async with served(handler) as url:
        paging = {"kind": "cursor", "param": "after", "from": "next", "size_param": "n", "size": 1}
        of = source(url, method="POST", body={"q": "x"}, pagination=paging)
        assert len(rows_of(await pages(of, asked()))) == 2
    assert json.loads(await requests[0].text()) == {"q": "x", "n": 1}
    assert json.loads(await requests[1].text()) == {"q": "x", "n": 1, "after": "b"}


@pytest.mark.parametrize(
    ("paging", "answers"),
    [
        ({"kind": "cursor", "param": "c", "from": "next"}, [{"rows": [], "next": "x"}]),
        ({"kind": "page", "param": "p"}, [{"rows": [{"n": 1}]}]),
        ({"kind": "link", "from": "next"}, [{"rows": [{"n": 1}], "next": "/rows"}]),
        (
            {"kind": "cursor", "param": "c", "from": "next"},
            [
                {"rows": [{"n": 1}], "next": "a"},
                {"rows": [{"n": 2}], "next": "b"},
                {"rows": [{"n": 3}], "next": "a"},
            ],
        ),
    ],
)
async def test_pages_that_never_end_are_refused(paging: Any, answers: list[object]) -> None:
    """A page that leads to itself or to an earlier one is told, not followed for ever."""
    handler, requests = answering(*answers)
    async with served(handler) as url:
        with pytest.raises(ReadingError, match="the same page again"):
            await pages(source(url, pagination=paging), asked())
    assert len(requests) <= 4


@pytest.mark.parametrize(
    "link",
    [
        "http://169.254.169.254/latest",
        "https://127.0.0.1/rows",
        "//other.example/rows",
        "http://127.0.0.1:1/rows",
        "http://user@127.0.0.1:1/rows",
        "http://[::1]/rows",
        "http://[bad",
    ],
)
async def test_next_links_stay_at_their_host(link: str) -> None:
    """The credential never goes to another host, port or scheme."""
    handler, requests = answering({"rows": [row(1)], "next": link})
    async with served(handler) as url:
        of = source(url, pagination={"kind": "link", "from": "next"})
        with pytest.raises(ReadingError, match=r"another host|is no URL") as caught:
            await pages(of, asked())
    assert caught.value.failure.error_class is ErrorClass.INVALID_DATA
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("answer", "error_class", "code", "wait"),
    [
        (web.Response(status=401), ErrorClass.CREDENTIALS, "401", None),
        (web.Response(status=403), ErrorClass.PERMISSION, "403", None),
        (web.Response(status=404), ErrorClass.PERMANENT, "404", None),
        (web.Response(status=410), ErrorClass.VERSION, "410", None),
        (web.Response(status=413), ErrorClass.TOO_LARGE, "413", None),
        (
            web.Response(status=429, headers={"Retry-After": "17"}),
            ErrorClass.RATE_LIMITED,
            "429",
            17,
        ),
        (
            web.Response(status=503, headers={"Retry-After": "soon"}),
            ErrorClass.TRANSIENT,
            "503",
            None,
        ),
        (web.Response(status=302, headers={"Location": "/x"}), ErrorClass.TRANSIENT, "302", None),
        (web.Response(text="<html>"), ErrorClass.TRANSIENT, "200", None),
        (web.json_response({"other": []}), ErrorClass.INVALID_DATA, "", None),
        (web.json_response({"rows": {}}), ErrorClass.INVALID_DATA, "", None),
        (web.json_response([]), ErrorClass.INVALID_DATA, "", None),
        (
            web.json_response({"error": {"code": "EXPIRED"}}, status=400),
            ErrorClass.CREDENTIALS,
            "400/EXPIRED",
            None,
        ),
        (
            web.json_response({"error": {"code": "OTHER"}}, status=400),
            ErrorClass.PERMANENT,
            "400",
            None,
        ),
        (web.json_response({"rows": [], "busy": True}), ErrorClass.TRANSIENT, "200/True", None),
    ],
)
async def test_answers_that_are_none_have_a_class(
    answer: web.Response, error_class: ErrorClass, code: str, wait: float | None
) -> None:
    """Statuses mean what they usually do, unless the table of errors says otherwise."""
    handler, _ = answering(answer)
    table = [
        {"status": 400, "path": "error.code", "equals": "EXPIRED", "class": "CREDENTIALS"},
        {"path": "busy", "equals": True, "class": "TRANSIENT"},
    ]
    gate = OpenGate()
    async with served(handler) as url:
        of = source(url, auth={"kind": "bearer"}, errors=table)
        with pytest.raises(ReadingError) as caught:
            await pages(of, asked(), gate, token="verysecret")
    failure = caught.value.failure
    assert (failure.error_class, failure.platform_code) == (error_class, code)
    assert failure.retry_after_seconds == wait
    assert "verysecret" not in repr(failure)
    assert [it.reset_seconds for it in gate.observed] == ([17] if wait else [])


async def test_a_retry_date_is_a_wait() -> None:
    """Retry-After may be a moment."""
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    handler, _ = answering(web.Response(status=503, headers={"Retry-After": moment}))
    async with served(handler) as url:
        with pytest.raises(ReadingError) as caught:
            await pages(source(url), asked())
    assert 80 < (caught.value.failure.retry_after_seconds or 0) <= 90


async def test_calls_pass_the_declared_limits() -> None:
    """Each call takes a unit of every limit; without any, there are ten a second."""
    handler, _ = answering({"rows": []})
    gate = OpenGate()
    async with served(handler) as url:
        limits = [{"calls": 5, "seconds": 60, "per": "account"}, {"calls": 100, "seconds": 3600}]
        await pages(source(url, limits=limits), asked(), gate)
        await pages(source(url), asked(), gate)
    declared, usual = gate.entered
    assert [(it.capacity, it.window_seconds, it.key.scope) for it in declared] == [
        (5, 60, "account"),
        (100, 3600, "app"),
    ]
    assert [(it.capacity, it.window_seconds) for it in usual] == [(10, 1)]


async def test_rows_are_grouped_over_pages_and_dated_by_the_call() -> None:
    """Sums go over all pages; rows without a day are of the one that was asked for."""
    mapping = {
        "aggregate": {"by": ["path_date", "kind"], "sum": ["n"]},
        "columns": {"date": "path_date", "orders": "n"},
        "breakdowns": {"kind": "kind"},
    }
    handler, _ = answering(
        {"rows": [{"kind": "a", "n": 1}, {"kind": "b", "n": 2}], "next": "x"},
        {"rows": [{"kind": "a", "n": 4}]},
    )
    async with served(handler) as url:
        paging = {"kind": "cursor", "param": "c", "from": "next"}
        of = source(url, mapping=mapping, pagination=paging, days_per_read=1)
        found = await entries(of, asked(end=FIRST))
    assert [(it["date"], it["breakdown_key"], it["orders"]) for it in found] == [
        (FIRST, "kind=a", 5),
        (FIRST, "kind=b", 2),
    ]


async def test_an_item_that_is_no_row_is_told_of() -> None:
    """Grouped or not, it breaks a rule and costs no other row."""
    mapping = {
        "aggregate": {"by": ["path_date"], "sum": ["n"]},
        "columns": {"date": "path_date", "orders": "n"},
    }
    handler, _ = answering({"rows": [row(1), "oops", None]}, {"rows": [{"n": 2}, "oops"]})
    async with served(handler) as url:
        (plain,) = await pages(source(url), asked())
        grouping = source(url, mapping=mapping, days_per_read=1)
        (grouped,) = await pages(grouping, asked(end=FIRST))
    for of, page, bad in ((source(url), plain, 2), (grouping, grouped, 1)):
        result = evaluate(of.mapping, page.rows, context(page, asked()))
        assert result.table["orders"].to_pylist() == ([1] if bad == 2 else [2])
        assert [it.code for it in result.errors] == ["NOT_AN_OBJECT"] * bad


async def test_rows_of_other_days_are_left_out() -> None:
    """An API that answers more than it was asked for does not widen the days."""
    handler, _ = answering(
        {"rows": [row(1, "2026-10-31"), row(2, LAST.isoformat()), row(3, "never"), "x"]}
    )
    async with served(handler) as url:
        found = await pages(source(url), asked())
    assert [it["n"] if isinstance(it, dict) else it for it in rows_of(found)] == [2, 3, "x"]


async def test_a_question_without_an_answer_is_known_too() -> None:
    """No row is a page without rows; the credential is no part of the question, the days are."""
    handler, _ = answering({"rows": []})
    hashes = []
    async with served(handler) as url:
        of = source(url, params={"from": "{start_date}"}, auth={"kind": "bearer"})
        for token, start in (("a", FIRST), ("b", FIRST), ("a", LAST)):
            (page,) = await pages(of, asked(start=start), token=token)
            assert not page.rows
            hashes.append(page.query_hash)
    assert len(hashes[0]) == 64
    assert hashes[0] == hashes[1] != hashes[2]


async def test_verifying_asks_for_one_page() -> None:
    """A credential is tried with a page of yesterday; accounts are those of the definition."""
    handler, requests = answering({"rows": [row(1)], "next": "x"})
    async with served(handler) as url:
        paging = {"kind": "cursor", "param": "c", "from": "next"}
        async with source(url, pagination=paging).open(Credential({}), {}, OpenGate()) as session:
            verified = await session.verify()
            assert [it async for it in session.objects(verified.accounts[0])] == []
    assert [it.account_id for it in verified.accounts] == ["shop"]
    assert len(requests) == 1


async def test_giving_up_closes_the_connection() -> None:
    """A reading that is cancelled while it waits ends at once."""
    began, released = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        began.set()
        await released.wait()
        return web.Response()

    async with served(handler) as url:
        task = asyncio.create_task(pages(source(url), asked()))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        released.set()


# --- Private addresses ---


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "[::1]", "169.254.169.254"])
async def test_private_hosts_are_not_called(host: str) -> None:
    """Without the operator's leave nothing is sent to an address that is not public."""
    async with httpx.AsyncClient(transport=PublicTransport(private_allowed=False)) as client:
        with pytest.raises(ReadingError, match="private or reserved") as caught:
            await client.get(f"https://{host}/")
    assert caught.value.failure.error_class is ErrorClass.PERMANENT


async def test_credentials_of_machines_are_never_asked_for() -> None:
    """Link-local addresses are refused even where private ones are allowed."""
    with pytest.raises(ReadingError, match="private or reserved"):
        await allowed_address("169.254.169.254", 80, private_allowed=True)


async def test_an_unknown_host_may_come_back() -> None:
    """A name that is not found is tried again."""
    with pytest.raises(ReadingError) as caught:
        await allowed_address("nowhere.invalid", 443, private_allowed=False)
    assert caught.value.failure.error_class is ErrorClass.TRANSIENT


async def test_plain_http_needs_the_operators_leave() -> None:
    """A credential does not travel in the clear."""
    with pytest.raises(ReadingError, match="has to be HTTPS"):
        await pages(source("http://api.example.com", private=False), asked())


# --- Definitions ---


def problems(given: Any, mapping: Any = MAPPING) -> dict[str, str]:
    """What is wrong, by path."""
    return {it.field: it.description for it in check_source(SourceKind.HTTP, given, mapping)}


def _wrong() -> Iterator[tuple[dict[str, Any], str]]:
    two = [*ACCOUNTS, {**ACCOUNTS[0], "account_id": "b"}]
    at = "definition.reads[0]"
    yield definition("ftp://x"), "definition.base_url"
    yield definition("https://user:pw@x"), "definition.base_url"
    yield definition("https://x/?key=1"), "definition.base_url"
    yield definition(auth={"kind": "query"}), "definition.auth.kind"
    yield definition(auth={"kind": "header"}), "definition.auth.name"
    yield definition(auth={"kind": "bearer", "name": "X"}), "definition.auth.name"
    yield definition(headers={"authorization": "Bearer x"}), "definition.headers"
    yield definition(headers={"A": "x\ny"}), "definition.headers.A"
    yield definition(path="rows"), f"{at}.path"
    yield definition(path="/x?token=1"), f"{at}.path"
    yield definition(path="/{secret}"), f"{at}.path"
    yield definition(params={"a": "{start_date:%H}"}), f"{at}.params.a"
    yield definition(method="POST", body={"a": [{"b": "{x}"}]}), f"{at}.body.a[0].b"
    yield definition(body={"a": 1}), f"{at}.body"
    yield definition(method="DELETE"), f"{at}.method"
    yield definition(accounts=two), at
    yield definition(pagination={"kind": "cursor", "param": "c"}), f"{at}.pagination.from"
    yield definition(pagination={"kind": "page"}), f"{at}.pagination.param"
    yield definition(errors=[{"status": 400, "class": "BAD"}]), "definition.errors[0].class"
    yield definition(errors=[{"class": "TRANSIENT"}]), "definition.errors[0]"
    yield definition(limits=[{"calls": 0, "seconds": 1}]), "definition.limits[0].calls"
    yield {**definition(), "reads": definition()["reads"] * 2}, "definition.reads"


@pytest.mark.parametrize(("given", "path"), list(_wrong()))
def test_what_is_wrong_with_a_definition_is_told(given: dict[str, Any], path: str) -> None:
    """Each violation names its field."""
    assert problems(definition()) == {}
    assert path in problems(given), problems(given)


def test_days_have_to_come_from_somewhere() -> None:
    """Rows without a date are of the one day that is read, so there is only one."""
    dateless = {"columns": {"orders": "n"}}
    assert "definition.days_per_read" in problems(definition(), dateless)
    assert problems(definition(days_per_read=1), dateless) == {}
    assert problems(definition(days_per_read=1.0), dateless) == {}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "path", "level", "param", "from", "status", "class", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["base_url", "auth", "reads", "accounts", "errors", "limits", "place", "files"]
        ),
        _JSON,
    ),
    st.sampled_from([SourceKind.HTTP, SourceKind.FILES]),
)
def test_any_definition_is_checked_without_a_crash(given: dict[str, Any], kind: SourceKind) -> None:
    """Whatever is given is refused with paths, and never builds a source."""
    found = check_source(kind, given, MAPPING)
    assert all(it.field.startswith("definition") for it in found)
    if found:
        spec = NewSource("till", "Till", kind, given, MAPPING)
        with pytest.raises(InvalidFieldsError):
            OwnSources(None, private_allowed=False, timeout_seconds=5).build(spec)


def test_secrets_do_not_show() -> None:
    """A source and its credential can be printed."""
    shown = repr(Credential({"token": Secret("verysecret")})) + repr(source("https://x.example"))
    assert "verysecret" not in shown
