"""Filters in the words of the contract."""

from collections.abc import Sequence
from typing import Final

from liftos_client.arguments import Day, day_text

ALSO_WITHIN_WHOLES: Final = 'whole = "" OR whole != ""'
"""Takes insights about single objects too where one of their channel tells the same."""


def of_platforms(platforms: Sequence[str], other: str) -> str:
    """Return a filter that takes some platforms, and keeps to another filter."""
    terms = " OR ".join(f"platform = {_quoted(platform)}" for platform in platforms)
    return all_of([terms, other])


def insight_filter(
    start_date: Day | None,
    end_date: Day | None,
    *,
    kinds: Sequence[str] = (),
    metrics: Sequence[str] = (),
    include_resolved: bool = False,
    other: str = "",
) -> str:
    """Return a filter that takes some insights, and keeps to another filter."""
    terms = [] if include_resolved else ["state = ACTIVE"]
    if start_date is not None:
        terms.append(f"end_date >= {_quoted(day_text(start_date))}")
    if end_date is not None:
        terms.append(f"start_date <= {_quoted(day_text(end_date))}")
    terms.append(" OR ".join(f"kind = {kind}" for kind in kinds))
    terms.append(" OR ".join(f"metric = {_quoted(metric)}" for metric in metrics))
    return all_of([*terms, other])


def all_of(terms: Sequence[str]) -> str:
    """Return a filter of what all of these take; empty ones take everything."""
    given = [term for term in terms if term.strip()]
    return given[0] if len(given) == 1 else " AND ".join(f"({term})" for term in given)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*")
    return f'"{escaped}"'
