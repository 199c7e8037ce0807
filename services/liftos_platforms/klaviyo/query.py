"""The query string of a request, held to what its endpoint takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from liftos_platforms.klaviyo.documents import ApiError
from liftos_platforms.klaviyo.filters import (
    Condition,
    FieldRule,
    FilterSyntaxError,
    check_filter,
    parse_filter,
)

PAGE_CURSOR: Final = "page[cursor]"
REPORT_CURSOR: Final = "page_cursor"


@dataclass(frozen=True, slots=True)
class PageSize:
    """How many records a page may hold: `default` unless asked, at most `maximum`."""

    default: int
    maximum: int


@dataclass(frozen=True, slots=True)
class QueryRules:
    """What the query string of an endpoint may hold.

    Attributes:
        fields: Names a sparse fieldset may list, by resource type.
        filters: The fields that may be filtered; None where there is no filter.
        include: Relationships that may be included.
        sort: Fields to sort by; each may also stand with a minus.
        page_size: Bounds of `page[size]`; None where the parameter is unknown.
        cursor: The name of the cursor's parameter; None where the answer has one page.
    """

    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    filters: Mapping[str, FieldRule] | None = None
    include: frozenset[str] = frozenset()
    sort: frozenset[str] = frozenset()
    page_size: PageSize | None = None
    cursor: str | None = None

    def names(self) -> frozenset[str]:
        """Return every parameter the endpoint knows."""
        known = {f"fields[{kind}]" for kind in self.fields}
        known |= {"filter"} if self.filters is not None else set()
        known |= {"include"} if self.include else set()
        known |= {"sort"} if self.sort else set()
        known |= {"page[size]"} if self.page_size is not None else set()
        known |= {self.cursor} if self.cursor is not None else set()
        return frozenset(known)


@dataclass(frozen=True, slots=True)
class Query:
    """A query string that holds to its endpoint's rules.

    Attributes:
        fields: Sparse fieldsets by resource type, as asked.
        conditions: The filter's terms.
        filter_text: The filter as written.
        include: Relationships to include.
        sort: The field to sort by, or an empty text.
        descending: Whether the order is reversed.
        page_size: Records on a page, or None where the endpoint decides.
        cursor: Where to go on, or None.
    """

    fields: Mapping[str, tuple[str, ...]]
    conditions: tuple[Condition, ...]
    filter_text: str
    include: tuple[str, ...]
    sort: str
    descending: bool
    page_size: int | None
    cursor: str | None


def read_query(pairs: Sequence[tuple[str, str]], rules: QueryRules) -> Query:
    """Return the query that `pairs` write.

    Args:
        pairs: Names and values, decoded, in the order of the URL.
        rules: What the endpoint takes.

    Raises:
        ApiError: A parameter is unknown, doubled or has a value that is not allowed.
    """
    values: dict[str, str] = {}
    known = rules.names()
    for name, value in pairs:
        if name not in known:
            raise ApiError(
                f"'{name}' is not a valid query parameter for this endpoint.", parameter=name
            )
        if name in values:
            raise ApiError(f"'{name}' is given more than once.", parameter=name)
        values[name] = value
    sort = values.get("sort", "")
    if sort and sort.removeprefix("-") not in rules.sort:
        raise ApiError(f"'{sort}' is not a valid sort field.", parameter="sort")
    return Query(
        fields={
            kind: _listed(values, f"fields[{kind}]", allowed)
            for kind, allowed in rules.fields.items()
            if f"fields[{kind}]" in values
        },
        conditions=_conditions(values.get("filter"), rules.filters or {}),
        filter_text=values.get("filter", ""),
        include=_listed(values, "include", rules.include) if "include" in values else (),
        sort=sort.removeprefix("-"),
        descending=sort.startswith("-"),
        page_size=_page_size(values.get("page[size]"), rules.page_size),
        cursor=values.get(rules.cursor) if rules.cursor is not None else None,
    )


def _listed(values: Mapping[str, str], name: str, allowed: frozenset[str]) -> tuple[str, ...]:
    listed = tuple(part.strip() for part in values[name].split(","))
    for part in listed:
        if part not in allowed:
            raise ApiError(
                f"'{part}' is not a valid value of '{name}'; allowed:"
                f" {', '.join(sorted(allowed))}.",
                parameter=name,
            )
    return listed


def _conditions(text: str | None, rules: Mapping[str, FieldRule]) -> tuple[Condition, ...]:
    if text is None:
        return ()
    try:
        conditions = parse_filter(text)
        check_filter(conditions, rules)
    except FilterSyntaxError as error:
        raise ApiError(str(error), parameter="filter") from error
    return conditions


def _page_size(text: str | None, bounds: PageSize | None) -> int | None:
    if bounds is None:
        return None
    if text is None:
        return bounds.default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= bounds.maximum:
        raise ApiError(
            f"'page[size]' must be a whole number between 1 and {bounds.maximum}.",
            parameter="page[size]",
        )
    return int(text)
