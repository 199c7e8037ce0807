"""What the API answers, whatever the transport: bytes of protobuf, or an error."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from liftos_platforms import truth
from liftos_platforms.faults import Call, Fault, FaultKind
from liftos_platforms.google_ads import access, troubles
from liftos_platforms.google_ads.access import AccessTokens, Operations
from liftos_platforms.google_ads.calls import SearchCall, recorded_call, recorded_search
from liftos_platforms.google_ads.catalogue import Catalogue
from liftos_platforms.google_ads.delivery import spoilt, streamed, strike_page
from liftos_platforms.google_ads.failures import refused
from liftos_platforms.google_ads.field_search import search_fields
from liftos_platforms.google_ads.gaql import GaqlError, parse_query
from liftos_platforms.google_ads.messages import (
    AccessibleCustomersResponse,
    Row,
    SearchResponse,
    StreamResponse,
)
from liftos_platforms.google_ads.page_tokens import Place, SearchTokens
from liftos_platforms.google_ads.plan import Plan, check_query
from liftos_platforms.google_ads.rendering import Rendering, render, repeated_before, summary_row
from liftos_platforms.google_ads.rows import lines_of
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import Account, Platform, World, draw_of

PAGE_ROWS: Final = 10_000
"""Rows of a page of Search, which the platform fixes, and of a chunk of SearchStream."""

OPERATIONS_PER_DAY: Final = 15_000
"""Operations of a project with basic access."""

_KEPT_BYTES: Final = 512 * 1024 * 1024

Attempt = Plan | GaqlError | None
"""The plan of a call; or what is wrong with its query; or None where its customer is unknown."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a call that was let in asks for."""

    account: Account
    query: str
    plan: Plan
    world: World
    place: Place


class Service:
    """The API on one simulation, without a transport.

    Attributes:
        tokens: The access tokens that are out.
        operations: The operations of the last 24 hours.
    """

    def __init__(
        self, simulation: Simulation, *, page_rows: int, operations_per_day: int | None
    ) -> None:
        seed = simulation.world.seed
        self.tokens = AccessTokens(seed)
        self.operations = Operations(operations_per_day)
        self._simulation = simulation
        self._page_rows = page_rows
        self._catalogue = Catalogue(Row.DESCRIPTOR)
        self._page_tokens = SearchTokens(draw_of(seed, "page tokens").to_bytes(16))
        self._renderings: OrderedDict[tuple[object, ...], tuple[World, Rendering]] = OrderedDict()
        self._request_count = 0

    def new_request_id(self) -> str:
        """Return an id that no other call has."""
        self._request_count += 1
        return f"{draw_of(self._simulation.world.seed, 'request', self._request_count):020d}"

    async def stream(self, call: SearchCall, request_id: str) -> AsyncGenerator[bytes, None]:
        """Yield the messages of SearchStream.

        Raises:
            RefusedError: The call is answered with an error, now or after some rows.
            GoesAwayError: The server goes away.
        """
        attempt = self._attempt(call)
        with recorded_search(self._simulation, call, _plan(attempt)) as (outcome, fault):
            asked = self._let_in(call, attempt, fault)
            rendering = self._rendering(asked, totals=call.wants_summary_row)
            if call.wants_results:
                async for chunk in streamed(rendering, fault, asked.plan):
                    outcome.rows += chunk.row_count
                    tail = _stream_tail(asked.plan, request_id)
                    tail.query_resource_consumption = chunk.row_count
                    yield chunk.results + bytes(tail.SerializeToString())
            if call.wants_summary_row:
                tail = _stream_tail(asked.plan, request_id)
                tail.summary_row.ParseFromString(await _summary(asked.plan, rendering))
                yield bytes(tail.SerializeToString())
            elif not rendering.row_count:
                yield bytes(_stream_tail(asked.plan, request_id).SerializeToString())

    async def page(self, call: SearchCall) -> bytes:
        """Return the message of Search.

        Raises:
            RefusedError: The call is answered with an error.
            GoesAwayError: The server goes away.
        """
        attempt = self._attempt(call)
        with recorded_search(self._simulation, call, _plan(attempt)) as (outcome, fault):
            asked = self._let_in(call, attempt, fault)
            await strike_page(fault)
            tail = SearchResponse()
            tail.field_mask.paths.extend(asked.plan.selected)
            if call.validate_only:
                return bytes(tail.SerializeToString())
            rendering = self._rendering(asked, totals=call.wants_summary_row)
            results = b""
            if call.wants_results:
                chunk = await self._page_chunk(asked, rendering, fault)
                results, outcome.rows = chunk
                tail.query_resource_consumption = outcome.rows
            if call.wants_results and await rendering.chunk(asked.place.page + 1) is not None:
                tail.next_page_token = self._next_token(call, asked)
            elif call.wants_summary_row:
                tail.summary_row.ParseFromString(await _summary(asked.plan, rendering))
            if call.wants_total_count:
                await rendering.complete()
                tail.total_results_count = rendering.row_count
            return results + bytes(tail.SerializeToString())

    def accessible_customers(self, headers: Mapping[str, str], method: str) -> bytes:
        """Return the message of ListAccessibleCustomers.

        Raises:
            RefusedError: The call is answered with an error.
        """
        simulation = self._simulation
        call = Call(Platform.GOOGLE_ADS, "list_accessible_customers")
        with recorded_call(simulation, call, method, headers) as (_, fault):
            _refuse_struck(fault)
            now = simulation.clock.now()
            token = access.bearer_token(headers.get("authorization"))
            grant = self.tokens.grant_of(token, simulation.world, now)
            self.operations.take(now)
            message = AccessibleCustomersResponse()
            message.resource_names.extend(f"customers/{name}" for name in grant.account_ids)
            return bytes(message.SerializeToString())

    def fields(self, headers: Mapping[str, str], method: str, query: str) -> bytes:
        """Return the message of SearchGoogleAdsFields, which is one page.

        Raises:
            RefusedError: The call is answered with an error.
        """
        simulation = self._simulation
        call = Call(Platform.GOOGLE_ADS, "search_fields", parameters={"query": query})
        with recorded_call(simulation, call, method, headers) as (_, fault):
            _refuse_struck(fault)
            now = simulation.clock.now()
            token = access.bearer_token(headers.get("authorization"))
            self.tokens.grant_of(token, simulation.world, now)
            self.operations.take(now)
            try:
                return search_fields(query, self._catalogue)
            except GaqlError as error:
                raise refused(
                    "query_error", error.code, error.message, trigger=error.trigger
                ) from None

    def _attempt(self, call: SearchCall) -> Attempt:
        simulation = self._simulation
        account = truth.account_of(simulation.world, Platform.GOOGLE_ADS, call.customer_id)
        if account is None:
            return None
        today = truth.local_day(account, simulation.clock.now())
        try:
            query = parse_query(call.query)
            return check_query(query, self._catalogue, today=today, is_manager=account.is_manager)
        except GaqlError as error:
            return error

    def _let_in(self, call: SearchCall, attempt: Attempt, fault: Fault | None) -> _Asked:
        """Return what a call asks for.

        Raises:
            RefusedError: A fault strikes, or the call may not or cannot be answered.
        """
        _refuse_struck(fault)
        world, now = self._simulation.world, self._simulation.clock.now()
        token = access.bearer_token(call.headers.get("authorization"))
        grant = self.tokens.grant_of(token, world, now)
        account = access.open_customer(
            world, grant, call.customer_id, call.headers.get("login-customer-id")
        )
        if not call.page_token:
            self.operations.take(now)
        if not call.query:
            raise refused("request_error", "REQUIRED_FIELD_MISSING", "The query is missing.")
        if isinstance(attempt, GaqlError):
            raise refused(attempt.category, attempt.code, attempt.message, trigger=attempt.trigger)
        assert attempt is not None, "the customer was found"
        _check_request(call, attempt)
        place = self._page_tokens.place(
            call.page_token, customer_id=call.customer_id, query=call.query, now=now
        )
        return _Asked(account, call.query, attempt, world, place)

    async def _page_chunk(
        self, asked: _Asked, rendering: Rendering, fault: Fault | None
    ) -> tuple[bytes, int]:
        """Return a page's rows as bytes, and their number."""
        chunk = await rendering.chunk(asked.place.page)
        if chunk is None:
            return b"", 0
        if asked.place.page and fault is not None and fault.kind is FaultKind.ROW_REPEATED:
            before = await rendering.chunk(asked.place.page - 1)
            assert before is not None, "pages before a page have rows"
            chunk = repeated_before(chunk, before.last_row)
        chunk = spoilt(chunk, fault, asked.plan)
        return chunk.results, chunk.row_count

    def _next_token(self, call: SearchCall, asked: _Asked) -> str:
        return self._page_tokens.token(
            Place(asked.place.page + 1, asked.place.as_of),
            customer_id=call.customer_id,
            query=call.query,
            now=self._simulation.clock.now(),
        )

    def _rendering(self, asked: _Asked, *, totals: bool) -> Rendering:
        """Return the rendering of an answer, which may have been made before."""
        key = (asked.account.account_id, asked.query, asked.place.as_of, totals)
        world, rendering = self._renderings.get(key, (None, None))
        if rendering is None or world is not asked.world:
            lines = lines_of(asked.plan, asked.world, asked.account, now=asked.place.as_of)
            rendering = render(asked.plan, lines, chunk_rows=self._page_rows, totals=totals)
            self._renderings[key] = asked.world, rendering
        self._renderings.move_to_end(key)
        self._forget()
        return rendering

    def _forget(self) -> None:
        """Drop the renderings that were used longest ago, until the rest fits; never the last."""
        size = sum(rendering.size_bytes for _, rendering in self._renderings.values())
        while size > _KEPT_BYTES and len(self._renderings) > 1:
            _, (_, dropped) = self._renderings.popitem(last=False)
            size -= dropped.size_bytes


def _plan(attempt: Attempt) -> Plan | None:
    return attempt if isinstance(attempt, Plan) else None


def _refuse_struck(fault: Fault | None) -> None:
    error = None if fault is None else troubles.error_of(fault)
    if error is not None:
        raise error


def _check_request(call: SearchCall, plan: Plan) -> None:
    """Refuse what does not go together in a request.

    Raises:
        RefusedError: It does not.
    """
    if call.page_size:
        code, message = "PAGE_SIZE_NOT_SUPPORTED", "Setting the page size is not supported."
    elif call.validate_only and call.page_token:
        code = "VALIDATE_ONLY_REQUEST_HAS_PAGE_TOKEN"
        message = "A request that only validates has no page token."
    elif call.wants_summary_row and call.validate_only:
        code = "CANNOT_RETURN_SUMMARY_ROW_FOR_VALIDATE_ONLY_REQUESTS"
        message = "A request that only validates has no summary row."
    elif call.wants_summary_row and not plan.metrics:
        code = "CANNOT_RETURN_SUMMARY_ROW_FOR_REQUEST_WITHOUT_METRICS"
        message = "A summary row needs metrics."
    else:
        return
    raise refused("request_error", code, message)


def _stream_tail(plan: Plan, request_id: str) -> Any:  # noqa: ANN401 - a class made at run time
    tail = StreamResponse()
    tail.field_mask.paths.extend(plan.selected)
    tail.request_id = request_id
    return tail


async def _summary(plan: Plan, rendering: Rendering) -> bytes:
    await rendering.complete()
    assert rendering.totals is not None, "it was rendered with totals"
    return summary_row(plan, rendering.totals)
