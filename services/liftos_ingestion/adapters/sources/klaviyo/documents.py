"""JSON:API as Klaviyo answers it.

Read strictly where rows could be lost without a trace (what is listed, and whether more follows),
and leniently everywhere else: new attributes and new types of things are no failures.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from liftos_ingestion.adapters.sources.klaviyo.errors import malformed
from liftos_ingestion.source_ports import JsonObject

_CURSORS: Final = frozenset({"page[cursor]", "page_cursor"})


def listed(document: object) -> Sequence[JsonObject]:
    """Return what a list holds, whatever type each thing says it is of.

    Raises:
        ReadingError: It is no list of things.
    """
    data = _object(document).get("data")
    if not isinstance(data, list) or not all(isinstance(item, Mapping) for item in data):
        raise malformed("'data' is no list of objects")
    return data


def one(document: object) -> JsonObject:
    """Return the one thing of an answer.

    Raises:
        ReadingError: There is none.
    """
    data = _object(document).get("data")
    if not isinstance(data, Mapping):
        raise malformed("'data' is no object")
    return data


def included(document: object, kind: str) -> Iterator[JsonObject]:
    """Yield the things of a type that stand beside the data."""
    beside = _object(document).get("included")
    for item in beside if isinstance(beside, list) else ():
        if isinstance(item, Mapping) and item.get("type") == kind:
            yield item


def next_cursor(document: object) -> str | None:
    """Return where a list goes on; None at its end.

    Of the link only the cursor is used: whatever host it names, it is never called.

    Raises:
        ReadingError: The answer does not say whether there is more.
    """
    links = _object(document).get("links")
    if not isinstance(links, Mapping) or "next" not in links:
        raise malformed("it does not say whether there is more")
    link = links["next"]
    if link is None:
        return None
    try:
        pairs = parse_qsl(urlsplit(link).query) if isinstance(link, str) else ()
    except ValueError:
        pairs = ()
    for name, value in pairs:
        if name in _CURSORS:
            return value
    raise malformed("its link to more holds no cursor")


def member(value: object, *path: str) -> object:
    """Return what stands at a path of names; None where nothing does."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def text(value: object, *path: str) -> str:
    """Return a text at a path of names; empty where there is none."""
    found = member(value, *path)
    return found if isinstance(found, str) else ""


def related_ids(resource: JsonObject, name: str) -> Sequence[str]:
    """Return the ids of what a thing is related to."""
    data = member(resource, "relationships", name, "data")
    items = data if isinstance(data, list) else [data]
    return [text(item, "id") for item in items if text(item, "id")]


def check_days(values: object, start: date, count: int, zone: ZoneInfo) -> None:
    """Hold the dates of a series to the days that were asked for.

    Raises:
        ReadingError: They are other days, or others in number.
    """
    if not isinstance(values, list) or len(values) != count:
        raise malformed(f"its series has not the {count} days that were asked for")
    for step, value in enumerate(values):
        if start + timedelta(days=step) not in _days_of(value, zone):
            raise malformed("its series has other days than were asked for")


def _days_of(value: object, zone: ZoneInfo) -> frozenset[date]:
    """Return the day as it is written, and as it is in the account's zone."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        return frozenset()
    if moment.tzinfo is None:
        return frozenset({moment.date()})
    return frozenset({moment.date(), moment.astimezone(zone).date()})


def series(value: object, count: int) -> Sequence[object]:
    """Return a value for each day.

    Raises:
        ReadingError: There are others in number.
    """
    if not isinstance(value, list) or len(value) != count:
        raise malformed(f"a series has not the {count} values that belong to its days")
    return value


def _object(document: object) -> JsonObject:
    if not isinstance(document, Mapping):
        raise malformed("it is no object")
    return document
