"""The simulated Google Ads API over its own transports: faults, limits, pages and doors."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import grpc
import httpx
import pytest
from google.ads.googleads.v26.services.services.google_ads_service import GoogleAdsServiceClient
from google.ads.googleads.v26.services.services.google_ads_service.transports import (
    GoogleAdsServiceGrpcTransport,
)
from google.oauth2.credentials import Credentials
from google.protobuf.json_format import MessageToDict

from liftos_platforms import truth
from liftos_platforms.faults import Fault, FaultKind, random_plan
from liftos_platforms.google_ads import messages
from liftos_platforms.google_ads.face import GoogleAdsFace
from liftos_platforms.journal import Entry
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import Platform
from liftos_platforms.worlds import token_of

_HOST = "127.0.0.1"
_MANAGER = "9000000001"
_CUSTOMER = "1112223331"
_SERVICES = "/google.ads.googleads.v26.services"
_QUERY = (
    "SELECT campaign.id, campaign.advertising_channel_type, segments.date, metrics.cost_micros "
    "FROM campaign WHERE segments.date BETWEEN '2026-11-01' AND '2026-11-07'"
)


@dataclass
class _Stage:
    """A face with small pages, and ways to call it."""

    simulation: Simulation
    face: GoogleAdsFace
    channel: grpc.aio.Channel
    http: httpx.AsyncClient
    access_token: str = ""

    def headers(self, **changes: str) -> dict[str, str]:
        """Return the headers of an ordinary call."""
        return {
            "authorization": f"Bearer {self.access_token}",
            "login-customer-id": _MANAGER,
        } | {name.replace("_", "-"): value for name, value in changes.items()}

    async def authorize(self) -> httpx.Response:
        """Get an access token."""
        form = {
            "grant_type": "refresh_token",
            "client_id": "client",
            "client_secret": "secret",
            "refresh_token": token_of(7, Platform.GOOGLE_ADS),
        }
        response = await self.http.post("/token", data=form)
        self.access_token = response.json().get("access_token", "")
        return response

    async def stream(
        self, query: str = _QUERY, *, rows: list[Any] | None = None, **request: Any
    ) -> list[Any]:
        """Read a stream; return its messages, and put its rows into `rows` as they come."""
        call = self.channel.unary_stream(
            f"{_SERVICES}.GoogleAdsService/SearchStream",
            messages.StreamRequest.SerializeToString,
            messages.StreamResponse.FromString,
        )
        asked = messages.StreamRequest(**{"customer_id": _CUSTOMER, "query": query, **request})
        metadata = tuple(self.headers().items())
        found: list[Any] = []
        async for message in call(asked, metadata=metadata, timeout=10):
            found.append(message)
            if rows is not None:
                rows.extend(message.results)
        return found

    async def search(self, query: str = _QUERY, **request: Any) -> Any:
        """Read one page."""
        call = self.channel.unary_unary(
            f"{_SERVICES}.GoogleAdsService/Search",
            messages.SearchRequest.SerializeToString,
            messages.SearchResponse.FromString,
        )
        asked = messages.SearchRequest(**{"customer_id": _CUSTOMER, "query": query, **request})
        return await call(asked, metadata=tuple(self.headers().items()), timeout=10)

    async def ended(self) -> Entry:
        """Return the last call's record, once the server has let go of the call."""
        async with asyncio.timeout(5):
            while True:
                entry = self.simulation.journal.calls(Platform.GOOGLE_ADS)[-1]
                if entry.status:
                    return entry
                await asyncio.sleep(0.01)

    def strike(self, kind: FaultKind, **options: Any) -> None:
        """Plan a fault."""
        self.simulation.faults.add(Fault(kind, Platform.GOOGLE_ADS, **options))


@pytest.fixture
async def stage() -> AsyncIterator[_Stage]:
    """A running face and an access token."""
    simulation = Simulation()
    face = GoogleAdsFace(simulation, page_rows=10, operations_per_day=50)
    await face.start(_HOST, 0)
    async with (
        grpc.aio.insecure_channel(f"{_HOST}:{face.port}") as channel,
        httpx.AsyncClient(base_url=f"http://{_HOST}:{face.rest_port}") as http,
    ):
        running = _Stage(simulation, face, channel, http)
        await running.authorize()
        yield running
    await face.stop()


def _failure(error: grpc.aio.AioRpcError) -> Any:
    for key, value in error.trailing_metadata() or ():
        if key.endswith("googleadsfailure-bin"):
            return MessageToDict(messages.Failure.FromString(value))
    return None


def _code(error: grpc.aio.AioRpcError) -> Any:
    failure = _failure(error)
    return failure and failure["errors"][0]["errorCode"]


async def test_every_error_of_a_fault_has_its_status_and_code(stage: _Stage) -> None:
    """Each fault that answers with an error does so once, and the next call goes well."""
    expected = {
        FaultKind.QUOTA_TEMPORARILY_EXHAUSTED: ("RESOURCE_EXHAUSTED", "quotaError"),
        FaultKind.QUOTA_EXHAUSTED: ("RESOURCE_EXHAUSTED", "quotaError"),
        FaultKind.QUOTA_ACCESS_PROHIBITED: ("RESOURCE_EXHAUSTED", "quotaError"),
        FaultKind.QUERIES_TOO_HEAVY_SHORT_TERM: ("RESOURCE_EXHAUSTED", "quotaError"),
        FaultKind.QUERIES_TOO_HEAVY_LONG_TERM: ("RESOURCE_EXHAUSTED", "quotaError"),
        FaultKind.EXHAUSTED_WITHOUT_DETAILS: ("RESOURCE_EXHAUSTED", None),
        FaultKind.UNAVAILABLE_AT_START: ("UNAVAILABLE", None),
        FaultKind.INTERNAL_TRANSIENT: ("INTERNAL", "internalError"),
        FaultKind.SERVER_DEADLINE: ("DEADLINE_EXCEEDED", "internalError"),
        FaultKind.ACCESS_TOKEN_EXPIRED: ("UNAUTHENTICATED", "authenticationError"),
        FaultKind.ACCESS_REVOKED: ("UNAUTHENTICATED", "authenticationError"),
        FaultKind.PERMISSION_DENIED: ("PERMISSION_DENIED", "authorizationError"),
        FaultKind.CUSTOMER_NOT_ENABLED: ("PERMISSION_DENIED", "authorizationError"),
        FaultKind.VERSION_UNSUPPORTED: ("INVALID_ARGUMENT", "requestError"),
    }
    whole = await stage.stream()
    codes = set()
    for kind, (status, category) in expected.items():
        stage.strike(kind)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stage.stream()
        assert caught.value.code().name == status, kind
        code = _code(caught.value)
        assert (code and next(iter(code))) == category
        codes.add(json.dumps(code))
        again = await stage.stream()
        assert [m.results for m in again] == [m.results for m in whole]
        entry = stage.simulation.journal.calls(Platform.GOOGLE_ADS)[-2]
        assert (entry.fault, entry.status) == (kind, status)
    assert len(codes) == len(expected) - 1
    assert stage.simulation.faults.unstruck() == ()


async def test_a_stream_may_break_before_between_and_after_rows(stage: _Stage) -> None:
    """Rows arrive until a stream breaks, and all of them before it breaks at its end."""
    whole: list[Any] = []
    await stage.stream(rows=whole)
    counts = []
    for kind, amount in (
        (FaultKind.UNAVAILABLE_AT_START, None),
        (FaultKind.UNAVAILABLE_MID_STREAM, None),
        (FaultKind.UNAVAILABLE_MID_STREAM, 1),
        (FaultKind.UNAVAILABLE_AT_END, None),
    ):
        stage.strike(kind, amount=amount)
        rows: list[Any] = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stage.stream(rows=rows)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert rows == whole[: len(rows)]
        counts.append(len(rows))
    assert counts == [0, 5, 15, len(whole)]


async def test_rows_may_repeat_grow_and_hold_what_nobody_knows(stage: _Stage) -> None:
    """A repeated row, an enum's unknown number and a message beyond the cap are delivered."""
    whole: list[Any] = []
    await stage.stream(rows=whole)
    stage.strike(FaultKind.ROW_REPEATED)
    rows: list[Any] = []
    await stage.stream(rows=rows)
    assert rows == [*whole[:5], whole[4], *whole[5:]]
    stage.strike(FaultKind.ENUM_UNKNOWN)
    rows = []
    await stage.stream(rows=rows)
    assert rows[0].campaign.advertising_channel_type == 999
    assert rows[1:] == whole[1:]
    stage.strike(FaultKind.MESSAGE_OVERSIZE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stage.stream()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert _failure(caught.value) is None
    assert (await stage.ended()).fault is FaultKind.MESSAGE_OVERSIZE


async def test_a_stream_that_hangs_ends_with_the_callers_deadline(stage: _Stage) -> None:
    """No byte comes; the call ends when its deadline passes, and the server lets go of it."""
    stage.strike(FaultKind.STREAM_HANGS)
    call = stage.channel.unary_stream(
        f"{_SERVICES}.GoogleAdsService/SearchStream",
        messages.StreamRequest.SerializeToString,
        messages.StreamResponse.FromString,
    )
    asked = messages.StreamRequest(customer_id=_CUSTOMER, query=_QUERY)
    stream = call(asked, metadata=tuple(stage.headers().items()), timeout=0.3)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(stream))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await stage.ended()).status == "CANCELLED"


@pytest.mark.parametrize("endpoint", ["search", "search_stream"])
async def test_a_server_that_goes_away_is_back_on_its_port(stage: _Stage, endpoint: str) -> None:
    """The call breaks, and the same channel reads everything once the server is back."""
    whole = await stage.stream()
    port = stage.face.port
    stage.strike(FaultKind.SERVER_GOES_AWAY, endpoint=endpoint)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (stage.search() if endpoint == "search" else stage.stream())
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    async with asyncio.timeout(20):
        while True:
            try:
                again = await stage.stream()
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)
            else:
                break
    assert [m.results for m in again] == [m.results for m in whole]
    assert stage.face.port == port


async def test_pages_go_through_one_moments_answer(stage: _Stage) -> None:
    """Pages of fixed size join to the stream's rows, though time goes on between them."""
    whole: list[Any] = []
    await stage.stream(rows=whole)
    rows: list[Any] = []
    token = ""
    while True:
        page = await stage.search(
            page_token=token, search_settings={"return_total_results_count": True}
        )
        rows.extend(page.results)
        assert page.total_results_count == len(whole)
        token = page.next_page_token
        if not token:
            break
        assert len(page.results) == 10
        stage.simulation.clock.advance(timedelta(minutes=20))
    assert rows == whole
    count = len(stage.simulation.journal.calls(endpoint="search"))
    assert count == -(-len(whole) // 10)


async def test_page_tokens_expire_and_belong_to_their_query(stage: _Stage) -> None:
    """A foreign, damaged or old token is refused, and so is a page size."""
    page = await stage.search()
    stage.strike(FaultKind.PAGE_TOKEN_EXPIRED)
    await stage.search()
    for request, code in (
        ({"page_token": page.next_page_token}, "EXPIRED_PAGE_TOKEN"),
        ({"page_token": "bm9uc2Vuc2U"}, "INVALID_PAGE_TOKEN"),
        (
            {"query": f"{_QUERY} LIMIT 20", "page_token": page.next_page_token},
            "INVALID_PAGE_TOKEN",
        ),
        ({"page_size": 100}, "PAGE_SIZE_NOT_SUPPORTED"),
        (
            {"page_token": page.next_page_token, "validate_only": True},
            "VALIDATE_ONLY_REQUEST_HAS_PAGE_TOKEN",
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stage.search(**request)
        assert _code(caught.value) == {"requestError": code}
    stage.strike(FaultKind.ROW_REPEATED)
    first = await stage.search()
    second = await stage.search(page_token=first.next_page_token)
    assert second.results[0] == first.results[-1]
    assert len(second.results) == 11


async def test_summary_rows_come_last_and_validation_answers_nothing(stage: _Stage) -> None:
    """A summary is the sum of all pages; a request that only validates has no rows."""
    whole: list[Any] = []
    await stage.stream(rows=whole)
    cost = sum(row.metrics.cost_micros for row in whole)
    *_, last = await stage.stream(summary_row_setting=3)
    assert last.summary_row.metrics.cost_micros == cost
    assert not last.results
    (only,) = await stage.stream(summary_row_setting=4)
    assert (only.summary_row.metrics.cost_micros, len(only.results)) == (cost, 0)
    settings = {"return_summary_row": True}
    page = await stage.search(search_settings=settings)
    while page.next_page_token:
        assert not page.HasField("summary_row")
        page = await stage.search(search_settings=settings, page_token=page.next_page_token)
    assert page.summary_row.metrics.cost_micros == cost
    checked = await stage.search(validate_only=True)
    assert (len(checked.results), checked.field_mask.paths[0]) == (0, "campaign.id")


async def test_operations_are_counted_over_24_hours(stage: _Stage) -> None:
    """A stream, a first page and a list of customers each count; further pages do not."""
    page = await stage.search()
    for _ in range(5):
        await stage.search(page_token=page.next_page_token)
    response = await stage.http.get(
        "/v26/customers:listAccessibleCustomers", headers=stage.headers()
    )
    assert response.status_code == 200
    for _ in range(48):
        await stage.stream()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stage.stream()
    assert _code(caught.value) == {"quotaError": "RESOURCE_EXHAUSTED"}
    details = _failure(caught.value)["errors"][0]["details"]["quotaErrorDetails"]
    assert (details["rateScope"], details["retryDelay"]) == ("DEVELOPER", "86400s")
    stage.simulation.clock.advance(timedelta(hours=24))
    await stage.authorize()
    assert await stage.stream()


async def test_tokens_are_given_out_and_taken_back(stage: _Stage) -> None:
    """The token endpoint refuses what it should, and a revoked grant ends its access tokens."""
    form = {
        "grant_type": "refresh_token",
        "client_id": "client",
        "client_secret": "secret",
        "refresh_token": token_of(7, Platform.GOOGLE_ADS),
    }
    for changes, status, error in (
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"refresh_token": "1//0other"}, 400, "invalid_grant"),
    ):
        response = await stage.http.post("/token", data=form | changes)
        assert (response.status_code, response.json()["error"]) == (status, error)
    response = await stage.http.post("/token", json=form)
    assert response.json()["error"] == "invalid_request"
    stage.strike(FaultKind.GRANT_INVALID)
    assert (await stage.authorize()).json()["error"] == "invalid_grant"
    stage.strike(FaultKind.TOKEN_ENDPOINT_DOWN)
    assert (await stage.http.post("/o/oauth2/token", data=form)).status_code == 503
    await stage.authorize()
    stage.simulation.clock.advance(timedelta(seconds=3599))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stage.stream()
    assert _code(caught.value) == {"authenticationError": "OAUTH_TOKEN_EXPIRED"}
    await stage.authorize()
    grant = truth.grant_of(stage.simulation.world, Platform.GOOGLE_ADS, form["refresh_token"])
    assert grant is not None
    stage.simulation.world = truth.with_grant(stage.simulation.world, replace(grant, revoked=True))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stage.stream()
    assert _code(caught.value) == {"authenticationError": "OAUTH_TOKEN_REVOKED"}
    written = repr([entry.as_json() for entry in stage.simulation.journal.calls()])
    assert form["refresh_token"] not in written
    assert stage.access_token not in written


async def test_rest_answers_with_the_same_rows(stage: _Stage) -> None:
    """A stream over REST is a list of the messages of gRPC: names in camel case, int64 as text."""
    grpc_messages = await stage.stream(summary_row_setting=3)
    path = f"/v26/customers/{_CUSTOMER}/googleAds:searchStream"
    body = {"query": _QUERY, "summaryRowSetting": "SUMMARY_ROW_WITH_RESULTS"}
    response = await stage.http.post(path, json=body, headers=stage.headers())
    assert response.status_code == 200
    chunks = response.json()
    expected = [MessageToDict(message) for message in grpc_messages]
    for message in (*chunks, *expected):
        del message["requestId"]
    assert chunks == expected
    assert isinstance(chunks[0]["results"][0]["metrics"]["costMicros"], str)
    page = await stage.http.post(
        f"/v26/customers/{_CUSTOMER}/googleAds:search",
        json={"query": _QUERY},
        headers=stage.headers(),
    )
    assert page.json()["results"] == chunks[0]["results"]
    assert page.json()["nextPageToken"]


async def test_rest_errors_of_a_stream_are_items_of_a_list(stage: _Stage) -> None:
    """A stream's error stands in a list, by itself or behind the rows that came before."""
    path = f"/v26/customers/{_CUSTOMER}/googleAds:searchStream"

    async def post(body: object, **options: Any) -> httpx.Response:
        return await stage.http.post(path, json=body, headers=stage.headers(), **options)

    response = await post({"query": "SELECT campaign.nam FROM campaign"})
    (item,) = response.json()
    assert response.status_code == item["error"]["code"] == 400
    errors = item["error"]["details"][0]["errors"]
    assert errors[0]["errorCode"] == {"queryError": "UNRECOGNIZED_FIELD"}
    stage.strike(FaultKind.UNAVAILABLE_MID_STREAM)
    response = await post({"query": _QUERY})
    rows, item = response.json()
    assert response.status_code == 200
    assert len(rows["results"]) == 5
    assert item["error"]["status"] == "UNAVAILABLE"
    stage.strike(FaultKind.SERVER_GOES_AWAY)
    with pytest.raises(httpx.TransportError):
        await post({"query": _QUERY})
    response = await post({"query": _QUERY, "pageSize": 5})
    assert response.json()[0]["error"]["status"] == "INVALID_ARGUMENT"
    response = await stage.http.post(path, content=b"{}", headers=stage.headers())
    assert response.status_code == 400
    assert (await stage.http.get("/v26/customers", headers=stage.headers())).status_code == 404


async def test_versions_that_were_shut_down_say_so(stage: _Stage) -> None:
    """A retired version is refused by name on both transports; one to come does not exist."""
    for version, status in (("v21", "INVALID_ARGUMENT"), ("v27", "UNIMPLEMENTED")):
        call = stage.channel.unary_stream(
            f"/google.ads.googleads.{version}.services.GoogleAdsService/SearchStream",
            messages.StreamRequest.SerializeToString,
            messages.StreamResponse.FromString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(call(messages.StreamRequest(), timeout=5)))
        assert caught.value.code().name == status
        response = await stage.http.post(
            f"/{version}/customers/{_CUSTOMER}/googleAds:search",
            json={"query": _QUERY},
            headers=stage.headers(),
        )
        assert response.json()["error"]["status"] == status
        if version == "v21":
            assert _code(caught.value) == {"requestError": "UNSUPPORTED_VERSION"}


async def test_fields_can_be_looked_up(stage: _Stage) -> None:
    """The field service tells categories, types and enums of the fields on offer."""
    call = stage.channel.unary_unary(
        f"{_SERVICES}.GoogleAdsFieldService/SearchGoogleAdsFields",
        messages.FieldsRequest.SerializeToString,
        messages.FieldsResponse.FromString,
    )
    metadata = tuple(stage.headers().items())
    query = "SELECT name, category, data_type, selectable WHERE name LIKE 'metrics.conversions%'"
    found = await call(messages.FieldsRequest(query=query), metadata=metadata, timeout=5)
    names = {field.name for field in found.results}
    assert {"metrics.conversions", "metrics.conversions_by_conversion_date"} <= names
    assert all(field.category == 6 and field.selectable for field in found.results)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(messages.FieldsRequest(query="SELECT nam WHERE name = 'x'"), metadata=metadata)
    assert _code(caught.value) == {"queryError": "UNRECOGNIZED_FIELD"}


async def test_the_journal_knows_days_doors_and_rows(stage: _Stage) -> None:
    """A recorded call says which days were asked for, through whom, and how many rows came."""
    rows: list[Any] = []
    await stage.stream(rows=rows)
    entry = stage.simulation.journal.calls(Platform.GOOGLE_ADS)[-1]
    assert (str(entry.call.first_day), str(entry.call.last_day)) == ("2026-11-01", "2026-11-07")
    assert entry.call.parameters["login_customer_id"] == _MANAGER
    assert entry.call.parameters["resource"] == "campaign"
    assert (entry.status, entry.rows, entry.call.account_id) == ("OK", len(rows), _CUSTOMER)
    assert "authorization" in entry.header_names


async def test_a_client_with_call_credentials_needs_local_credentials() -> None:
    """The SDK's transport adds its token by itself where the server takes local credentials."""
    simulation = Simulation()
    face = GoogleAdsFace(simulation, credentials=grpc.local_server_credentials())
    await face.start("localhost", 0)
    credentials = Credentials(  # type: ignore[no-untyped-call]
        None,
        refresh_token=token_of(7, Platform.GOOGLE_ADS),
        token_uri=f"http://127.0.0.1:{face.rest_port}/token",
        client_id="client",
        client_secret="secret",
    )

    def read() -> int:
        channel = GoogleAdsServiceGrpcTransport.create_channel(
            f"localhost:{face.port}",
            credentials=credentials,
            ssl_credentials=grpc.local_channel_credentials(),
        )
        with channel:
            client = GoogleAdsServiceClient(
                transport=GoogleAdsServiceGrpcTransport(channel=channel)
            )
            stream = client.search_stream(
                customer_id=_CUSTOMER,
                query=_QUERY,
                metadata=[("login-customer-id", _MANAGER)],
                timeout=20,
            )
            return sum(len(batch.results) for batch in stream)

    assert await asyncio.to_thread(read) > 20
    await face.stop()


async def test_stopping_frees_the_ports() -> None:
    """A face that was stopped can be started again where it was."""
    face = GoogleAdsFace(Simulation())
    await face.start(_HOST, 0)
    port, rest_port = face.port, face.rest_port
    await face.stop()
    assert (face.port, face.rest_port) == (0, 0)
    await face.start(_HOST, port, rest_port)
    with socket.create_connection((_HOST, rest_port), timeout=5):
        pass
    assert (face.port, face.rest_port) == (port, rest_port)
    await face.stop()


@pytest.mark.parametrize("seed", range(4))
async def test_a_patient_reader_gets_everything_whatever_passes(stage: _Stage, seed: int) -> None:
    """Under any plan of passing faults, reading until it goes well ends with the same rows."""
    expected: list[Any] = []
    await stage.stream(rows=expected)
    costs = {(row.campaign.id, row.segments.date): row.metrics.cost_micros for row in expected}
    stage.simulation.faults.add(*random_plan(seed, Platform.GOOGLE_ADS, count=10, maximum_skip=6))

    async def patiently(read: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.timeout(40):
            while True:
                try:
                    await read()
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.02)
                else:
                    return

    rows: list[Any] = []

    async def stream() -> None:
        rows.clear()
        await stage.stream(rows=rows)

    async def pages() -> None:
        rows.clear()
        token = ""
        while not rows or token:
            page = await stage.search(page_token=token)
            rows.extend(page.results)
            token = page.next_page_token

    for read in (stream, pages) * 8:
        await patiently(read)
        found = {(row.campaign.id, row.segments.date): row.metrics.cost_micros for row in rows}
        assert found == costs
        stage.simulation.clock.advance(timedelta(seconds=1))
    assert any(entry.fault for entry in stage.simulation.journal.calls())
