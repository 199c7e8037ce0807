"""A request: what came, what it asks, and whether its headers are as they should be."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from liftos_platforms.faults import Call
from liftos_platforms.klaviyo.bodies import (
    AggregateRequest,
    ReportRequest,
    read_aggregate,
    read_report,
)
from liftos_platforms.klaviyo.documents import MEDIA_TYPE, ApiError
from liftos_platforms.klaviyo.endpoints import REPORTS, Endpoint, Name
from liftos_platforms.klaviyo.events import event_span
from liftos_platforms.klaviyo.library import Library
from liftos_platforms.klaviyo.query import Query, read_query
from liftos_platforms.klaviyo.reports import report_span
from liftos_platforms.klaviyo.revision import (
    RevisionMissingError,
    RevisionNotSimulatedError,
    RevisionRetiredError,
    resolve_revision,
)
from liftos_platforms.klaviyo.timeframes import Span
from liftos_platforms.truth import Platform, zone

OPT_OUT: Final = "X-Klaviyo-Revision-Fall-Forward-Opt-Out"


@dataclass(frozen=True, slots=True)
class Asked:
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
class Request:
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


def read_request(came: Request, library: Library | None) -> Asked | ApiError:
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
        return Asked(query, body, span, came.path_id)
    except ApiError as error:
        return error


def _json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise ApiError("The body is not JSON.", pointer="/") from error


def call_of(
    came: Request, account_id: str, library: Library | None, asked: Asked | ApiError
) -> Call:
    """Return a request as faults and the journal see it."""
    first: date | None = None
    last: date | None = None
    if isinstance(asked, Asked) and asked.span is not None and library is not None:
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


def check_headers(came: Request) -> None:
    """Hold a request's headers to what Klaviyo wants.

    Raises:
        ApiError: A type that it does not speak, or a revision that it does not serve.
    """
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
