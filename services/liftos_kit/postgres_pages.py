"""Pages of lists: a statement, an order and the fields of its filter, and nothing else by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import asyncpg

from liftos_kit.core.filters import Filter, to_sql
from liftos_kit.core.paging import JsonValue

Row: TypeAlias = Mapping[str, Any]

PAGE_BYTES: Final = 1024 * 1024
"""What a page holds as text, at most: on the wire JSON may take four times as much, and many
callers take no more than 4 MiB."""


@dataclass(frozen=True, slots=True)
class Order:
    """One step of an order.

    Attributes:
        column: Of the answer; never null.
        type: Its SQL type, as the cursor is read.
        descends: Whether larger ones come first.
    """

    column: str
    type: str
    descends: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that is read page by page.

    Attributes:
        name: Of the statement, in traces.
        select: Statement whose rows are listed; `$1` is the org, and further parameters follow.
        order: Steps that tell any two rows apart.
        fields: Column or expression of the answer for each field of a filter.
    """

    name: str
    select: str
    order: tuple[Order, ...]
    fields: Mapping[str, str]


def word_of(words: Sequence[str], column: str) -> str:
    """Return SQL for the word that a number stands for, the first being 1."""
    return f"(array[{', '.join(repr(word) for word in words)}])[{column}]"


async def read_page(
    connection: asyncpg.Connection,
    listing: Listing,
    parameters: Sequence[object],
    *,
    where: Filter | None,
    cursor: JsonValue,
    limit: int,
) -> tuple[Sequence[Row], JsonValue]:
    """Return a page of at least one row, and the cursor of the next one; None at the end.

    It ends early where the next row would make it larger than `PAGE_BYTES`.

    Args:
        connection: Of the org.
        listing: What is listed.
        parameters: Of its statement, the org first.
        where: Which rows.
        cursor: From the page before.
        limit: Rows at most.
    """
    values = list(parameters)
    condition, given = to_sql(where, columns=listing.fields, first_parameter=len(values) + 1)
    values += given
    beyond = "true"
    if isinstance(cursor, list):
        beyond = _beyond(listing.order, len(values))
        values += cursor
    values.append(limit + 1)
    ordering = ", ".join(
        f"{step.column} {'desc' if step.descends else 'asc'}" for step in listing.order
    )
    rows = await connection.fetch(
        f"""/* {listing.name} */
        select * from (
            select page.*, row_number() over (order by {ordering}) as page_place,
                   count(*) over () as page_count,
                   sum(octet_length(page::text)) over (order by {ordering}) as page_bytes
            from (
                select * from ({listing.select}) listed
                where {condition} and ({beyond}) order by {ordering} limit ${len(values)}
            ) page
        ) measured
        where page_place = 1 or page_bytes <= {PAGE_BYTES} order by {ordering}
        """,  # noqa: S608 - names are ours, values are parameters
        *values,
    )
    page = rows[:limit]
    if not rows or rows[0]["page_count"] == len(page):
        return page, None
    return page, [str(page[-1][step.column]) for step in listing.order]


def _beyond(order: Sequence[Order], taken: int) -> str:
    """Return SQL that is true for rows behind a cursor."""
    alternatives = []
    for position, step in enumerate(order):
        equal = [
            f"{before.column} = ${taken + number}::text::{before.type}"
            for number, before in enumerate(order[:position], start=1)
        ]
        further = "<" if step.descends else ">"
        last = f"{step.column} {further} ${taken + position + 1}::text::{step.type}"
        alternatives.append(f"({' and '.join([*equal, last])})")
    return " or ".join(alternatives)
