"""What a query asks for, once it has been held against the fields of the API."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from typing import Final

from liftos_platforms.google_ads.catalogue import (
    ATTRIBUTED_RESOURCES,
    CHANGE_MOMENT,
    CORE_DATE_SEGMENTS,
    DATE_SEGMENTS,
    RESOURCES_WITHOUT_METRICS,
    Catalogue,
    Field,
    FieldCategory,
    FieldType,
)
from liftos_platforms.google_ads.dates import PERIODS, named_range
from liftos_platforms.google_ads.gaql import (
    PATTERN_OPERATORS,
    Condition,
    GaqlError,
    Literal,
    LiteralKind,
    Operator,
    Query,
)
from liftos_platforms.google_ads.literals import check_pattern, value_of
from liftos_platforms.google_ads.metrics import METRICS, REACH_METRICS
from liftos_platforms.google_ads.predicates import Predicate, Value

MAXIMUM_REACH_DAYS: Final = 92
MAXIMUM_CHANGE_DAYS: Final = 90
MAXIMUM_CHANGE_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class SortKey:
    """A field to sort by."""

    field: Field
    descending: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked query.

    Attributes:
        resource: The resource whose rows are asked for.
        selected: Names of the selected fields, in the order of the query.
        attributes: Selected fields that belong to resources.
        segments: Selected segments, all of which follow from the day.
        metrics: Selected metrics.
        first_day: First day that counts, None without a lower bound.
        last_day: Last day that counts, None without an upper bound.
        predicates: Conditions beyond the range of days.
        order_by: What to sort by, most significant first.
        limit: Most rows, None for all.
        omits_resource_names: Whether resource names that were not selected stay away.
    """

    resource: str
    selected: tuple[str, ...]
    attributes: tuple[Field, ...]
    segments: tuple[Field, ...]
    metrics: tuple[Field, ...]
    first_day: date | None
    last_day: date | None
    predicates: tuple[Predicate, ...]
    order_by: tuple[SortKey, ...]
    limit: int | None
    omits_resource_names: bool


class _Clause(Enum):
    SELECT = "SELECT"
    WHERE = "WHERE"
    ORDER_BY = "ORDER BY"


_EQUALITY: Final = frozenset(
    {
        Operator.EQUAL,
        Operator.NOT_EQUAL,
        Operator.IN,
        Operator.NOT_IN,
        Operator.IS_NULL,
        Operator.IS_NOT_NULL,
    }
)
_ORDERED: Final = frozenset(
    {
        Operator.LESS,
        Operator.LESS_OR_EQUAL,
        Operator.GREATER,
        Operator.GREATER_OR_EQUAL,
        Operator.BETWEEN,
    }
)
_FROM_BELOW: Final = frozenset(
    {Operator.EQUAL, Operator.BETWEEN, Operator.GREATER, Operator.GREATER_OR_EQUAL}
)
_FROM_ABOVE: Final = frozenset(
    {Operator.EQUAL, Operator.BETWEEN, Operator.LESS, Operator.LESS_OR_EQUAL}
)
_LISTS: Final = frozenset(
    {
        Operator.CONTAINS_ANY,
        Operator.CONTAINS_ALL,
        Operator.CONTAINS_NONE,
        Operator.IS_NULL,
        Operator.IS_NOT_NULL,
    }
)
_OPERATORS: Final[Mapping[FieldType, frozenset[Operator]]] = {
    FieldType.BOOLEAN: _EQUALITY - {Operator.IN, Operator.NOT_IN},
    FieldType.DATE: _EQUALITY | _ORDERED | {Operator.DURING},
    FieldType.DOUBLE: _EQUALITY | _ORDERED,
    FieldType.ENUM: _EQUALITY,
    FieldType.FLOAT: _EQUALITY | _ORDERED,
    FieldType.INT32: _EQUALITY | _ORDERED,
    FieldType.INT64: _EQUALITY | _ORDERED,
    FieldType.MESSAGE: frozenset(),
    FieldType.RESOURCE_NAME: _EQUALITY | PATTERN_OPERATORS,
    FieldType.STRING: _EQUALITY | PATTERN_OPERATORS,
}
_PARAMETERS: Final = ("include_drafts", "omit_unselected_resource_names")


def check_query(query: Query, catalogue: Catalogue, *, today: date, is_manager: bool) -> Plan:
    """Return what a query asks for.

    Args:
        query: The query as written.
        catalogue: The fields of the API.
        today: The day in the account's time zone, for DURING.
        is_manager: Whether the account is a manager, which has no metrics of its own.

    Raises:
        GaqlError: The query asks for something that does not exist or does not go together.
    """
    _check_resource(query.resource, catalogue)
    selected = tuple(_field(name, query, catalogue, _Clause.SELECT) for name in query.select)
    conditions = tuple(
        (condition, _field(condition.field, query, catalogue, _Clause.WHERE))
        for condition in query.where
    )
    order_by = tuple(
        SortKey(_field(ordering.field, query, catalogue, _Clause.ORDER_BY), ordering.descending)
        for ordering in query.order_by
    )
    _check_references(query)
    used = (*selected, *(field for _, field in conditions))
    if is_manager and any(field.category is FieldCategory.METRIC for field in used):
        raise GaqlError(
            "REQUESTED_METRICS_FOR_MANAGER",
            "Metrics cannot be requested for a manager account. To retrieve metrics, issue "
            "separate requests against each client account under the manager account.",
        )
    first_day, last_day, predicates = _restrict(conditions, today=today)
    _check_days(selected, first_day, last_day)
    if query.resource == "change_status":
        _check_changes(query.limit, predicates, today=today)
    return Plan(
        resource=query.resource,
        selected=query.select,
        attributes=tuple(f for f in selected if f.category is FieldCategory.ATTRIBUTE),
        segments=tuple(f for f in selected if f.category is FieldCategory.SEGMENT),
        metrics=tuple(f for f in selected if f.category is FieldCategory.METRIC),
        first_day=first_day,
        last_day=last_day,
        predicates=predicates,
        order_by=order_by,
        limit=query.limit,
        omits_resource_names=_parameters(query.parameters)["omit_unselected_resource_names"],
    )


def _check_resource(resource: str, catalogue: Catalogue) -> None:
    if resource not in catalogue.resources() or resource in ("metrics", "segments"):
        raise GaqlError(
            "BAD_RESOURCE_TYPE_IN_FROM_CLAUSE",
            f"'{resource}' is not a valid resource name.",
            trigger=resource,
        )
    if resource not in ATTRIBUTED_RESOURCES:
        raise GaqlError(
            "PROHIBITED_RESOURCE_TYPE_IN_FROM_CLAUSE",
            f"The resource '{resource}' exists, and this simulator does not offer it.",
            trigger=resource,
        )


def _field(name: str, query: Query, catalogue: Catalogue, clause: _Clause) -> Field:
    """Return a field that the clause of a query may use."""
    field = catalogue.find(name)
    if field is None:
        raise GaqlError(
            "UNRECOGNIZED_FIELD", f"Unrecognized field in the query: '{name}'.", trigger=name
        )
    if field.category is FieldCategory.METRIC:
        _check_metric(field, query.resource)
    elif field.category is FieldCategory.SEGMENT:
        if query.resource in RESOURCES_WITHOUT_METRICS or field.name not in DATE_SEGMENTS:
            raise GaqlError(
                "PROHIBITED_SEGMENT_IN_SELECT_OR_WHERE_CLAUSE",
                f"'{name}' cannot segment rows of '{query.resource}' in this simulator.",
                trigger=name,
            )
    elif field.resource not in ATTRIBUTED_RESOURCES[query.resource]:
        where = clause is _Clause.WHERE
        raise GaqlError(
            f"PROHIBITED_RESOURCE_TYPE_IN_{'WHERE' if where else 'SELECT'}_CLAUSE",
            f"'{field.resource}' cannot be used with FROM {query.resource}.",
            trigger=name,
        )
    _check_shape(field, clause)
    return field


def _check_metric(field: Field, resource: str) -> None:
    metric = field.path[-1]
    if (
        resource in RESOURCES_WITHOUT_METRICS
        or metric not in METRICS
        or (resource == "ad_group_ad" and metric in REACH_METRICS)
    ):
        raise GaqlError(
            "PROHIBITED_METRIC_IN_SELECT_OR_WHERE_CLAUSE",
            f"'{field.name}' is not available for '{resource}' in this simulator.",
            trigger=field.name,
        )


def _check_shape(field: Field, clause: _Clause) -> None:
    if clause is _Clause.SELECT and field.type is FieldType.MESSAGE and not field.is_repeated:
        code = "PROHIBITED_FIELD_IN_SELECT_CLAUSE"
    elif clause is _Clause.WHERE and field.type is FieldType.MESSAGE:
        code = "PROHIBITED_FIELD_IN_WHERE_CLAUSE"
    elif clause is _Clause.ORDER_BY and (field.type is FieldType.MESSAGE or field.is_repeated):
        code = "PROHIBITED_FIELD_IN_ORDER_BY_CLAUSE"
    else:
        return
    raise GaqlError(
        code, f"'{field.name}' cannot stand in the {clause.value} clause.", trigger=field.name
    )


def _check_references(query: Query) -> None:
    """Refuse what is filtered or sorted by without being selected."""
    filtered = (
        condition.field
        for condition in query.where
        if condition.field.startswith("segments.") and condition.field not in CORE_DATE_SEGMENTS
    )
    sorted_by = (
        ordering.field
        for ordering in query.order_by
        if not ordering.field.startswith(f"{query.resource}.")
    )
    for name in (*filtered, *sorted_by):
        if name not in query.select:
            raise GaqlError(
                "EXPECTED_REFERENCED_FIELD_IN_SELECT_CLAUSE",
                f"The following field must be present in SELECT clause: '{name}'.",
                trigger=name,
            )


def _parameters(parameters: Mapping[str, str]) -> dict[str, bool]:
    values = dict.fromkeys(_PARAMETERS, False)
    for name, text in parameters.items():
        if name not in values:
            raise GaqlError("BAD_PARAMETER_NAME", f"'{name}' is no parameter.", trigger=name)
        if text.lower() not in ("true", "false"):
            raise GaqlError(
                "BAD_PARAMETER_VALUE", f"'{name}' takes true or false, not '{text}'.", trigger=text
            )
        values[name] = text.lower() == "true"
    return values


def _check_days(selected: Iterable[Field], first: date | None, last: date | None) -> None:
    names = {field.name for field in selected}
    if names & CORE_DATE_SEGMENTS and (first is None or last is None):
        raise GaqlError(
            "EXPECTED_FILTERS_ON_DATE_RANGE",
            "A query that selects a segment of dates filters them to a finite range.",
        )
    reach = sorted(names & {f"metrics.{metric}" for metric in REACH_METRICS})
    if reach and (
        first is None or last is None or last - first >= timedelta(days=MAXIMUM_REACH_DAYS)
    ):
        raise GaqlError(
            "DATE_RANGE_TOO_WIDE",
            f"'{reach[0]}' is available for at most {MAXIMUM_REACH_DAYS} days.",
            trigger=reach[0],
        )


def _check_changes(limit: int | None, predicates: tuple[Predicate, ...], *, today: date) -> None:
    """Refuse a query for changes without a limit, or without a range of the last 90 days."""
    begins, ends = [], []
    for predicate in predicates:
        if predicate.field.name == CHANGE_MOMENT and predicate.values:
            if predicate.operator in _FROM_BELOW:
                begins.append(str(predicate.values[0]))
            if predicate.operator in _FROM_ABOVE:
                ends.append(str(predicate.values[-1]))
    oldest = (today - timedelta(days=MAXIMUM_CHANGE_DAYS)).isoformat()
    if not begins or not ends:
        code, message = "CHANGE_DATE_RANGE_INFINITE", "The range of dates of changes is infinite."
    elif max(begins) > min(ends):
        code, message = "CHANGE_DATE_RANGE_NEGATIVE", "The range of dates ends before it begins."
    elif max(begins) < oldest:
        code = "START_DATE_TOO_OLD"
        message = f"Changes are kept for {MAXIMUM_CHANGE_DAYS} days."
    elif limit is None:
        code, message = "LIMIT_NOT_SPECIFIED", "A query for changes needs a limit."
    elif limit > MAXIMUM_CHANGE_ROWS:
        code = "INVALID_LIMIT_CLAUSE"
        message = f"A query for changes has a limit of at most {MAXIMUM_CHANGE_ROWS}."
    else:
        return
    raise GaqlError(code, message, trigger=CHANGE_MOMENT, category="change_status_error")


def _restrict(
    conditions: Iterable[tuple[Condition, Field]], *, today: date
) -> tuple[date | None, date | None, tuple[Predicate, ...]]:
    """Return the range of days that the conditions leave, and the conditions beyond it."""
    first: date | None = None
    last: date | None = None
    predicates = []
    for condition, field in conditions:
        predicate = _predicate(condition, field, today=today)
        bounds = _bounds(predicate)
        if bounds is None:
            predicates.append(predicate)
            continue
        lower, upper = bounds
        if lower is not None:
            first = lower if first is None else max(first, lower)
        if upper is not None:
            last = upper if last is None else min(last, upper)
    return first, last, tuple(predicates)


def _predicate(condition: Condition, field: Field, *, today: date) -> Predicate:
    operator = condition.operator
    allowed = _LISTS if field.is_repeated else _OPERATORS[field.type]
    if operator not in allowed:
        raise GaqlError(
            "OPERATOR_FIELD_MISMATCH",
            f"The operator {operator.value} does not go with '{field.name}'.",
            trigger=field.name,
        )
    if operator is Operator.DURING:
        first, last = _during(condition.values[0], today)
        days = tuple(
            value_of(Literal(LiteralKind.TEXT, day.isoformat()), field) for day in (first, last)
        )
        return Predicate(field, Operator.BETWEEN, days)
    values = tuple(value_of(literal, field) for literal in condition.values)
    if operator in PATTERN_OPERATORS:
        check_pattern(operator, str(values[0]), field)
    return Predicate(field, operator, values)


def _during(literal: Literal, today: date) -> tuple[date, date]:
    is_word = literal.kind is LiteralKind.WORD
    days = named_range(literal.text.upper(), today) if is_word else None
    if days is None:
        raise GaqlError(
            "INVALID_VALUE_WITH_DURING_OPERATOR",
            f"'{literal.text}' is no named range of dates.",
            trigger=literal.text,
        )
    return days


def _bounds(predicate: Predicate) -> tuple[date | None, date | None] | None:
    """Return the days that a condition on dates leaves; None where it is no range of days."""
    field, operator = predicate.field, predicate.operator
    if field.name not in PERIODS or not predicate.values:
        return None
    first, last = _period(field, predicate.values[0])
    bounds: tuple[date | None, date | None]
    match operator:
        case Operator.EQUAL:
            bounds = first, last
        case Operator.BETWEEN:
            bounds = first, _period(field, predicate.values[1])[1]
        case Operator.GREATER_OR_EQUAL:
            bounds = first, None
        case Operator.GREATER:
            bounds = last + timedelta(days=1), None
        case Operator.LESS_OR_EQUAL:
            bounds = None, last
        case Operator.LESS:
            bounds = None, first - timedelta(days=1)
        case _:
            return None
    return bounds


def _period(field: Field, value: Value) -> tuple[date, date]:
    text = f"{value}-01-01" if field.name == "segments.year" else str(value)
    return PERIODS[field.name](date.fromisoformat(text))
