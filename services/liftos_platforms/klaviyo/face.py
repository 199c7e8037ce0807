"""Klaviyo over HTTP, on a simulation."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from liftos_platforms import truth
from liftos_platforms.faults import Call, Fault, FaultKind
from liftos_platforms.http import Answer, HttpServer, deliver, delivery_of, page, struck_before
from liftos_platforms.journal import Outcome
from liftos_platforms.klaviyo.answers import (
    ONE,
    aggregate_document,
    bad_cursor,
    found,
    included,
    listed,
    one_document,
    question_of,
    report_document,
)
from liftos_platforms.klaviyo.bodies import (
    AggregateRequest,
    ReportRequest,
)
from liftos_platforms.klaviyo.cursors import CursorError, CursorKey, decode_cursor, encode_cursor
from liftos_platforms.klaviyo.documents import MEDIA_TYPE, ApiError, JsonObject, sparse
from liftos_platforms.klaviyo.endpoints import ENDPOINTS, Endpoint, Name
from liftos_platforms.klaviyo.events import event_page
from liftos_platforms.klaviyo.library import Item, Library
from liftos_platforms.klaviyo.limits import Admitted, Throttled, WindowLimiter
from liftos_platforms.klaviyo.pages import Page, item_page
from liftos_platforms.klaviyo.request import Asked, Request, call_of, check_headers, read_request
from liftos_platforms.klaviyo.spoilage import can_spoil, spoil
from liftos_platforms.klaviyo.strikes import (
    DELIVERED_BADLY,
    LIMITED,
    REFUSED,
    refusal,
    scope_missing,
    strikes_before,
    strikes_delivery,
    strikes_edge,
)
from liftos_platforms.klaviyo.tokens import Caller, TokenRefusedError, Tokens, rejected
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import Account, EntityState, Level, Platform

TOKEN_ENDPOINT: Final = "token"  # noqa: S105 - a name
_NAMESPACE: Final = uuid.UUID("5a0b6a38-51d3-5b5f-8d0c-0f6f2f6b8a11")


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A request, all that is known of it, and what becomes of it.

    Attributes:
        caller: Who calls, or why they may not.
        library: The caller's; None where they may not.
        asked: What is asked, or why it may not be.
        call: The same for faults and the journal.
        outcome: For the journal; filled in on the way.
    """

    came: Request
    caller: Caller | ApiError
    library: Library | None
    asked: Asked | ApiError
    call: Call
    outcome: Outcome


class KlaviyoFace:
    """Klaviyo's API and token endpoint.

    Attributes:
        latency_seconds: How long each answer takes, in real time.
        tokens: Access tokens and the applications that may have them.
        limiter: What has been asked in the windows of now.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.latency_seconds = 0.0
        self.tokens = Tokens()
        self.limiter = WindowLimiter()
        self._simulation = simulation
        self._errors = 0
        app = web.Application(client_max_size=1 << 20)
        for endpoint in ENDPOINTS:
            app.router.add_route("*", endpoint.path, self._handler(endpoint))
        app.router.add_route("*", "/oauth/token", self._token)
        app.router.add_route("*", "/{tail:.*}", self._nothing_here)
        self._server = HttpServer(app)

    @property
    def port(self) -> int:
        """The port that is bound; 0 before `start`."""
        return self._server.port

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one."""
        await self._server.start(host, port)

    async def stop(self) -> None:
        """Stop listening and hang up on everyone."""
        await self._server.stop()

    # --- one request ------------------------------------------------------------------------------

    def _handler(
        self, endpoint: Endpoint
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            came = Request(
                endpoint=endpoint,
                method=request.method,
                headers=request.headers,
                pairs=tuple(request.query.items()),
                raw_body=await request.read(),
                path_id=request.match_info.get("id", ""),
                base=f"{request.scheme}://{request.host}",
                path=request.path,
                now=self._simulation.clock.now(),
            )
            return await self._handle(came, request)

        return handle

    async def _handle(self, came: Request, request: web.Request) -> web.StreamResponse:
        caller = self._caller(came)
        library = None
        if isinstance(caller, Caller):
            library = Library(self._simulation.world, caller.account, came.now, came.base)
        asked = read_request(came, library)
        account_id = self.tokens.account_id(
            came.headers.get("Authorization"), self._simulation.world
        )
        call = call_of(came, account_id, library, asked)
        with self._simulation.journal.record(
            call,
            at=came.now,
            method=came.method,
            credential=came.headers.get("Authorization", ""),
            headers=came.headers,
        ) as outcome:
            await asyncio.sleep(self.latency_seconds)
            answer = self._answer(_Exchange(came, caller, library, asked, call, outcome))
            outcome.status = str(answer.status or "")
            return await deliver(request, answer)

    def _caller(self, came: Request) -> Caller | ApiError:
        try:
            return self.tokens.caller(
                came.headers.get("Authorization"), self._simulation.world, came.now
            )
        except ApiError as error:
            return error

    def _answer(self, exchange: _Exchange) -> Answer:
        fault = self._simulation.faults.take(
            exchange.call, applies=lambda fault: strikes_before(fault, exchange.asked)
        )
        if fault is None:
            return self._answer_well(exchange, None)
        exchange.outcome.fault = fault.kind
        instead = struck_before(fault.kind)
        if instead is not None:
            return instead
        if fault.kind is FaultKind.CHALLENGE:
            return page(HTTPStatus.FORBIDDEN, "Just a moment...")
        if fault.kind in LIMITED:
            return self._limited(fault, exchange.outcome)
        answer = self._answer_well(exchange, fault.kind)
        if fault.kind in DELIVERED_BADLY:
            return replace(answer, delivery=delivery_of(fault.kind))
        return answer

    def _answer_well(self, exchange: _Exchange, refused: FaultKind | None) -> Answer:
        """Answer as Klaviyo does; `refused` may be a fault that makes it refuse."""
        headers: dict[str, str] = {}
        came, outcome = exchange.came, exchange.outcome
        try:
            caller = _admitted_caller(exchange, refused)
            window = self.limiter.admit(
                caller.quota, came.endpoint.name, came.endpoint.limit, came.now
            )
            if isinstance(window, Throttled):
                return self._throttled(window.retry_after_seconds, outcome)
            headers = _limit_headers(window)
            if refused in REFUSED:
                raise refusal(refused)
            if came.endpoint.scope not in caller.scopes:
                raise scope_missing(came.endpoint.scope)
            if isinstance(exchange.asked, ApiError):
                raise exchange.asked
            document = self._document(exchange, exchange.asked)
            self._spoil(document, exchange)
            answer = Answer.json(document, content_type=MEDIA_TYPE)
        except ApiError as error:
            answer = self._error(error, outcome)
        return replace(answer, headers=headers)

    def _error(self, error: ApiError, outcome: Outcome) -> Answer:
        self._errors += 1
        document = error.document(str(uuid.uuid5(_NAMESPACE, str(self._errors))))
        outcome.error = error.word
        return Answer.json(document, status=error.status, content_type=MEDIA_TYPE)

    def _throttled(self, retry_after_seconds: int | None, outcome: Outcome) -> Answer:
        waits = "" if retry_after_seconds is None else f" Expected in {retry_after_seconds} s."
        error = ApiError(f"Request was throttled.{waits}", status=HTTPStatus.TOO_MANY_REQUESTS)
        answer = self._error(error, outcome)
        if retry_after_seconds is None:
            return answer
        return replace(answer, headers={"Retry-After": str(retry_after_seconds)})

    def _limited(self, fault: Fault, outcome: Outcome) -> Answer:
        seconds = LIMITED[fault.kind]
        return self._throttled(None if seconds is None else fault.amount or seconds, outcome)

    def _spoil(self, document: JsonObject, exchange: _Exchange) -> None:
        if exchange.outcome.fault is not None:
            return
        fault = self._simulation.faults.take(
            exchange.call, applies=lambda fault: can_spoil(fault.kind, document)
        )
        if fault is not None:
            exchange.outcome.fault = fault.kind
            spoil(fault.kind, document, exchange.came.now, fault.amount)

    # --- documents --------------------------------------------------------------------------------

    def _document(self, exchange: _Exchange, asked: Asked) -> JsonObject:
        came, library, outcome = exchange.came, exchange.library, exchange.outcome
        assert library is not None, "a caller has a library"
        try:
            match asked.body:
                case ReportRequest():
                    return report_document(came, library, asked, asked.body, outcome)
                case AggregateRequest():
                    return aggregate_document(came, library, asked, asked.body, outcome)
                case None if came.endpoint.name in ONE:
                    outcome.rows = 1
                    return one_document(came, asked, found(came, ONE[came.endpoint.name](library)))
                case None:
                    return self._many(exchange, library, asked)
        except CursorError as error:
            raise bad_cursor(came) from error

    def _many(self, exchange: _Exchange, library: Library, asked: Asked) -> JsonObject:
        came, outcome = exchange.came, exchange.outcome
        question = question_of(came, library, asked)
        after = None if asked.cursor is None else decode_cursor(question, asked.cursor)
        size = asked.query.page_size or came.endpoint.page_size
        if came.endpoint.name is Name.EVENTS:
            shown = event_page(asked.query, library, after=after, size=size)
        else:
            shown = item_page(listed(came, library), asked.query, after=after, size=size)
        outcome.rows = len(shown.items)
        next_key = self._edge(exchange, library.account, shown)
        cursor = None if next_key is None else encode_cursor(question, next_key)
        document: JsonObject = {
            "data": [sparse(item.resource, asked.query.fields) for item in shown.items],
            "links": {
                "self": came.url(),
                "prev": None,
                "next": None if cursor is None else came.url(**{"page[cursor]": cursor}),
            },
        }
        if asked.query.include:
            document["included"] = included(shown.items, asked.query)
        return document

    def _edge(self, exchange: _Exchange, account: Account, shown: Page[Item]) -> CursorKey | None:
        """Return the key after which the next page begins, by the faults of a page's edge."""
        came, outcome = exchange.came, exchange.outcome
        following, following_key = shown.following, shown.following_key
        if following is None or following_key is None or outcome.fault is not None:
            return shown.next_key
        fault = self._simulation.faults.take(
            exchange.call, applies=lambda fault: strikes_edge(fault, came.endpoint.name, shown)
        )
        if fault is None:
            return shown.next_key
        outcome.fault = fault.kind
        match fault.kind:
            case FaultKind.ROW_REPEATED:
                return shown.keys[-2]
            case FaultKind.EVENT_TIMESTAMPS_EQUAL:
                last, first = (item.resource["attributes"] for item in (shown.items[-1], following))
                if isinstance(last, dict) and isinstance(first, dict):
                    last |= {name: first[name] for name in ("timestamp", "datetime")}
                return shown.next_key
            case _:
                self._delete_campaign(account, str(shown.items[0].resource["id"]), came.now)
                return following_key

    def _delete_campaign(self, account: Account, campaign_id: str, now: datetime) -> None:
        simulation = self._simulation
        for entity in truth.entities_of(simulation.world, account, now=now, level=Level.CAMPAIGN):
            if entity.entity_id == campaign_id:
                today = truth.local_day(account, now)
                gone = replace(entity, state=(*entity.state, (today, EntityState.DELETED)))
                simulation.world = truth.with_entity(simulation.world, gone)

    # --- tokens and the rest ----------------------------------------------------------------------

    async def _token(self, request: web.Request) -> web.StreamResponse:
        simulation = self._simulation
        now = simulation.clock.now()
        form = dict(parse_qsl((await request.read()).decode(errors="replace")))
        call = Call(
            Platform.KLAVIYO,
            TOKEN_ENDPOINT,
            parameters={"grant_type": form.get("grant_type", "")},
        )
        with simulation.journal.record(
            call,
            at=now,
            method=request.method,
            credential=form.get("refresh_token", ""),
            headers=request.headers,
        ) as outcome:
            fault = simulation.faults.take(call, applies=strikes_delivery)
            answer = None
            if fault is not None:
                outcome.fault = fault.kind
                answer = struck_before(fault.kind)
            if answer is None:
                answer = self._token_answer(request, form, now, outcome)
            if fault is not None and fault.kind in DELIVERED_BADLY:
                answer = replace(answer, delivery=delivery_of(fault.kind))
            outcome.status = str(answer.status or "")
            return await deliver(request, answer)

    def _token_answer(
        self, request: web.Request, form: Mapping[str, str], now: datetime, outcome: Outcome
    ) -> Answer:
        try:
            if request.method != "POST":
                raise TokenRefusedError(
                    HTTPStatus.METHOD_NOT_ALLOWED, "invalid_request", "Only POST is allowed."
                )
            if request.content_type != "application/x-www-form-urlencoded":
                raise TokenRefusedError(
                    HTTPStatus.BAD_REQUEST, "invalid_request", "The body must be a form."
                )
            given = self.tokens.refresh(
                request.headers.get("Authorization"), form, self._simulation.world, now
            )
        except TokenRefusedError as error:
            outcome.error = error.error
            document = {"error": error.error, "error_description": str(error)}
            return Answer.json(document, status=error.status)
        return Answer.json(given)

    async def _nothing_here(self, request: web.Request) -> web.StreamResponse:
        call = Call(Platform.KLAVIYO, "unknown", parameters={"path": request.path})
        with self._simulation.journal.record(
            call, at=self._simulation.clock.now(), method=request.method, headers=request.headers
        ) as outcome:
            error = ApiError(f"There is no '{request.path}'.", status=HTTPStatus.NOT_FOUND)
            answer = self._error(error, outcome)
            outcome.status = str(answer.status)
            return await deliver(request, answer)


def _admitted_caller(exchange: _Exchange, refused: FaultKind | None) -> Caller:
    """Return who calls, if what is checked before limits is as it should be."""
    came, caller = exchange.came, exchange.caller
    if came.method != came.endpoint.method:
        raise ApiError(
            f"Method '{came.method}' is not allowed.", status=HTTPStatus.METHOD_NOT_ALLOWED
        )
    if isinstance(caller, ApiError):
        raise caller
    if refused is FaultKind.KEY_REJECTED:
        raise rejected()
    check_headers(came)
    return caller


def _limit_headers(admitted: Admitted) -> dict[str, str]:
    return {
        "RateLimit-Limit": str(admitted.limit),
        "RateLimit-Remaining": str(admitted.remaining),
        "RateLimit-Reset": str(admitted.reset_seconds),
    }
