"""Accounts, campaigns, ad sets and ads as nodes of the graph."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Final

from liftos_platforms.meta.errors import unknown_field
from liftos_platforms.meta.queries import Filter, states_of
from liftos_platforms.meta.rendering import OBJECTIVE, OPTIMIZATION_GOAL
from liftos_platforms.truth import (
    Account,
    AccountState,
    Entity,
    EntityState,
    Level,
    World,
    at,
    day_bounds,
    local_day,
    zone,
)

EDGES: Final[Mapping[str, Level]] = {
    "campaigns": Level.CAMPAIGN,
    "adsets": Level.AD_GROUP,
    "ads": Level.AD,
}
"""An account's edges and what they list."""

ENTITY_FILTERS: Final = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "campaign.", "adset.", "ad.")
    for name in ("id", "updated_time", "effective_status")
)
"""Fields that an edge can be filtered by."""


def _offset_hours(account: Account, now: datetime) -> float:
    offset = now.astimezone(zone(account.time_zone)).utcoffset()
    return offset.total_seconds() / 3600 if offset else 0.0


_ACCOUNT_FIELDS: Final[Mapping[str, Callable[[Account, datetime], object]]] = {
    "id": lambda account, _: f"act_{account.account_id}",
    "account_id": lambda account, _: account.account_id,
    "name": lambda account, _: account.name,
    "currency": lambda account, _: account.currency_code,
    "timezone_name": lambda account, _: account.time_zone,
    "timezone_offset_hours_utc": _offset_hours,
    "account_status": lambda account, _: 1 if account.state is AccountState.ENABLED else 2,
    "disable_reason": lambda account, _: 0 if account.state is AccountState.ENABLED else 1,
    "min_daily_budget": lambda *_: 100,
    "is_personal": lambda *_: 0,
}
_NODE_TYPES: Final = {
    Level.CAMPAIGN: "Campaign",
    Level.AD_GROUP: "AdCampaign",
    Level.AD: "Adgroup",
}


def account_node(account: Account, fields: Sequence[str], now: datetime) -> dict[str, object]:
    """An account with the fields that are asked for, and always its id.

    Raises:
        GraphError: A field is unknown.
    """
    node: dict[str, object] = {}
    for field in fields or ("id", "account_id"):
        if field not in _ACCOUNT_FIELDS:
            raise unknown_field(field, "AdAccount")
        node[field] = _ACCOUNT_FIELDS[field](account, now)
    node["id"] = f"act_{account.account_id}"
    return node


def entity_node(
    world: World, account: Account, entity: Entity, fields: Sequence[str], now: datetime
) -> dict[str, object]:
    """An entity with the fields that are asked for, and always its id.

    Raises:
        GraphError: A field is unknown for its kind.
    """
    known = _entity_fields(world, account, entity, now)
    node: dict[str, object] = {}
    for field in fields:
        if field not in known:
            raise unknown_field(field, _NODE_TYPES[entity.level])
        node[field] = known[field]
    node["id"] = entity.entity_id
    return node


def is_listed(
    account: Account,
    entity: Entity,
    *,
    filters: Sequence[Filter],
    statuses: Sequence[str],
    now: datetime,
) -> bool:
    """Whether an edge lists an entity; deleted and archived ones only where they are asked for."""
    today = local_day(account, now)
    states = states_of(statuses) if statuses else None
    for condition in filters:
        name = condition.field.rpartition(".")[2]
        if name == "effective_status":
            states = states_of(condition.values)
        elif name == "id" and entity.entity_id not in condition.values:
            return False
        elif name == "updated_time":
            updated = _moment(account, entity.changed_on(today)).timestamp()
            bound = float(condition.values[0])
            if not (updated > bound if condition.operator == "GREATER_THAN" else updated < bound):
                return False
    shown = states or frozenset({EntityState.ACTIVE, EntityState.PAUSED})
    return at(entity.state, today) in shown


def _entity_fields(
    world: World, account: Account, entity: Entity, now: datetime
) -> dict[str, object]:
    today = local_day(account, now)
    state = at(entity.state, today).value
    parent = at(entity.parent, today)
    fields: dict[str, object] = {
        "id": entity.entity_id,
        "account_id": account.account_id,
        "name": at(entity.name, today),
        "status": state,
        "configured_status": state,
        "effective_status": state,
        "created_time": _graph_time(account, entity.created_on),
        "updated_time": _graph_time(account, entity.changed_on(today)),
    }
    match entity.level:
        case Level.CAMPAIGN:
            fields |= {
                "objective": OBJECTIVE,
                "buying_type": "AUCTION",
                "start_time": _graph_time(account, entity.active_from),
            }
        case Level.AD_GROUP:
            fields |= {
                "campaign_id": parent,
                "optimization_goal": OPTIMIZATION_GOAL,
                "attribution_spec": [
                    {"event_type": "CLICK_THROUGH", "window_days": 7},
                    {"event_type": "VIEW_THROUGH", "window_days": 1},
                ],
            }
        case _:
            campaign = next(
                (
                    at(other.parent, today)
                    for other in world.entities[account.key]
                    if other.entity_id == parent
                ),
                None,
            )
            fields |= {"adset_id": parent, "campaign_id": campaign}
    return fields


def _moment(account: Account, day: date) -> datetime:
    return day_bounds(account, day)[0]


def _graph_time(account: Account, day: date) -> str:
    local = _moment(account, day).astimezone(zone(account.time_zone))
    return local.strftime("%Y-%m-%dT%H:%M:%S%z")
