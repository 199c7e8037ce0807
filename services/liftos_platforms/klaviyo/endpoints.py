"""The endpoints: paths, scopes, limits, and what their query strings may hold."""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from liftos_platforms.klaviyo import limits
from liftos_platforms.klaviyo.bodies import ReportKind
from liftos_platforms.klaviyo.filters import FieldRule, FilterOperator, ValueKind, rule
from liftos_platforms.klaviyo.limits import RateLimit
from liftos_platforms.klaviyo.query import PAGE_CURSOR, REPORT_CURSOR, PageSize, QueryRules

_O = FilterOperator
_ORDER: Final = (_O.GREATER_OR_EQUAL, _O.GREATER_THAN, _O.LESS_OR_EQUAL, _O.LESS_THAN)
_NAMES: Final = (_O.CONTAINS, _O.ENDS_WITH, _O.EQUALS, _O.STARTS_WITH)

_ACCOUNT: Final = frozenset(
    {
        "test_account", "contact_information", "contact_information.default_sender_name",
        "contact_information.default_sender_email", "contact_information.website_url",
        "contact_information.organization_name", "contact_information.street_address",
        "contact_information.street_address.address1",
        "contact_information.street_address.address2", "contact_information.street_address.city",
        "contact_information.street_address.region", "contact_information.street_address.country",
        "contact_information.street_address.zip", "industry", "timezone", "preferred_currency",
        "public_api_key", "locale",
    }
)  # fmt: skip
_METRIC: Final = frozenset({"name", "created", "updated", "integration"})
_FLOW: Final = frozenset({"name", "status", "archived", "created", "updated", "trigger_type"})
_TAG: Final = frozenset({"name"})
_CAMPAIGN: Final = frozenset(
    {
        "created_at", "updated_at", "definition", "definition.name", "definition.builder",
        "definition.archived", "definition.color", "definition.description",
        "definition.send_settings", "definition.send_settings.send_timezone",
        "definition.send_settings.send_strategy",
        "definition.send_settings.send_passed_rltz_immediately",
        "definition.send_settings.exit_condition_enabled",
        "definition.send_settings.exit_condition_conversion_metric_id",
    }
)  # fmt: skip
_CAMPAIGN_MESSAGE: Final = frozenset(
    {
        "created", "updated", "definition", "definition.name", "definition.status",
        "definition.tracking_options", "definition.tracking_options.is_add_utm",
        "definition.tracking_options.is_tracking_clicks",
        "definition.tracking_options.is_tracking_opens", "definition.send_options",
        "definition.send_options.send_time", "definition.send_options.send_times",
        "definition.send_options.send_strategy", "definition.send_options.recipient_percentage",
        "definition.send_options.throttling_type", "definition.send_options.throttle_unit",
        "definition.send_options.is_ignoring_unsubscribes", "definition.ab_test",
    }
)  # fmt: skip
_FLOW_ACTION: Final = frozenset({"created", "updated", "definition"})
_FLOW_MESSAGE: Final = frozenset({"channel", "created", "updated", "definition"})
_EVENT: Final = frozenset({"timestamp", "event_properties", "datetime", "uuid"})
_PROFILE: Final = frozenset({"email", "first_name", "last_name", "created", "updated"})


def _dated(*names: str, equal: bool = False) -> dict[str, FieldRule]:
    operators = (*_ORDER, _O.EQUALS) if equal else _ORDER
    return {name: rule(ValueKind.DATE_TIME, *operators) for name in names}


_CAMPAIGN_FILTERS: Final = {
    "id": rule(ValueKind.TEXT, _O.ANY),
    "name": rule(ValueKind.TEXT, _O.CONTAINS),
    "archived": rule(ValueKind.BOOLEAN, _O.EQUALS),
    "builder": rule(ValueKind.TEXT, _O.EQUALS),
    **_dated("created_at", "updated_at"),
}
_CAMPAIGN_MESSAGE_FILTERS: Final = {
    "id": rule(ValueKind.TEXT, _O.ANY, _O.EQUALS),
    "campaign_id": rule(ValueKind.TEXT, _O.EQUALS),
    "name": rule(ValueKind.TEXT, _O.CONTAINS),
    "status": rule(ValueKind.TEXT, _O.EQUALS),
    **_dated("created", "updated"),
}
_FLOW_FILTERS: Final = {
    "id": rule(ValueKind.TEXT, _O.ANY),
    "name": rule(ValueKind.TEXT, *_NAMES),
    "status": rule(ValueKind.TEXT, _O.EQUALS),
    "archived": rule(ValueKind.BOOLEAN, _O.EQUALS),
    "trigger_type": rule(
        ValueKind.TEXT,
        _O.EQUALS,
        allowed=(
            "Metric",
            "Added to List",
            "Unconfigured",
            "Date Based",
            "Price Drop",
            "Low Inventory",
        ),
    ),
    **_dated("created", "updated", equal=True),
}
_FLOW_ACTION_FILTERS: Final = {
    "id": rule(ValueKind.TEXT, _O.ANY),
    "action_type": rule(ValueKind.TEXT, _O.ANY, _O.EQUALS),
    "status": rule(ValueKind.TEXT, _O.EQUALS),
    **_dated("created", "updated", equal=True),
}
_FLOW_MESSAGE_FILTERS: Final = {
    "id": rule(ValueKind.TEXT, _O.ANY),
    "name": rule(ValueKind.TEXT, *_NAMES),
    **_dated("created", "updated", equal=True),
}
_METRIC_FILTERS: Final = {
    "integration.name": rule(ValueKind.TEXT, _O.EQUALS),
    "integration.category": rule(ValueKind.TEXT, _O.EQUALS),
}
_EVENT_FILTERS: Final = {
    "metric_id": rule(ValueKind.TEXT, _O.EQUALS),
    "profile": rule(ValueKind.PRESENCE, _O.HAS),
    "metric": rule(ValueKind.PRESENCE, _O.HAS),
    "datetime": rule(ValueKind.DATE_TIME, *_ORDER),
    "timestamp": rule(ValueKind.NUMBER, *_ORDER),
}


@unique
class Name(StrEnum):
    """The endpoints, by the names that faults and the journal use."""

    ACCOUNTS = "accounts"
    ACCOUNT = "account"
    METRICS = "metrics"
    METRIC = "metric"
    MAPPED_METRICS = "mapped-metrics"
    MAPPED_METRIC = "mapped-metric"
    METRIC_AGGREGATES = "metric-aggregates"
    CAMPAIGNS = "campaigns"
    CAMPAIGN = "campaign"
    MESSAGES_OF_CAMPAIGN = "messages-of-campaign"
    CAMPAIGN_MESSAGES = "campaign-messages"
    CAMPAIGN_MESSAGE = "campaign-message"
    FLOWS = "flows"
    FLOW = "flow"
    FLOW_ACTIONS = "flow-actions"
    FLOW_ACTION = "flow-action"
    FLOW_MESSAGES = "flow-messages"
    FLOW_MESSAGE = "flow-message"
    EVENTS = "events"
    CAMPAIGN_VALUES = "campaign-values-reports"
    FLOW_VALUES = "flow-values-reports"
    FLOW_SERIES = "flow-series-reports"


REPORTS: Final = {
    Name.CAMPAIGN_VALUES: ReportKind.CAMPAIGN_VALUES,
    Name.FLOW_VALUES: ReportKind.FLOW_VALUES,
    Name.FLOW_SERIES: ReportKind.FLOW_SERIES,
}
"""Which report an endpoint gives."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint.

    Attributes:
        path: As aiohttp routes it; `{id}` is the one place that varies.
        page_size: Records on a page where the caller has no say.
    """

    name: Name
    method: str
    path: str
    scope: str
    limit: RateLimit
    query: QueryRules
    page_size: int = 100


def _list(path: str, name: Name, scope: str, limit: RateLimit, query: QueryRules) -> Endpoint:
    return Endpoint(name, "GET", path, scope, limit, query, page_size=200)


def _post(name: Name, scope: str, limit: RateLimit, kind: str, *, paged: bool) -> Endpoint:
    fields = (
        frozenset({"results", "date_times"})
        if name is Name.FLOW_SERIES
        else frozenset({"dates", "data"})
        if name is Name.METRIC_AGGREGATES
        else frozenset({"results"})
    )
    query = QueryRules(fields={kind: fields}, cursor=REPORT_CURSOR if paged else None)
    return Endpoint(name, "POST", f"/api/{name}", scope, limit, query, page_size=500)


_CAMPAIGN_ONE: Final = {
    "campaign": _CAMPAIGN,
    "campaign-message": _CAMPAIGN_MESSAGE,
    "campaign-audience": frozenset({"definition"}),
    "tag": _TAG,
}
_MESSAGE_ONE: Final = {"campaign-message": _CAMPAIGN_MESSAGE, "campaign": _CAMPAIGN}
_FLOW_ONE: Final = {"flow": _FLOW, "flow-action": _FLOW_ACTION, "tag": _TAG}
_CAMPAIGN_INCLUDE: Final = frozenset({"campaign-audiences", "campaign-messages", "tags"})
_MAPPED_FIELDS: Final = {
    "mapped-metric": frozenset({"updated"}),
    "metric": _METRIC,
    "custom-metric": frozenset({"name", "created", "updated", "definition"}),
}
_MAPPED_INCLUDE: Final = frozenset({"metric", "custom-metric"})
_METRIC_FIELDS: Final = {"metric": _METRIC, "flow": _FLOW}
_ENTITY_SORT: Final = frozenset({"id", "created", "updated"})

ENDPOINTS: Final = (
    _list(
        "/api/accounts",
        Name.ACCOUNTS,
        "accounts:read",
        limits.XS,
        QueryRules(fields={"account": _ACCOUNT}),
    ),
    _list(
        "/api/accounts/{id}",
        Name.ACCOUNT,
        "accounts:read",
        limits.XS,
        QueryRules(fields={"account": _ACCOUNT}),
    ),
    _list(
        "/api/metrics",
        Name.METRICS,
        "metrics:read",
        limits.M,
        QueryRules(
            fields=_METRIC_FIELDS,
            filters=_METRIC_FILTERS,
            include=frozenset({"flow-triggers"}),
            cursor=PAGE_CURSOR,
        ),
    ),
    _list(
        "/api/metrics/{id}",
        Name.METRIC,
        "metrics:read",
        limits.M,
        QueryRules(fields=_METRIC_FIELDS, include=frozenset({"flow-triggers"})),
    ),
    _list(
        "/api/mapped-metrics",
        Name.MAPPED_METRICS,
        "metrics:read",
        limits.S,
        QueryRules(fields=_MAPPED_FIELDS, include=_MAPPED_INCLUDE),
    ),
    _list(
        "/api/mapped-metrics/{id}",
        Name.MAPPED_METRIC,
        "metrics:read",
        limits.S,
        QueryRules(fields=_MAPPED_FIELDS, include=_MAPPED_INCLUDE),
    ),
    _list(
        "/api/campaigns",
        Name.CAMPAIGNS,
        "campaigns:read",
        limits.M,
        QueryRules(
            fields=_CAMPAIGN_ONE,
            filters=_CAMPAIGN_FILTERS,
            include=_CAMPAIGN_INCLUDE,
            sort=frozenset({"id", "name", "created_at", "updated_at"}),
            page_size=PageSize(default=100, maximum=100),
            cursor=PAGE_CURSOR,
        ),
    ),
    _list(
        "/api/campaigns/{id}",
        Name.CAMPAIGN,
        "campaigns:read",
        limits.M,
        QueryRules(fields=_CAMPAIGN_ONE, include=_CAMPAIGN_INCLUDE),
    ),
    _list(
        "/api/campaigns/{id}/campaign-messages",
        Name.MESSAGES_OF_CAMPAIGN,
        "campaigns:read",
        limits.M,
        QueryRules(fields=_MESSAGE_ONE, include=frozenset({"campaign"}), cursor=PAGE_CURSOR),
    ),
    _list(
        "/api/campaign-messages",
        Name.CAMPAIGN_MESSAGES,
        "campaigns:read",
        limits.M,
        QueryRules(
            fields=_MESSAGE_ONE,
            filters=_CAMPAIGN_MESSAGE_FILTERS,
            include=frozenset({"campaign"}),
            sort=_ENTITY_SORT | {"name"},
            page_size=PageSize(default=20, maximum=100),
            cursor=PAGE_CURSOR,
        ),
    ),
    _list(
        "/api/campaign-messages/{id}",
        Name.CAMPAIGN_MESSAGE,
        "campaigns:read",
        limits.M,
        QueryRules(fields=_MESSAGE_ONE, include=frozenset({"campaign"})),
    ),
    _list(
        "/api/flows",
        Name.FLOWS,
        "flows:read",
        limits.S,
        QueryRules(
            fields=_FLOW_ONE,
            filters=_FLOW_FILTERS,
            include=frozenset({"flow-actions", "tags"}),
            sort=_ENTITY_SORT | {"name", "status", "trigger_type"},
            page_size=PageSize(default=50, maximum=50),
            cursor=PAGE_CURSOR,
        ),
    ),
    _list(
        "/api/flows/{id}",
        Name.FLOW,
        "flows:read",
        limits.S,
        QueryRules(
            fields=_FLOW_ONE,
            include=frozenset({"flow-actions", "tags"}),
        ),
    ),
    _list(
        "/api/flows/{id}/flow-actions",
        Name.FLOW_ACTIONS,
        "flows:read",
        limits.S,
        QueryRules(
            fields={"flow-action": _FLOW_ACTION},
            filters=_FLOW_ACTION_FILTERS,
            sort=_ENTITY_SORT | {"action_type", "status"},
            page_size=PageSize(default=50, maximum=50),
            cursor=PAGE_CURSOR,
        ),
    ),
    _list(
        "/api/flow-actions/{id}",
        Name.FLOW_ACTION,
        "flows:read",
        limits.S,
        QueryRules(
            fields={"flow-action": _FLOW_ACTION, "flow-message": _FLOW_MESSAGE},
            include=frozenset({"flow-messages"}),
        ),
    ),
    _list(
        "/api/flow-actions/{id}/flow-messages",
        Name.FLOW_MESSAGES,
        "flows:read",
        limits.S,
        QueryRules(
            fields={"flow-message": _FLOW_MESSAGE},
            filters=_FLOW_MESSAGE_FILTERS,
            sort=_ENTITY_SORT | {"name"},
            page_size=PageSize(default=50, maximum=50),
            cursor=PAGE_CURSOR,
        ),
    ),
    _list(
        "/api/flow-messages/{id}",
        Name.FLOW_MESSAGE,
        "flows:read",
        limits.S,
        QueryRules(fields={"flow-message": _FLOW_MESSAGE}),
    ),
    _list(
        "/api/events",
        Name.EVENTS,
        "events:read",
        limits.XL,
        QueryRules(
            fields={
                "event": _EVENT,
                "metric": _METRIC,
                "profile": _PROFILE,
                "attribution": frozenset[str](),
            },
            filters=_EVENT_FILTERS,
            include=frozenset({"attributions", "metric", "profile"}),
            sort=frozenset({"datetime", "timestamp"}),
            page_size=PageSize(default=200, maximum=1000),
            cursor=PAGE_CURSOR,
        ),
    ),
    _post(Name.METRIC_AGGREGATES, "metrics:read", limits.S, "metric-aggregate", paged=False),
    _post(
        Name.CAMPAIGN_VALUES,
        "campaigns:read",
        limits.REPORTS,
        ReportKind.CAMPAIGN_VALUES,
        paged=True,
    ),
    _post(Name.FLOW_VALUES, "flows:read", limits.REPORTS, ReportKind.FLOW_VALUES, paged=True),
    _post(Name.FLOW_SERIES, "flows:read", limits.REPORTS, ReportKind.FLOW_SERIES, paged=True),
)
"""Every endpoint of the simulator but the one for tokens."""
