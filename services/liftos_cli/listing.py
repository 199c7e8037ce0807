"""Lists of messages: the first so many, as a table or as one JSON document."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from liftos_cli.output import Cell, Column, print_json, print_table, say
from liftos_client.pages import Pages

_Item = TypeVar("_Item", bound=Message)


async def take(pages: Pages[_Item, Any], limit: int) -> tuple[list[_Item], bool]:
    """Return the first items of a list, and whether there are more."""
    items: list[_Item] = []
    async for item in pages:
        if len(items) == limit:
            return items, True
        items.append(item)
    return items, False


def print_list(
    key: str,
    items: Sequence[_Item],
    *,
    more: bool,
    json: bool,
    columns: Sequence[Column],
    row: Callable[[_Item], Sequence[Cell]],
) -> None:
    """Print a list.

    Args:
        key: Its name in the JSON document.
        items: What was read.
        more: Whether there is more; said on stderr.
        json: Print JSON.
        columns: Of the table.
        row: The cells of an item.
    """
    if json:
        print_json({key: list(items)})
    else:
        print_table(columns, map(row, items))
    if more:
        first = (
            "This is the first one" if len(items) == 1 else f"These are the first {len(items):,}"
        )
        say(f"{first}; --limit N shows more.")


def page_size(limit: int, maximum: int) -> int:
    """Return how much to ask for at once; one more than the limit tells whether there is more."""
    return min(limit + 1, maximum)


def narrowed(filter_: str, parts: Iterable[str]) -> str:
    """Return a filter that holds with all parts that are not empty.

    The filter comes first and as it was typed where it can, since errors tell places in it.
    """
    conditions = [part for part in parts if part]
    if filter_ and conditions:
        filter_ = f"({filter_})"
    return " AND ".join(filter(None, [filter_, *conditions]))


def used_fields(messages: Sequence[Message], field: str) -> list[str]:
    """Return the names of the fields of a submessage that any message has set, in their order."""
    parts = [getattr(message, field) for message in messages]
    used = {each.name for part in parts for each, _ in part.ListFields()}
    known = [each.name for part in parts[:1] for each in part.DESCRIPTOR.fields]
    return [name for name in known if name in used]
