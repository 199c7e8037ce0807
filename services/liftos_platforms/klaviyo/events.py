"""Single events, made from the truth's counts when they are asked for.

Event number k of a message, a metric and a day is always the same one: its moment, its person and
its id follow from k. What a day's orders are worth sums to the day's revenue.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from liftos_platforms.klaviyo.cursors import CursorError, CursorKey
from liftos_platforms.klaviyo.documents import (
    JsonObject,
    identifier,
    relationship,
    resource,
    timestamp,
)
from liftos_platforms.klaviyo.filters import Condition, FilterOperator
from liftos_platforms.klaviyo.happenings import Happening, happenings
from liftos_platforms.klaviyo.library import Item, Library
from liftos_platforms.klaviyo.metrics import (
    DEFINITIONS,
    MetricDefinition,
    definition_of,
    metric_id,
)
from liftos_platforms.klaviyo.pages import Page
from liftos_platforms.klaviyo.query import Query
from liftos_platforms.klaviyo.timeframes import Span, midnight
from liftos_platforms.truth import draw_of, zone

_ROOT: Final = uuid.UUID("8f7c7e0e-2f5a-5d0c-9a63-0f6f2f6b8a11")
_MESSAGE_SHIFT: Final = 40
_METRIC_SHIFT: Final = 32


@dataclass(frozen=True, slots=True)
class _Day:
    """The events of one day of the account, in order."""

    seconds: NDArray[np.int64]
    codes: NDArray[np.int64]
    happenings: dict[int, Happening]


def event_span(conditions: tuple[Condition, ...], library: Library) -> Span:
    """Return the time in which a filter lets events be: not before the world, not after now."""
    start = int(midnight(library.world.first_day, zone(library.account.time_zone)).timestamp())
    end = int(library.now.timestamp()) + 1
    for condition in conditions:
        if condition.field not in {"datetime", "timestamp"}:
            continue
        exact = _seconds(condition)
        whole = int(exact // 1)
        up = whole + (exact != whole)
        match condition.operator:
            case FilterOperator.GREATER_OR_EQUAL:
                start = max(start, up)
            case FilterOperator.GREATER_THAN:
                start = max(start, whole + 1)
            case FilterOperator.LESS_THAN:
                end = min(end, up)
            case _:
                end = min(end, whole + 1)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    begin = epoch + timedelta(seconds=start)
    return Span(begin, max(begin, epoch + timedelta(seconds=end)))


def _seconds(condition: Condition) -> Decimal:
    value = condition.values[0]
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return Decimal(str(aware.timestamp()))
    return Decimal(str(value))


def event_page(query: Query, library: Library, *, after: CursorKey | None, size: int) -> Page[Item]:
    """Return the page of events that begins after a key.

    Raises:
        CursorError: The key is none of events.
    """
    if after is not None and [type(part) for part in after] != [int, int]:
        raise CursorError("Invalid cursor provided.")
    span = event_span(query.conditions, library)
    found: list[tuple[CursorKey, Happening, int]] = []
    for day in _days(query, library, span):
        found += _chosen(day, span, after, size + 1 - len(found), descending=query.descending)
        if len(found) > size:
            break
    items = [_item(library, happening, key, number) for key, happening, number in found]
    keys = [key for key, _, _ in found]
    more = len(found) > size
    return Page(
        items=tuple(items[:size]),
        keys=tuple(keys[:size]),
        following=items[size] if more else None,
        following_key=keys[size] if more else None,
    )


def _days(query: Query, library: Library, span: Span) -> Iterator[_Day]:
    wanted = [c.values[0] for c in query.conditions if c.field == "metric_id"]
    definitions: tuple[MetricDefinition, ...] = DEFINITIONS
    if wanted:
        chosen = {definition_of(library.account, str(one)) for one in wanted}
        definitions = tuple(one for one in DEFINITIONS if chosen == {one})
    places = {
        entity.entity_id: place
        for place, entity in enumerate(library.world.entities.get(library.account.key, ()))
    }
    here = zone(library.account.time_zone)
    days = list(span.days(here)) if span.start < span.end else []
    for day in reversed(days) if query.descending else days:
        whole = Span(midnight(day, here), midnight(day + timedelta(days=1), here))
        happened = {}
        for one in happenings(library, whole, definitions):
            place, kind = places[one.message.entity_id], DEFINITIONS.index(one.definition)
            happened[place << _MESSAGE_SHIFT | kind << _METRIC_SHIFT] = one
        yield _day(happened)


def _day(happened: dict[int, Happening]) -> _Day:
    seconds = [np.zeros(0, np.int64)]
    codes = [np.zeros(0, np.int64)]
    for base, one in happened.items():
        numbers = np.arange(one.count, dtype=np.int64)
        begin = int(one.day.start.timestamp())
        if one.count:
            seconds.append(begin + numbers * one.day_seconds // one.final_count)
            codes.append(base + numbers)
    all_seconds, all_codes = np.concatenate(seconds), np.concatenate(codes)
    order = np.lexsort((all_codes, all_seconds))
    return _Day(all_seconds[order], all_codes[order], happened)


def _chosen(
    day: _Day, span: Span, after: CursorKey | None, size: int, *, descending: bool
) -> Iterator[tuple[CursorKey, Happening, int]]:
    seconds, codes = day.seconds, day.codes
    keep = (seconds >= int(span.start.timestamp())) & (seconds < int(span.end.timestamp()))
    if after is not None:
        second, code = int(after[0]), int(after[1])
        if descending:
            keep &= (seconds < second) | ((seconds == second) & (codes < code))
        else:
            keep &= (seconds > second) | ((seconds == second) & (codes > code))
    places = np.flatnonzero(keep)
    for place in (places[::-1] if descending else places)[:size]:
        code = int(codes[place])
        number = code & (1 << _METRIC_SHIFT) - 1
        yield (int(seconds[place]), code), day.happenings[code - number], number


def _item(library: Library, happening: Happening, key: CursorKey, number: int) -> Item:
    second = int(key[0])
    message, row = happening.message, happening.row
    account = library.account
    moment = datetime.fromtimestamp(second, UTC)
    own_id = f"{draw_of(account.account_id, message.entity_id, row.date, key[1]):016x}"
    url = f"{library.base}/api/events/{own_id}"
    properties: JsonObject = {
        "$event_id": own_id,
        "$message": message.entity_id,
        "$flow": row.flow_id or None,
        "Campaign Name": library.name(message),
    }
    if happening.definition.value_micros is not None:
        properties |= {
            "$value": happening.values_micros()[number] / 1_000_000,
            "$value_currency": account.currency_code,
            "$attributed_message": message.entity_id,
            "$attributed_flow": row.flow_id or None,
        }
    people = max(1, min(happening.people, happening.count))
    profile = _profile(library, message.entity_id, number % people)
    metric = metric_id(account, happening.definition)
    attribution = _attribution(library, happening, own_id)
    made = resource(
        url,
        "event",
        own_id,
        {
            "timestamp": second,
            "event_properties": properties,
            "datetime": timestamp(moment),
            "uuid": str(uuid.uuid5(_ROOT, own_id)),
        },
        {
            "profile": relationship(url, "profile", identifier("profile", str(profile["id"]))),
            "metric": relationship(url, "metric", identifier("metric", metric)),
            "attributions": relationship(
                url, "attributions", [identifier("attribution", str(attribution["id"]))]
            ),
        },
    )
    metrics = tuple(
        item.resource for item in library.metric_items() if item.resource["id"] == metric
    )
    return Item(
        made, {}, {"profile": (profile,), "metric": metrics, "attributions": (attribution,)}
    )


def _profile(library: Library, message_id: str, person: int) -> JsonObject:
    draw = draw_of(library.account.account_id, message_id, "person", person)
    own_id = f"01{draw:020d}"
    return resource(
        f"{library.base}/api/profiles/{own_id}",
        "profile",
        own_id,
        {
            "email": f"person-{draw:x}@example.com",
            "first_name": None,
            "last_name": None,
            "created": timestamp(midnight(library.world.first_day, zone("UTC"))),
            "updated": timestamp(midnight(library.world.first_day, zone("UTC"))),
        },
    )


def _attribution(library: Library, happening: Happening, event_id: str) -> JsonObject:
    row = happening.row
    own_id = f"{event_id}-attribution"
    url = f"{library.base}/api/attributions/{own_id}"
    message = identifier(
        "flow-message" if row.flow_id else "campaign-message", happening.message.entity_id
    )
    origin = (
        identifier("flow", row.flow_id) if row.flow_id else identifier("campaign", row.campaign_id)
    )
    return resource(
        url,
        "attribution",
        own_id,
        {},
        {
            "event": relationship(url, "event", identifier("event", event_id)),
            str(origin["type"]): relationship(url, str(origin["type"]), origin),
            str(message["type"]): relationship(url, str(message["type"]), message),
        },
    )
