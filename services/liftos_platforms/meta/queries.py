"""What a caller asks of Insights, read strictly: an unknown name is refused, never passed over."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Final

from liftos_platforms.meta.errors import GraphError, invalid, retention
from liftos_platforms.truth import EntityState, Level

PARAMETERS: Final = frozenset(
    {
        "action_attribution_windows",
        "action_breakdowns",
        "action_report_time",
        "after",
        "breakdowns",
        "date_preset",
        "default_summary",
        "export_columns",
        "export_format",
        "export_name",
        "fields",
        "filtering",
        "level",
        "limit",
        "sort",
        "summary",
        "time_increment",
        "time_range",
        "time_ranges",
        "use_account_attribution_setting",
        "use_unified_attribution_setting",
    }
)
"""Every parameter of Insights that is known here; any other is refused."""

LEVEL_OF_NAME: Final = {
    "account": Level.ACCOUNT,
    "campaign": Level.CAMPAIGN,
    "adset": Level.AD_GROUP,
    "ad": Level.AD,
}
DEPTH: Final = {level: depth for depth, level in enumerate(LEVEL_OF_NAME.values())}

BREAKDOWN_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "publisher_platform": ("facebook", "instagram", "audience_network"),
    "device_platform": ("mobile_app", "desktop"),
    "country": ("DE", "FR", "US"),
    "age": ("18-24", "25-34", "35-44", "45-54"),
    "gender": ("female", "male", "unknown"),
}
"""Breakdowns that have rows here."""

OPT_IN_BREAKDOWNS: Final = frozenset(
    {"impression_device", "hourly_stats_aggregated_by_audience_time_zone", "frequency_value"}
)
"""Breakdowns that an account must opt in to; the answer is empty and no error."""

REMOVED_BREAKDOWNS: Final = frozenset({"dma"})

WINDOWS: Final = ("1d_click", "7d_click", "28d_click", "1d_view", "1d_ev")
"""Windows that are still answered; others that are known are taken and not answered."""

DEFAULT_LIMIT: Final = 25
MAXIMUM_LIMIT: Final = 10_000

_FIELDS_OF_LEVEL: Final = {
    "campaign_id": Level.CAMPAIGN,
    "campaign_name": Level.CAMPAIGN,
    "objective": Level.CAMPAIGN,
    "buying_type": Level.CAMPAIGN,
    "adset_id": Level.AD_GROUP,
    "adset_name": Level.AD_GROUP,
    "optimization_goal": Level.AD_GROUP,
    "ad_id": Level.AD,
    "ad_name": Level.AD,
}
_DEFAULT_FIELDS: Final = ("impressions", "spend", "account_id")
_FILTER_FIELDS: Final = {
    "campaign.id": Level.CAMPAIGN,
    "adset.id": Level.AD_GROUP,
    "ad.id": Level.AD,
    "campaign.effective_status": Level.CAMPAIGN,
    "adset.effective_status": Level.AD_GROUP,
    "ad.effective_status": Level.AD,
    "campaign.delivery_info": Level.CAMPAIGN,
    "adset.delivery_info": Level.AD_GROUP,
    "ad.delivery_info": Level.AD,
    "impressions": Level.ACCOUNT,
    "spend": Level.ACCOUNT,
}
_LIST_OPERATORS: Final = frozenset({"IN", "NOT_IN"})
_OPERATORS: Final = _LIST_OPERATORS | {"EQUAL", "GREATER_THAN", "LESS_THAN"}
_STATES_OF_WORD: Final = {
    "ACTIVE": EntityState.ACTIVE,
    "PAUSED": EntityState.PAUSED,
    "ARCHIVED": EntityState.ARCHIVED,
    "DELETED": EntityState.DELETED,
}
STATUS_WORDS: Final = frozenset(
    {
        *_STATES_OF_WORD,
        "ADSET_PAUSED",
        "CAMPAIGN_PAUSED",
        "DISAPPROVED",
        "IN_PROCESS",
        "PENDING_BILLING_INFO",
        "PENDING_REVIEW",
        "PREAPPROVED",
        "WITH_ISSUES",
    }
)


@lru_cache(maxsize=1)
def names() -> Mapping[str, frozenset[str]]:
    """Every name that Insights knows in v26.0, by what it names."""
    text = files("liftos_platforms.meta").joinpath("insights_names.json").read_text("utf-8")
    return {group: frozenset(members) for group, members in json.loads(text).items()}


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition."""

    field: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A report that was asked for and can be made.

    Attributes:
        node_id: What it is about: the account's id or an entity's.
        ranges: First and last day of each row's span, both inclusive.
        windows: The attribution windows beside the default.
        states: Only entities in these states; None for the default.
        summary: Fields of the summary; empty for none.
    """

    account_id: str
    node_id: str
    level: Level
    fields: tuple[str, ...]
    ranges: tuple[tuple[date, date], ...]
    breakdowns: tuple[str, ...]
    action_breakdowns: tuple[str, ...]
    windows: tuple[str, ...]
    filters: tuple[Filter, ...]
    states: frozenset[EntityState] | None
    sort: tuple[str, bool] | None
    summary: tuple[str, ...]

    @property
    def first_day(self) -> date:
        """The first day of all spans."""
        return min(first for first, _ in self.ranges)

    @property
    def last_day(self) -> date:
        """The last day of all spans, inclusive."""
        return max(last for _, last in self.ranges)


def read_report(
    params: Mapping[str, str], *, account_id: str, node_id: str, node_level: Level, today: date
) -> Report:
    """Read the parameters of Insights.

    Raises:
        GraphError: A name is unknown, a combination is not served, or the days are not kept.
    """
    refuse_unknown(params, PARAMETERS)
    level = _level(params.get("level"), node_level)
    breakdowns = _breakdowns(params)
    windows = _known(params, "action_attribution_windows", "windows")
    action_breakdowns = _known(params, "action_breakdowns", "action_breakdowns")
    ranges = _ranges(params, today)
    fields = _fields(params, level)
    filters = read_filters(params, _FILTER_FIELDS)
    for condition in filters:
        if DEPTH[_FILTER_FIELDS[condition.field]] > DEPTH[level]:
            raise invalid(f"Filtering field {condition.field} with level {level} is invalid")
    return Report(
        account_id=account_id,
        node_id=node_id,
        level=level,
        fields=fields,
        ranges=ranges,
        breakdowns=breakdowns,
        action_breakdowns=action_breakdowns or ("action_type",),
        windows=tuple(window for window in WINDOWS if window in windows),
        filters=filters,
        states=_states(filters, level),
        sort=_sort(params, fields),
        summary=read_summary(params, fields),
    )


def refuse_unknown(params: Mapping[str, str], known: frozenset[str]) -> None:
    """Refuse a parameter that an endpoint does not have.

    Raises:
        GraphError: There is one.
    """
    for name in params:
        if name not in known:
            raise invalid(f"Param {name} is not a known parameter of this endpoint")


def read_list(text: str, name: str) -> tuple[str, ...]:
    """A list of names, as JSON or with commas.

    Raises:
        GraphError: It is neither.
    """
    if not text.lstrip().startswith("["):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    value = _json(text, name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid(f"Param {name} must be an array of strings")
    return tuple(value)


def read_limit(params: Mapping[str, str]) -> int:
    """Rows of a page.

    Raises:
        GraphError: It is no number, or out of range.
    """
    text = params.get("limit")
    if text is None:
        return DEFAULT_LIMIT
    if not text.isdecimal() or not 0 < int(text) <= MAXIMUM_LIMIT:
        raise invalid(f"Param limit must be an integer from 1 to {MAXIMUM_LIMIT}")
    return int(text)


def read_summary(params: Mapping[str, str], fields: Sequence[str]) -> tuple[str, ...]:
    """The fields of the summary that is asked for; `default_summary` means all fields."""
    if params.get("default_summary", "").lower() == "true":
        return tuple(fields)
    return read_list(params.get("summary", ""), "summary")


def read_filters(params: Mapping[str, str], known: Mapping[str, object]) -> tuple[Filter, ...]:
    """The conditions of `filtering`.

    Raises:
        GraphError: A field or an operator is unknown, or a value has the wrong shape.
    """
    text = params.get("filtering")
    if text is None:
        return ()
    items = _json(text, "filtering")
    if not isinstance(items, list):
        raise invalid("Param filtering must be an array")
    found = []
    for item in items:
        if not isinstance(item, dict) or set(item) != {"field", "operator", "value"}:
            raise invalid("Param filtering[0] must be an object of field, operator and value")
        field, operator, value = item["field"], item["operator"], item["value"]
        if field not in known:
            raise invalid(f"Filtering field {field} is invalid")
        if operator not in _OPERATORS:
            raise invalid(f"Filtering operator {operator} is invalid")
        if (operator in _LIST_OPERATORS) != isinstance(value, list):
            raise invalid(f"Filtering value of {field} does not fit operator {operator}")
        values = value if isinstance(value, list) else [value]
        found.append(Filter(field, operator, tuple(str(member) for member in values)))
    return tuple(found)


def states_of(words: Sequence[str]) -> frozenset[EntityState]:
    """The states that words of `effective_status` mean.

    Raises:
        GraphError: A word is unknown.
    """
    for word in words:
        if word.upper() not in STATUS_WORDS:
            raise invalid(f"{word} is not a valid effective status")
    return frozenset(
        _STATES_OF_WORD[word.upper()] for word in words if word.upper() in _STATES_OF_WORD
    )


def days_of(params: Mapping[str, str], today: date) -> tuple[date, date] | None:
    """The days that a call asks for, as far as they can be read; for the journal and faults."""
    try:
        ranges = _ranges(params, today, maximum_age_days=None)
    except GraphError:
        return None
    return min(first for first, _ in ranges), max(last for _, last in ranges)


def _json(text: str, name: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise invalid(f"Param {name} must be valid JSON") from None


def _level(text: str | None, node_level: Level) -> Level:
    if text is None:
        return node_level
    level = LEVEL_OF_NAME.get(text)
    if level is None:
        raise invalid(f"Param level must be one of {{{', '.join(LEVEL_OF_NAME)}}}")
    if DEPTH[level] < DEPTH[node_level]:
        raise invalid(f"Level {text} is above the object that is asked")
    return level


def _fields(params: Mapping[str, str], level: Level) -> tuple[str, ...]:
    asked = read_list(params.get("fields", ""), "fields") or _DEFAULT_FIELDS
    for field in asked:
        if field not in names()["fields"]:
            raise invalid(
                f"{field} is not valid for fields param. please check "
                "https://developers.facebook.com/docs/marketing-api/reference/ads-insights/ for "
                "all valid values"
            )
        needed = _FIELDS_OF_LEVEL.get(field, Level.ACCOUNT)
        if DEPTH[needed] > DEPTH[level]:
            raise invalid(f"{field} is not valid for fields param at level {level.lower()}")
    return tuple(dict.fromkeys(asked))


def _known(params: Mapping[str, str], parameter: str, group: str) -> tuple[str, ...]:
    asked = read_list(params.get(parameter, ""), parameter)
    for name in asked:
        if name not in names()[group]:
            raise invalid(f"Param {parameter}[0] must be one of the known values, not {name}")
    return asked


def _breakdowns(params: Mapping[str, str]) -> tuple[str, ...]:
    asked = _known(params, "breakdowns", "breakdowns")
    for name in asked:
        if name in REMOVED_BREAKDOWNS:
            raise invalid(f"Breakdown {name} is no longer available")
        if name not in BREAKDOWN_VALUES and name not in OPT_IN_BREAKDOWNS:
            raise invalid(
                "Current combination of data breakdown columns (action_type, "
                f"{', '.join(asked)}) is invalid"
            )
    return asked


def _ranges(
    params: Mapping[str, str], today: date, maximum_age_days: int | None = 37
) -> tuple[tuple[date, date], ...]:
    if "time_ranges" in params:
        items = _json(params["time_ranges"], "time_ranges")
        if not isinstance(items, list) or not items:
            raise invalid("Param time_ranges must be an array of time ranges")
        ranges = tuple(_range(item) for item in items)
    else:
        first, last = (
            _range(_json(params["time_range"], "time_range"))
            if "time_range" in params
            else _preset(params.get("date_preset", "last_30d"), today)
        )
        ranges = _increments(first, last, params.get("time_increment", "all_days"))
    if maximum_age_days is not None and min(first for first, _ in ranges) < months_before(
        today, maximum_age_days
    ):
        raise retention()
    return ranges


def _range(value: object) -> tuple[date, date]:
    if not isinstance(value, dict) or set(value) != {"since", "until"}:
        raise invalid("Must be a time range of since and until")
    try:
        first, last = (date.fromisoformat(str(value[name])) for name in ("since", "until"))
    except ValueError:
        raise invalid("Must be a time range of days as YYYY-MM-DD") from None
    if last < first:
        raise invalid("Must be a time range whose since is not after its until")
    return first, last


def _preset(name: str, today: date) -> tuple[date, date]:
    if name not in names()["date_presets"]:
        raise invalid(f"Param date_preset must be one of the known values, not {name}")
    if name == "today":
        return today, today
    yesterday = today - timedelta(days=1)
    if name == "yesterday":
        return yesterday, yesterday
    if name.startswith("last_") and name.endswith("d"):
        return today - timedelta(days=int(name[5:-1])), yesterday
    raise invalid(f"Param date_preset {name} is not simulated; use time_range")


def _increments(first: date, last: date, increment: str) -> tuple[tuple[date, date], ...]:
    if increment == "all_days":
        return ((first, last),)
    spans = []
    begin = first
    while begin <= last:
        if increment == "monthly":
            following = (begin.replace(day=1) + timedelta(days=32)).replace(day=1)
        elif increment.isdecimal() and 1 <= int(increment) <= 90:
            following = begin + timedelta(days=int(increment))
        else:
            raise invalid("Param time_increment must be 1 to 90, monthly or all_days")
        spans.append((begin, min(last, following - timedelta(days=1))))
        begin = following
    return tuple(spans)


def months_before(day: date, months: int) -> date:
    """The same day of an earlier month, or that month's last."""
    place = day.year * 12 + day.month - 1 - months
    following = date((place + 1) // 12, (place + 1) % 12 + 1, 1)
    last = following - timedelta(days=1)
    return last.replace(day=min(day.day, last.day))


def _states(filters: Sequence[Filter], level: Level) -> frozenset[EntityState] | None:
    suffixes = (".effective_status", ".delivery_info")
    for condition in filters:
        if condition.field.endswith(suffixes) and _FILTER_FIELDS[condition.field] is level:
            named = states_of(condition.values)
            return named if condition.operator != "NOT_IN" else frozenset(EntityState) - named
    return None


def _sort(params: Mapping[str, str], fields: Sequence[str]) -> tuple[str, bool] | None:
    asked = read_list(params.get("sort", ""), "sort")
    if not asked:
        return None
    field, _, direction = asked[0].rpartition("_")
    if direction not in {"ascending", "descending"} or field not in fields:
        raise invalid(f"Param sort {asked[0]} must be a field that is asked for and a direction")
    return field, direction == "descending"
