"""Lists in pages: filtered, sorted, and read on from a key rather than from a place."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from liftos_platforms.klaviyo.cursors import CursorError, CursorKey
from liftos_platforms.klaviyo.filters import matches
from liftos_platforms.klaviyo.library import Item
from liftos_platforms.klaviyo.query import Query

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page.

    Attributes:
        items: What is on it.
        keys: The place of each in the order.
        following: The first item of the next page; None on the last.
        following_key: Its place.
    """

    items: tuple[T, ...]
    keys: tuple[CursorKey, ...]
    following: T | None = None
    following_key: CursorKey | None = None

    @property
    def next_key(self) -> CursorKey | None:
        """The key after which the next page begins; None on the last page."""
        return None if self.following_key is None else self.keys[-1]


def page_of(
    keyed: Sequence[tuple[CursorKey, T]],
    *,
    after: CursorKey | None,
    size: int,
    descending: bool = False,
) -> Page[T]:
    """Return the page that begins after a key.

    Args:
        keyed: Everything with its key; keys are unique and of one shape.
        after: The last key of the page before; None for the first page.
        size: Items on a page.
        descending: Whether the highest key comes first.

    Raises:
        CursorError: The key is of another shape.
    """
    ordered = sorted(keyed, key=lambda pair: pair[0], reverse=descending)
    if after is not None:
        try:
            ordered = [
                pair for pair in ordered if (pair[0] < after if descending else pair[0] > after)
            ]
        except TypeError as error:
            raise CursorError("Invalid cursor provided.") from error
    shown, rest = ordered[:size], ordered[size : size + 1]
    return Page(
        items=tuple(item for _, item in shown),
        keys=tuple(key for key, _ in shown),
        following=rest[0][1] if rest else None,
        following_key=rest[0][0] if rest else None,
    )


def item_page(
    items: Sequence[Item], query: Query, *, after: CursorKey | None, size: int
) -> Page[Item]:
    """Return the page of a list that a query asks for, ordered by its sort and then by id.

    Raises:
        CursorError: The key is of another order.
    """
    keyed = [
        ((_orderly(item.facts.get(query.sort)), str(item.resource["id"])), item)
        for item in items
        if matches(query.conditions, item.facts)
    ]
    return page_of(keyed, after=after, size=size, descending=query.descending)


def _orderly(value: object) -> str | int:
    if isinstance(value, datetime):
        # Text of one form and one zone sorts as the moments do.
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return "" if value is None else str(value)
