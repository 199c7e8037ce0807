"""Sides of a comparison, as filters of campaigns."""

from liftos_causal.domain.filters import PERFORMANCE_FIELDS
from liftos_causal.domain.records import Group
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.filters import And, Comparison, Filter, Operator, Or, parse_filter


def group_filter(group: Group, *, field: str) -> Filter:
    """Return which campaigns a group means.

    Raises:
        FilterError: Its filter cannot be read.
        InvalidFieldsError: It names nothing, or regions, by which no numbers are stored.
    """
    if group.region_codes:
        raise InvalidFieldsError.of(
            f"{field}.region_codes", "no numbers are stored by region; name campaigns"
        )
    terms: list[Filter] = []
    if group.campaign_ids:
        named = [Comparison("campaign_id", Operator.EQUAL, each) for each in group.campaign_ids]
        terms.append(named[0] if len(named) == 1 else Or(tuple(named)))
    parsed = parse_filter(group.filter, PERFORMANCE_FIELDS)
    if parsed is not None:
        terms.append(parsed)
    if not terms:
        raise InvalidFieldsError.of(field, "name campaigns or give a filter")
    return terms[0] if len(terms) == 1 else And(tuple(terms))
