"""Pages of a list, and the cursors between them."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from liftos_platforms.faults import FaultKind
from liftos_platforms.meta.errors import cursor_invalid
from liftos_platforms.truth import draw_of

CURSOR_LIFETIME: Final = timedelta(hours=1)

PAGE_KINDS: Final = frozenset(
    {
        FaultKind.DATA_IS_NULL,
        FaultKind.PAGING_IS_LIST,
        FaultKind.PAGE_IS_EMPTY,
        FaultKind.ROW_REPEATED,
        FaultKind.ITEM_IS_NO_ROW,
        FaultKind.ACTION_TYPE_UNKNOWN,
        FaultKind.FIELD_UNKNOWN,
    }
)
"""Faults of a page, which strike when the page is known."""


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page begins and ends in its list.

    Attributes:
        mark: What the list is, so that a cursor of another list is refused.
        begin: Place of the first row.
        limit: At most so many rows.
        as_of: When the first page of the list was read; all pages show that moment.
    """

    mark: str
    begin: int
    limit: int
    as_of: datetime

    @property
    def end(self) -> int:
        """Place behind the last row, if the list is that long."""
        return self.begin + self.limit


@dataclass(frozen=True, slots=True)
class Link:
    """What the link to a next page repeats: the address and its whole query, token included."""

    url: str
    query: Mapping[str, str]


def page_of(mark: str, after: str | None, limit: int, now: datetime) -> Page:
    """The page behind a cursor; the first one without a cursor.

    Raises:
        GraphError: The cursor is damaged, of another list, or older than an hour.
    """
    if after is None:
        return Page(mark, 0, limit, now)
    try:
        text = base64.urlsafe_b64decode(after.encode()).decode()
        list_mark, place, made_at = text.split(":")
        begin, made = int(place), datetime.fromtimestamp(int(made_at), UTC)
    except (binascii.Error, UnicodeError, ValueError, OverflowError):
        raise cursor_invalid() from None
    if list_mark != mark or now - made > CURSOR_LIFETIME:
        raise cursor_invalid()
    return Page(mark, begin, limit, made)


def _cursor(page: Page, place: int) -> str:
    """The cursor that stands behind `place` rows of a list."""
    text = f"{page.mark}:{place}:{int(page.as_of.timestamp())}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def mark_of(*words: object) -> str:
    """The mark of a list."""
    return f"{draw_of(*words):016x}"


def can_strike(kind: FaultKind, items: Sequence[bytes], page: Page) -> bool:
    """Whether a fault can be seen on a page."""
    chosen = items[page.begin : page.end]
    match kind:
        case FaultKind.PAGING_IS_LIST:
            return page.end >= len(items)
        case FaultKind.ROW_REPEATED:
            return 0 < page.begin < len(items)
        case FaultKind.ACTION_TYPE_UNKNOWN:
            return any(_ACTIONS in item for item in chosen)
        case _:
            return kind in PAGE_KINDS and bool(chosen)


def body_of(
    items: Sequence[bytes],
    page: Page,
    link: Link,
    *,
    struck: FaultKind | None = None,
    summary: Mapping[str, object] | None = None,
) -> bytes:
    """The body of a page, and what a fault makes of it."""
    if struck is FaultKind.DATA_IS_NULL:
        return b'{"data":null}'
    chosen = _struck_rows(items, page, struck)
    tail: dict[str, object] = {}
    if struck is FaultKind.PAGING_IS_LIST:
        tail["paging"] = []
    elif items:
        is_empty = struck is FaultKind.PAGE_IS_EMPTY
        end = page.begin if is_empty else min(page.end, len(items))
        tail["paging"] = _paging(page, end, link, is_last=end >= len(items))
    if summary is not None:
        tail["summary"] = summary
    end_of_body = b"," + encode(tail)[1:] if tail else b"}"
    return b'{"data":[' + b",".join(chosen) + b"]" + end_of_body


def encode(value: object) -> bytes:
    """A value as JSON without a byte too many."""
    return json.dumps(value, separators=(",", ":")).encode()


_ACTIONS: Final = b'"actions":['


def _struck_rows(items: Sequence[bytes], page: Page, struck: FaultKind | None) -> list[bytes]:
    chosen = list(items[page.begin : page.end])
    match struck:
        case FaultKind.PAGE_IS_EMPTY:
            return []
        case FaultKind.ROW_REPEATED:
            return [items[page.begin - 1], *chosen]
        case FaultKind.ITEM_IS_NO_ROW:
            middle = len(chosen) // 2
            return [*chosen[:middle], b'"unavailable"', *chosen[middle:]]
        case FaultKind.ACTION_TYPE_UNKNOWN:
            mystery = _ACTIONS + b'{"action_type":"omni_mystery","value":"1"},'
            return [item.replace(_ACTIONS, mystery) for item in chosen]
        case FaultKind.FIELD_UNKNOWN:
            return [item[:-1] + b',"mystery_score":"0.5"}' for item in chosen]
        case _:
            return chosen


def _paging(page: Page, end: int, link: Link, *, is_last: bool) -> dict[str, object]:
    """Cursors and links; the last page has an `after` too, and no `next`."""
    after = _cursor(page, end)
    found: dict[str, object] = {"cursors": {"before": _cursor(page, page.begin), "after": after}}
    if not is_last:
        query = {**link.query, "limit": str(page.limit), "after": after}
        found["next"] = f"{link.url}?{urlencode(query)}"
    return found
