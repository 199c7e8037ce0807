"""Answers: single things, reports and aggregates, and what lists have in common."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from liftos_platforms.journal import Outcome
from liftos_platforms.klaviyo.aggregates import (
    aggregate_dates,
    aggregate_result,
    aggregate_rows,
)
from liftos_platforms.klaviyo.bodies import AggregateRequest, ReportRequest
from liftos_platforms.klaviyo.cursors import decode_cursor, encode_cursor
from liftos_platforms.klaviyo.documents import ApiError, JsonObject, sparse
from liftos_platforms.klaviyo.endpoints import Name
from liftos_platforms.klaviyo.library import Item, Library
from liftos_platforms.klaviyo.pages import page_of
from liftos_platforms.klaviyo.query import Query
from liftos_platforms.klaviyo.reports import (
    date_times,
    report_relationships,
    report_result,
    report_rows,
    sort_key,
)
from liftos_platforms.klaviyo.request import Asked, Request

_NAMESPACE: Final = uuid.UUID("5a0b6a38-51d3-5b5f-8d0c-0f6f2f6b8a11")

ONE: Final[Mapping[Name, Callable[[Library], tuple[Item, ...]]]] = MappingProxyType(
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

MANY: Final[Mapping[Name, Callable[[Library], tuple[Item, ...]]]] = MappingProxyType(
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


def listed(came: Request, library: Library) -> tuple[Item, ...]:
    """Return all that an endpoint lists, before filters.

    Raises:
        ApiError: What the path names does not exist.
    """
    match came.endpoint.name:
        case Name.MESSAGES_OF_CAMPAIGN:
            found(came, library.campaign_items())
            items, owner = library.campaign_message_items(), "campaign_id"
        case Name.FLOW_ACTIONS:
            found(came, library.flow_items())
            items, owner = library.all_flow_action_items(), "flow_id"
        case Name.FLOW_MESSAGES:
            found(came, library.all_flow_action_items())
            items, owner = library.flow_message_items(), "action_id"
        case name:
            return MANY[name](library)
    return tuple(item for item in items if item.facts[owner] == came.path_id)


def found(came: Request, items: Sequence[Item]) -> Item:
    """Return the item that the path names.

    Raises:
        ApiError: It does not exist.
    """
    for item in items:
        if item.resource["id"] == came.path_id:
            return item
    raise ApiError(f"'{came.path_id}' does not exist.", status=HTTPStatus.NOT_FOUND)


def one_document(came: Request, asked: Asked, item: Item) -> JsonObject:
    """Return the document of a single thing."""
    document: JsonObject = {
        "data": sparse(item.resource, asked.query.fields),
        "links": {"self": came.url()},
    }
    if asked.query.include:
        document["included"] = included((item,), asked.query)
    return document


def included(items: Sequence[Item], query: Query) -> list[JsonObject]:
    """Return what stands beside items, each thing once."""
    stands_beside: dict[tuple[str, str], JsonObject] = {}
    for item in items:
        for name in query.include:
            for beside in item.included.get(name, ()):
                key = str(beside["type"]), str(beside["id"])
                stands_beside[key] = sparse(beside, query.fields)
    return list(stands_beside.values())


def question_of(came: Request, library: Library, asked: Asked) -> tuple[str, ...]:
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


def report_document(
    came: Request, library: Library, asked: Asked, request: ReportRequest, outcome: Outcome
) -> JsonObject:
    """Return a page of a report, and put its rows into `outcome`.

    Raises:
        ApiError: The conversion metric does not exist.
        CursorError: The cursor is of another report.
    """
    span = asked.span
    assert span is not None
    question = question_of(came, library, asked)
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


def aggregate_document(
    came: Request, library: Library, asked: Asked, request: AggregateRequest, outcome: Outcome
) -> JsonObject:
    """Return a page of an aggregation, and put its rows into `outcome`.

    Raises:
        ApiError: The metric does not exist.
        CursorError: The cursor is of another aggregation.
    """
    question = question_of(came, library, asked)
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


def bad_cursor(came: Request) -> ApiError:
    """Return the refusal of a cursor, which says where it stood."""
    if came.endpoint.name is Name.METRIC_AGGREGATES:
        return ApiError("Invalid cursor provided.", pointer="/data/attributes/page_cursor")
    return ApiError("Invalid cursor provided.", parameter=came.endpoint.query.cursor)
