"""Answers that are not as they should be, for readers to survive."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from liftos_platforms.faults import FaultKind
from liftos_platforms.klaviyo.documents import JsonObject, timestamp

FOREIGN_HOST: Final = "http://elsewhere.invalid"
"""Where a next link points that nobody may follow."""

_HUGE_CHARACTERS: Final = 2_000_000
_YEAR: Final = timedelta(days=364)

_EVENTS: Final = frozenset(
    {
        FaultKind.EVENT_IN_FUTURE,
        FaultKind.EVENT_TIMESTAMP_FLOAT,
        FaultKind.EVENT_METRIC_NULL,
        FaultKind.EVENT_ATTRIBUTIONS_EMPTY,
        FaultKind.EVENT_PROPERTIES_HUGE,
    }
)
_STATISTICS: Final = frozenset(
    {FaultKind.STATISTIC_NULL, FaultKind.STATISTIC_NAN, FaultKind.STATISTIC_UNKNOWN}
)


def can_spoil(kind: FaultKind, document: JsonObject) -> bool:
    """Return whether a fault can show in a document."""
    if kind in _EVENTS:
        return any(item.get("type") == "event" for item in _items(document))
    if kind in _STATISTICS:
        return bool(_measured(document))
    if kind is FaultKind.LINKS_MISSING:
        return "links" in document
    if kind is FaultKind.TYPE_UNKNOWN:
        return bool(_items(document))
    if kind is FaultKind.SERIES_TOO_SHORT:
        return any(isinstance(v, list) and v for m in _measured(document) for v in m.values())
    links = document.get("links")
    return (
        kind is FaultKind.NEXT_LINK_FOREIGN
        and isinstance(links, dict)
        and isinstance(links.get("next"), str)
    )


def spoil(kind: FaultKind, document: JsonObject, now: datetime, amount: int | None) -> None:  # noqa: C901, PLR0912 - one arm for each fault
    """Put a fault into a document that `can_spoil` said can show it.

    Args:
        kind: The fault.
        document: The answer; changed in place.
        now: The present, for events that are ahead of it.
        amount: Characters of huge properties; None for two million.
    """
    items = _items(document)
    match kind:
        case FaultKind.EVENT_IN_FUTURE:
            ahead = (now + _YEAR).replace(microsecond=0)
            _attributes(items[-1]).update(
                timestamp=int(ahead.timestamp()), datetime=timestamp(ahead)
            )
        case FaultKind.EVENT_TIMESTAMP_FLOAT:
            for item in items:
                held = _attributes(item)
                held["timestamp"] = float(str(held["timestamp"]))
        case FaultKind.EVENT_METRIC_NULL:
            _related(items[0], "metric")["data"] = None
        case FaultKind.EVENT_ATTRIBUTIONS_EMPTY:
            for item in items:
                _related(item, "attributions")["data"] = []
        case FaultKind.EVENT_PROPERTIES_HUGE:
            properties = _attributes(items[0])["event_properties"]
            if isinstance(properties, dict):
                properties["note"] = "x" * (amount or _HUGE_CHARACTERS)
        case FaultKind.LINKS_MISSING:
            document.pop("links", None)
            for item in items:
                item.pop("links", None)
        case FaultKind.TYPE_UNKNOWN:
            items[0]["type"] = "hologram"
        case FaultKind.SERIES_TOO_SHORT:
            for measured in _measured(document):
                for values in measured.values():
                    if isinstance(values, list):
                        del values[-1:]
        case FaultKind.STATISTIC_NULL:
            _replace_first(_measured(document)[0], None)
        case FaultKind.STATISTIC_NAN:
            _replace_first(_measured(document)[0], float("nan"))
        case FaultKind.STATISTIC_UNKNOWN:
            for measured in _measured(document):
                measured["telepathy_rate"] = 0.5
        case FaultKind.NEXT_LINK_FOREIGN:
            links = document["links"]
            if isinstance(links, dict):
                _, _, path = str(links["next"]).partition("/api/")
                links["next"] = f"{FOREIGN_HOST}/api/{path}"
        case _:
            raise ValueError(f"{kind} does not spoil a document")


def _replace_first(measured: JsonObject, value: object) -> None:
    name = next(iter(measured))
    held = measured[name]
    if isinstance(held, list):
        held[:1] = [value]
    else:
        measured[name] = value


def _items(document: JsonObject) -> list[JsonObject]:
    data = document.get("data")
    return [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []


def _attributes(item: Mapping[str, object]) -> JsonObject:
    held = item.get("attributes")
    return held if isinstance(held, dict) else {}


def _related(item: Mapping[str, object], name: str) -> JsonObject:
    related = item.get("relationships")
    held = related.get(name) if isinstance(related, dict) else None
    return held if isinstance(held, dict) else {}


def _measured(document: JsonObject) -> list[JsonObject]:
    """Return the statistics of each row of a report, or the measurements of an aggregation."""
    data = document.get("data")
    attributes = _attributes(data) if isinstance(data, dict) else {}
    rows = attributes.get("results", attributes.get("data"))
    found = []
    for row in rows if isinstance(rows, list) else []:
        held = row.get("statistics", row.get("measurements")) if isinstance(row, dict) else None
        if isinstance(held, dict):
            found.append(held)
    return found
