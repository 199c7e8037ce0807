"""Klaviyo over HTTP, on a simulation."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from liftos_platforms import truth
from liftos_platforms.faults import Call, Fault, FaultKind
from liftos_platforms.http import Answer, HttpServer, deliver, delivery_of, page, struck_before
from liftos_platforms.journal import Outcome
from liftos_platforms.klaviyo.aggregates import (
    aggregate_dates,
    aggregate_result,
    aggregate_rows,
)
from liftos_platforms.klaviyo.bodies import (
    AggregateRequest,
    ReportRequest,
    read_aggregate,
    read_report,
)
from liftos_platforms.klaviyo.cursors import CursorError, CursorKey, decode_cursor, encode_cursor
from liftos_platforms.klaviyo.documents import MEDIA_TYPE, ApiError, JsonObject, sparse
from liftos_platforms.klaviyo.endpoints import ENDPOINTS, REPORTS, Endpoint, Name
from liftos_platforms.klaviyo.events import event_page, event_span
from liftos_platforms.klaviyo.library import Item, Library
from liftos_platforms.klaviyo.limits import Admitted, Throttled, WindowLimiter
from liftos_platforms.klaviyo.pages import Page, item_page, page_of
from liftos_platforms.klaviyo.query import PAGE_CURSOR, Query, read_query
from liftos_platforms.klaviyo.reports import (
    date_times,
    report_relationships,
    report_result,
    report_rows,
    report_span,
    sort_key,
)
from liftos_platforms.klaviyo.revision import (
    RevisionMissingError,
    RevisionNotSimulatedError,
    RevisionRetiredError,
    resolve_revision,
)
from liftos_platforms.klaviyo.spoilage import can_spoil, spoil
from liftos_platforms.klaviyo.timeframes import Span
from liftos_platforms.klaviyo.tokens import Caller, TokenRefusedError, Tokens, rejected
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import Account, EntityState, Level, Platform, zone

OPT_OUT: Final = "X-Klaviyo-Revision-Fall-Forward-Opt-Out"
TOKEN_ENDPOINT: Final = "token"  # noqa: S105 - a name
_NAMESPACE: Final = uuid.UUID("5a0b6a38-51d3-5b5f-8d0c-0f6f2f6b8a11")

_LIMITED: Final[Mapping[FaultKind, int | None]] = MappingProxyType(
    {
        FaultKind.BURST_LIMITED: 1,
        FaultKind.STEADY_LIMITED: 30,
        FaultKind.DAILY_LIMITED: 20_000,
        FaultKind.LIMITED_WITHOUT_RETRY_AFTER: None,
    }
)
"""Retry-After of a fault of limits, in seconds, where it names none."""

_REFUSED: Final = frozenset(
    {
        FaultKind.SERVER_ERROR,
        FaultKind.SCOPE_MISSING,
        FaultKind.REVISION_GONE,
        FaultKind.CURSOR_INVALID,
    }
)
_DELIVERED_BADLY: Final = frozenset(
    {FaultKind.ANSWER_LOST, FaultKind.ANSWER_CUT_OFF, FaultKind.ANSWER_LENGTH_WRONG}
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that holds to its endpoint's rules.

    Attributes:
        body: What a POST asks; None for GET.
        span: The time that is asked for, where there is one.
        path_id: The id in the path, or an empty text.
    """

    query: Query
    body: ReportRequest | AggregateRequest | None
    span: Span | None
    path_id: str

    @property
    def cursor(self) -> str | None:
        """Where to go on, wherever it was written."""
        if isinstance(self.body, AggregateRequest):
            return self.body.page_cursor
        return self.query.cursor


@dataclass(frozen=True, slots=True)
class _Request:
    """What came, without the connection that it came over.

    Attributes:
        base: Scheme and host, which links begin with.
    """

    endpoint: Endpoint
    method: str
    headers: Mapping[str, str]
    pairs: tuple[tuple[str, str], ...]
    raw_body: bytes
    path_id: str
    base: str
    path: str
    now: datetime

    def url(self, **changed: str) -> str:
        """Return the URL of the request, with parameters changed or added."""
        pairs = [(name, value) for name, value in self.pairs if name not in changed]
        query = urlencode([*pairs, *changed.items()])
        return f"{self.base}{self.path}{'?' if query else ''}{query}"


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

    came: _Request
    caller: Caller | ApiError
    library: Library | None
    asked: _Asked | ApiError
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
            came = _Request(
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

    async def _handle(self, came: _Request, request: web.Request) -> web.StreamResponse:
        caller = self._caller(came)
        library = None
        if isinstance(caller, Caller):
            library = Library(self._simulation.world, caller.account, came.now, came.base)
        asked = _read(came, library)
        account_id = self.tokens.account_id(
            came.headers.get("Authorization"), self._simulation.world
        )
        call = _call(came, account_id, library, asked)
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

    def _caller(self, came: _Request) -> Caller | ApiError:
        try:
            return self.tokens.caller(
                came.headers.get("Authorization"), self._simulation.world, came.now
            )
        except ApiError as error:
            return error

    def _answer(self, exchange: _Exchange) -> Answer:
        fault = self._simulation.faults.take(
            exchange.call, applies=lambda fault: _strikes_before(fault, exchange.asked)
        )
        if fault is None:
            return self._answer_well(exchange, None)
        exchange.outcome.fault = fault.kind
        instead = struck_before(fault.kind)
        if instead is not None:
            return instead
        if fault.kind is FaultKind.CHALLENGE:
            return page(HTTPStatus.FORBIDDEN, "Just a moment...")
        if fault.kind in _LIMITED:
            return self._limited(fault, exchange.outcome)
        answer = self._answer_well(exchange, fault.kind)
        if fault.kind in _DELIVERED_BADLY:
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
            if refused in _REFUSED:
                raise _refusal(refused)
            if came.endpoint.scope not in caller.scopes:
                raise _scope_missing(came.endpoint.scope)
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
        seconds = _LIMITED[fault.kind]
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

    def _document(self, exchange: _Exchange, asked: _Asked) -> JsonObject:
        came, library, outcome = exchange.came, exchange.library, exchange.outcome
        assert library is not None, "a caller has a library"
        try:
            match asked.body:
                case ReportRequest():
                    return _report(came, library, asked, asked.body, outcome)
                case AggregateRequest():
                    return _aggregate(came, library, asked, asked.body, outcome)
                case None if came.endpoint.name in _ONE:
                    outcome.rows = 1
                    return _one(came, asked, _found(came, _ONE[came.endpoint.name](library)))
                case None:
                    return self._many(exchange, library, asked)
        except CursorError as error:
            raise _bad_cursor(came) from error

    def _many(self, exchange: _Exchange, library: Library, asked: _Asked) -> JsonObject:
        came, outcome = exchange.came, exchange.outcome
        question = _question(came, library, asked)
        after = None if asked.cursor is None else decode_cursor(question, asked.cursor)
        size = asked.query.page_size or came.endpoint.page_size
        if came.endpoint.name is Name.EVENTS:
            shown = event_page(asked.query, library, after=after, size=size)
        else:
            shown = item_page(_listed(came, library), asked.query, after=after, size=size)
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
            document["included"] = _included(shown.items, asked.query)
        return document

    def _edge(self, exchange: _Exchange, account: Account, shown: Page[Item]) -> CursorKey | None:
        """Return the key after which the next page begins, by the faults of a page's edge."""
        came, outcome = exchange.came, exchange.outcome
        following, following_key = shown.following, shown.following_key
        if following is None or following_key is None or outcome.fault is not None:
            return shown.next_key
        fault = self._simulation.faults.take(
            exchange.call, applies=lambda fault: _strikes_edge(fault, came.endpoint.name, shown)
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
            fault = simulation.faults.take(call, applies=_strikes_token)
            answer = None
            if fault is not None:
                outcome.fault = fault.kind
                answer = struck_before(fault.kind)
            if answer is None:
                answer = self._token_answer(request, form, now, outcome)
            if fault is not None and fault.kind in _DELIVERED_BADLY:
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


# --- what came ------------------------------------------------------------------------------------


def _read(came: _Request, library: Library | None) -> _Asked | ApiError:
    """Return what a request asks, or why it may not; without a caller, as far as can be told."""
    try:
        query = read_query(came.pairs, came.endpoint.query)
        body: ReportRequest | AggregateRequest | None = None
        span: Span | None = None
        if came.endpoint.method == "POST":
            read = _json(came.raw_body)
            if came.endpoint.name in REPORTS:
                body = read_report(read, REPORTS[came.endpoint.name])
                span = None if library is None else report_span(body, library)
            else:
                body = read_aggregate(read)
                span = body.span
        elif came.endpoint.name is Name.EVENTS and library is not None:
            span = event_span(query.conditions, library)
        return _Asked(query, body, span, came.path_id)
    except ApiError as error:
        return error


def _json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise ApiError("The body is not JSON.", pointer="/") from error


def _call(
    came: _Request, account_id: str, library: Library | None, asked: _Asked | ApiError
) -> Call:
    first: date | None = None
    last: date | None = None
    if isinstance(asked, _Asked) and asked.span is not None and library is not None:
        days = list(asked.span.days(zone(library.account.time_zone)))
        if days:
            first, last = days[0], days[-1]
    parameters = dict(came.pairs)
    if came.path_id:
        parameters["id"] = came.path_id
    if came.raw_body:
        parameters["body"] = came.raw_body.decode(errors="replace")
    return Call(
        Platform.KLAVIYO,
        came.endpoint.name.value,
        account_id=account_id,
        first_day=first,
        last_day=last,
        parameters=parameters,
    )


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
    _check_headers(came)
    return caller


def _check_headers(came: _Request) -> None:
    accepted = {
        part.partition(";")[0].strip() for part in came.headers.get("Accept", "*/*").split(",")
    }
    if not accepted & {MEDIA_TYPE, "application/json", "application/*", "*/*"}:
        raise ApiError(
            f"Only '{MEDIA_TYPE}' is available.",
            status=HTTPStatus.NOT_ACCEPTABLE,
            parameter="Accept",
        )
    sent = came.headers.get("Content-Type", "").partition(";")[0].strip()
    if came.method == "POST" and sent != MEDIA_TYPE:
        raise ApiError(
            f"The body must be '{MEDIA_TYPE}', not '{sent}'.",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            parameter="Content-Type",
        )
    try:
        resolve_revision(came.headers.get("revision"), came.headers.get(OPT_OUT), came.now.date())
    except RevisionRetiredError as error:
        raise ApiError(str(error), status=HTTPStatus.GONE, parameter="revision") from error
    except (RevisionMissingError, RevisionNotSimulatedError) as error:
        raise ApiError(str(error), parameter="revision") from error


def _limit_headers(admitted: Admitted) -> dict[str, str]:
    return {
        "RateLimit-Limit": str(admitted.limit),
        "RateLimit-Remaining": str(admitted.remaining),
        "RateLimit-Reset": str(admitted.reset_seconds),
    }


# --- faults ---------------------------------------------------------------------------------------


def _strikes_before(fault: Fault, asked: _Asked | ApiError) -> bool:
    """Whether a fault strikes before, or instead of, what is asked."""
    kind = fault.kind
    if kind is FaultKind.CURSOR_INVALID:
        return isinstance(asked, _Asked) and asked.cursor is not None
    return (
        _strikes_token(fault)
        or kind in _LIMITED
        or kind in _REFUSED
        or kind in {FaultKind.CHALLENGE, FaultKind.KEY_REJECTED}
    )


def _strikes_token(fault: Fault) -> bool:
    return struck_before(fault.kind) is not None or fault.kind in _DELIVERED_BADLY


def _strikes_edge(fault: Fault, name: Name, shown: Page[Item]) -> bool:
    match fault.kind:
        case FaultKind.ROW_REPEATED:
            return len(shown.keys) > 1
        case FaultKind.EVENT_TIMESTAMPS_EQUAL:
            return name is Name.EVENTS and shown.keys[-1][0] != (shown.following_key or (0,))[0]
        case FaultKind.CAMPAIGN_GONE_BETWEEN_PAGES:
            return name is Name.CAMPAIGNS
        case _:
            return False


def _refusal(kind: FaultKind | None) -> ApiError:
    match kind:
        case FaultKind.SERVER_ERROR:
            return ApiError("A server error occurred.", status=HTTPStatus.INTERNAL_SERVER_ERROR)
        case FaultKind.SCOPE_MISSING:
            return _scope_missing("for this")
        case FaultKind.REVISION_GONE:
            return ApiError(
                "The revision is no longer supported.",
                status=HTTPStatus.GONE,
                parameter="revision",
            )
        case _:
            return ApiError("Invalid cursor provided.", parameter=PAGE_CURSOR)


def _scope_missing(scope: str) -> ApiError:
    return ApiError(f"The key does not have the scope {scope}.", status=HTTPStatus.FORBIDDEN)


def _bad_cursor(came: _Request) -> ApiError:
    if came.endpoint.name is Name.METRIC_AGGREGATES:
        return ApiError("Invalid cursor provided.", pointer="/data/attributes/page_cursor")
    return ApiError("Invalid cursor provided.", parameter=came.endpoint.query.cursor)


# --- lists and single things ----------------------------------------------------------------------

_ONE: Final[Mapping[Name, Callable[[Library], tuple[Item, ...]]]] = MappingProxyType(
    {
        Name.ACCOUNT: lambda library: (library.account_item(),),
        Name.METRIC: Library.metric_items,
        Name.MAPPED_METRIC: Library.mapped_metric_items,
        Name.CAMPAIGN: Library.campaign_items,
        Name.CAMPAIGN_MESSAGE: Library.campaign_message_items,
        Name.FLOW: Library.flow_items,
        Name.FLOW_ACTION: Library.all_flow_action_items,
        Name.FLOW_MESSAGE: Library.flow_message_items,
    }
)
"""Among what an endpoint of one thing looks for its id."""

_MANY: Final[Mapping[Name, Callable[[Library], tuple[Item, ...]]]] = MappingProxyType(
    {
        Name.ACCOUNTS: lambda library: (library.account_item(),),
        Name.METRICS: Library.metric_items,
        Name.MAPPED_METRICS: Library.mapped_metric_items,
        Name.CAMPAIGNS: Library.campaign_items,
        Name.CAMPAIGN_MESSAGES: Library.campaign_message_items,
        Name.FLOWS: Library.flow_items,
    }
)
"""What an endpoint lists."""


def _listed(came: _Request, library: Library) -> tuple[Item, ...]:
    match came.endpoint.name:
        case Name.MESSAGES_OF_CAMPAIGN:
            _found(came, library.campaign_items())
            items, owner = library.campaign_message_items(), "campaign_id"
        case Name.FLOW_ACTIONS:
            _found(came, library.flow_items())
            items, owner = library.all_flow_action_items(), "flow_id"
        case Name.FLOW_MESSAGES:
            _found(came, library.all_flow_action_items())
            items, owner = library.flow_message_items(), "action_id"
        case name:
            return _MANY[name](library)
    return tuple(item for item in items if item.facts[owner] == came.path_id)


def _found(came: _Request, items: Sequence[Item]) -> Item:
    for item in items:
        if item.resource["id"] == came.path_id:
            return item
    raise ApiError(f"'{came.path_id}' does not exist.", status=HTTPStatus.NOT_FOUND)


def _one(came: _Request, asked: _Asked, item: Item) -> JsonObject:
    document: JsonObject = {
        "data": sparse(item.resource, asked.query.fields),
        "links": {"self": came.url()},
    }
    if asked.query.include:
        document["included"] = _included((item,), asked.query)
    return document


def _included(items: Sequence[Item], query: Query) -> list[JsonObject]:
    """Return what stands beside items, each thing once."""
    found: dict[tuple[str, str], JsonObject] = {}
    for item in items:
        for name in query.include:
            for beside in item.included.get(name, ()):
                found[str(beside["type"]), str(beside["id"])] = sparse(beside, query.fields)
    return list(found.values())


def _question(came: _Request, library: Library, asked: _Asked) -> tuple[str, ...]:
    """Return what a cursor belongs to: all that chooses and orders, but no page size."""
    body = ""
    if asked.body is not None:
        read = json.loads(came.raw_body)
        read["data"]["attributes"].pop("page_cursor", None)
        read["data"]["attributes"].pop("page_size", None)
        body = json.dumps(read, sort_keys=True)
    return (
        came.endpoint.name.value,
        library.account.account_id,
        came.path_id,
        asked.query.filter_text,
        asked.query.sort,
        str(asked.query.descending),
        body,
    )


# --- reports and aggregates -----------------------------------------------------------------------


def _report(
    came: _Request, library: Library, asked: _Asked, request: ReportRequest, outcome: Outcome
) -> JsonObject:
    span = asked.span
    assert span is not None
    question = _question(came, library, asked)
    after = None if asked.cursor is None else decode_cursor(question, asked.cursor)
    rows = report_rows(request, library, span)
    shown = page_of(
        [(sort_key(row.groupings), row) for row in rows],
        after=after,
        size=came.endpoint.page_size,
    )
    outcome.rows = len(shown.items)
    moments = date_times(request, library, span)
    attributes: JsonObject = {
        "results": [report_result(request, row, len(moments)) for row in shown.items]
    }
    if request.bucket is not None:
        attributes["date_times"] = [moment.isoformat() for moment in moments]
    cursor = None if shown.next_key is None else encode_cursor(question, shown.next_key)
    made: JsonObject = {
        "type": request.kind.value,
        "id": str(uuid.uuid5(_NAMESPACE, json.dumps(question))),
        "attributes": attributes,
        "relationships": report_relationships(request, shown.items),
        "links": {"self": came.url()},
    }
    return {
        "data": sparse(made, asked.query.fields),
        "links": {
            "self": came.url(),
            "next": None if cursor is None else came.url(page_cursor=cursor),
        },
    }


def _aggregate(
    came: _Request, library: Library, asked: _Asked, request: AggregateRequest, outcome: Outcome
) -> JsonObject:
    question = _question(came, library, asked)
    after = None if asked.cursor is None else decode_cursor(question, asked.cursor)
    rows = aggregate_rows(request, library)
    shown = page_of(
        [((place,), row) for place, row in enumerate(rows)], after=after, size=request.page_size
    )
    outcome.rows = len(shown.items)
    cursor = None if shown.next_key is None else encode_cursor(question, shown.next_key)
    made: JsonObject = {
        "type": "metric-aggregate",
        "id": str(uuid.uuid5(_NAMESPACE, json.dumps(question))),
        "attributes": {
            "dates": [moment.isoformat() for moment in aggregate_dates(request)],
            "data": [aggregate_result(request, row) for row in shown.items],
        },
        "links": {"self": came.url()},
    }
    return {
        "data": sparse(made, asked.query.fields),
        "links": {
            "self": came.url(),
            "prev": None,
            "next": None if cursor is None else came.url(page_cursor=cursor),
        },
    }
