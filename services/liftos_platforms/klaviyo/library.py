"""What an account holds, as JSON:API resources: campaigns, flows, messages, metrics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from liftos_platforms.klaviyo.documents import (
    JsonObject,
    identifier,
    relationship,
    resource,
    timestamp,
)
from liftos_platforms.klaviyo.metrics import (
    DEFINITIONS,
    PLACED_ORDER,
    MetricDefinition,
    metric_id,
)
from liftos_platforms.klaviyo.timeframes import midnight
from liftos_platforms.truth import (
    Account,
    Channel,
    Entity,
    EntityState,
    Level,
    World,
    at,
    draw_of,
    entities_of,
    local_day,
    zone,
)

FLOW_STATUSES: Final = {
    EntityState.ACTIVE: "live",
    EntityState.PAUSED: "draft",
    EntityState.ARCHIVED: "draft",
    EntityState.DELETED: "draft",
}
MAPPED: Final[tuple[str, ...]] = (
    "added_to_cart", "cancelled_sales", "ordered_product", "refunded_sales", "revenue",
    "started_checkout", "viewed_product",
)  # fmt: skip
"""Every mapping of a metric to a meaning; only revenue's is set."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a list.

    Attributes:
        resource: It, as JSON:API.
        facts: Its values by the names that filters and sorts use.
        included: What stands beside it, by relationship.
    """

    resource: JsonObject
    facts: Mapping[str, object]
    included: Mapping[str, tuple[JsonObject, ...]]


@dataclass(frozen=True, slots=True)
class Library:
    """What one account holds at one moment.

    Attributes:
        base: Scheme and host of links.
    """

    world: World
    account: Account
    now: datetime
    base: str

    # --- the account and its metrics -------------------------------------------------------------

    def account_item(self) -> Item:
        """Return the account itself."""
        account = self.account
        attributes: JsonObject = {
            "test_account": False,
            "contact_information": {
                "default_sender_name": account.name,
                "default_sender_email": "hello@example.com",
                "website_url": "https://shop.example.com",
                "organization_name": account.name,
                "street_address": {
                    "address1": "1 Long Quay",
                    "address2": "",
                    "city": "Lyon",
                    "region": "",
                    "country": "FR",
                    "zip": "69001",
                },
            },
            "industry": "Retail",
            "timezone": account.time_zone,
            "preferred_currency": account.currency_code,
            "public_api_key": account.account_id,
            "locale": "en-US",
        }
        url = f"{self.base}/api/accounts/{account.account_id}"
        made = resource(url, "account", account.account_id, attributes)
        return Item(made, {"id": account.account_id}, {})

    def metric_items(self) -> tuple[Item, ...]:
        """Return all metrics."""
        return tuple(self._metric(definition) for definition in DEFINITIONS)

    def _metric(self, definition: MetricDefinition) -> Item:
        own_id = metric_id(self.account, definition)
        url = f"{self.base}/api/metrics/{own_id}"
        created = timestamp(midnight(self.world.first_day, UTC_ZONE))
        integration = definition.integration
        attributes: JsonObject = {
            "name": definition.name,
            "created": created,
            "updated": created,
            "integration": {
                "object": "integration",
                "id": integration.integration_id,
                "key": integration.name.lower(),
                "name": integration.name,
                "category": integration.category,
            },
        }
        made = resource(
            url,
            "metric",
            own_id,
            attributes,
            {"flow-triggers": relationship(url, "flow-triggers", [])},
        )
        facts = {
            "id": own_id,
            "integration.name": integration.name,
            "integration.category": integration.category,
        }
        return Item(made, facts, {"flow-triggers": ()})

    def mapped_metric_items(self) -> tuple[Item, ...]:
        """Return which metric stands for what."""
        order = next(one for one in DEFINITIONS if one.name == PLACED_ORDER)
        return tuple(self._mapped(name, order if name == "revenue" else None) for name in MAPPED)

    def _mapped(self, name: str, definition: MetricDefinition | None) -> Item:
        url = f"{self.base}/api/mapped-metrics/{name}"
        links = relationship(url, "metric", None)["links"]
        metric = None if definition is None else self._metric(definition)
        data = None if metric is None else identifier("metric", str(metric.resource["id"]))
        made = resource(
            url,
            "mapped-metric",
            name,
            {"updated": timestamp(midnight(self.world.first_day, UTC_ZONE))},
            {
                "metric": {"data": data, "links": links},
                "custom-metric": {
                    "data": None,
                    "links": relationship(url, "custom-metric", None)["links"],
                },
            },
        )
        beside = () if metric is None else (metric.resource,)
        return Item(made, {"id": name}, {"metric": beside, "custom-metric": ()})

    # --- campaigns -------------------------------------------------------------------------------

    def campaign_items(self) -> tuple[Item, ...]:
        """Return all campaigns but the deleted, archived ones too."""
        return tuple(self._campaign(entity) for entity in self._alive(Level.CAMPAIGN))

    def _campaign(self, entity: Entity) -> Item:
        url = f"{self.base}/api/campaigns/{entity.entity_id}"
        name = self.name(entity)
        archived = self._state(entity) is EntityState.ARCHIVED
        created, updated = self._created(entity), self._updated(entity)
        messages = self.children(entity)
        attributes: JsonObject = {
            "created_at": timestamp(created),
            "updated_at": timestamp(updated),
            "definition": {
                "name": name,
                "builder": "wizard",
                "archived": archived,
                "color": None,
                "description": None,
                "send_settings": {
                    "send_timezone": self.account.time_zone,
                    "send_strategy": "immediate",
                    "send_passed_rltz_immediately": False,
                    "exit_condition_enabled": False,
                    "exit_condition_conversion_metric_id": None,
                },
            },
        }
        made = resource(
            url,
            "campaign",
            entity.entity_id,
            attributes,
            {
                "campaign-audiences": relationship(url, "campaign-audiences", []),
                "campaign-messages": relationship(
                    url,
                    "campaign-messages",
                    [identifier("campaign-message", message.entity_id) for message in messages],
                ),
                "tags": relationship(url, "tags", []),
            },
        )
        facts = {
            "id": entity.entity_id,
            "name": name,
            "archived": archived,
            "builder": "wizard",
            "created_at": created,
            "updated_at": updated,
        }
        return Item(
            made,
            facts,
            {
                "campaign-messages": tuple(
                    self._campaign_message(message).resource for message in messages
                ),
                "campaign-audiences": (),
                "tags": (),
            },
        )

    def campaign_message_items(self) -> tuple[Item, ...]:
        """Return the messages of all campaigns that are not deleted."""
        campaigns = self._alive(Level.CAMPAIGN)
        return tuple(
            self._with_campaign(self._campaign_message(message), campaign)
            for campaign in campaigns
            for message in self.children(campaign)
        )

    def _with_campaign(self, item: Item, campaign: Entity) -> Item:
        return Item(item.resource, item.facts, {"campaign": (self._campaign(campaign).resource,)})

    def _campaign_message(self, entity: Entity) -> Item:
        url = f"{self.base}/api/campaign-messages/{entity.entity_id}"
        campaign_id = str(at(entity.parent, local_day(self.account, self.now)))
        created, updated = self._created(entity), self._updated(entity)
        name, status = self.name(entity), self._send_status(entity)
        attributes: JsonObject = {
            "created": timestamp(created),
            "updated": timestamp(updated),
            "definition": {
                "name": name,
                "status": status,
                "tracking_options": {
                    "is_add_utm": True,
                    "is_tracking_clicks": True,
                    "is_tracking_opens": entity.channel is Channel.EMAIL,
                },
                "send_options": {
                    "send_time": timestamp(send_time(self.account, entity)),
                    "send_times": None,
                    "send_strategy": "static",
                    "recipient_percentage": 100,
                    "throttling_type": "none",
                    "throttle_unit": None,
                    "is_ignoring_unsubscribes": False,
                },
                "ab_test": None,
            },
        }
        made = resource(
            url,
            "campaign-message",
            entity.entity_id,
            attributes,
            {
                "campaign": relationship(url, "campaign", identifier("campaign", campaign_id)),
                "campaign-audience": relationship(url, "campaign-audience", None),
                "campaign-variations": relationship(url, "campaign-variations", None),
            },
        )
        facts = {
            "id": entity.entity_id,
            "campaign_id": campaign_id,
            "name": name,
            "status": status,
            "created": created,
            "updated": updated,
        }
        return Item(made, facts, {})

    # --- flows -----------------------------------------------------------------------------------

    def flow_items(self) -> tuple[Item, ...]:
        """Return all flows but the deleted, archived ones too."""
        return tuple(self._flow(entity) for entity in self._alive(Level.FLOW))

    def _flow(self, entity: Entity) -> Item:
        url = f"{self.base}/api/flows/{entity.entity_id}"
        state = self._state(entity)
        created, updated = self._created(entity), self._updated(entity)
        attributes: JsonObject = {
            "name": self.name(entity),
            "status": FLOW_STATUSES[state],
            "archived": state is EntityState.ARCHIVED,
            "created": timestamp(created),
            "updated": timestamp(updated),
            "trigger_type": "Metric",
        }
        actions = self.flow_action_items(entity)
        made = resource(
            url,
            "flow",
            entity.entity_id,
            attributes,
            {
                "flow-actions": relationship(
                    url,
                    "flow-actions",
                    [identifier("flow-action", str(action.resource["id"])) for action in actions],
                ),
                "tags": relationship(url, "tags", []),
            },
        )
        facts = {**attributes, "id": entity.entity_id, "created": created, "updated": updated}
        return Item(
            made,
            facts,
            {"flow-actions": tuple(action.resource for action in actions), "tags": ()},
        )

    def all_flow_action_items(self) -> tuple[Item, ...]:
        """Return the actions of all flows."""
        return tuple(
            action for flow in self._alive(Level.FLOW) for action in self.flow_action_items(flow)
        )

    def flow_action_items(self, flow: Entity) -> tuple[Item, ...]:
        """Return a flow's actions in order; each sends one message."""
        messages = self.children(flow)
        following = [action_id(message) for message in messages[1:]]
        return tuple(
            self._flow_action(flow, message, next_id)
            for message, next_id in zip(messages, [*following, None], strict=True)
        )

    def _flow_action(self, flow: Entity, message: Entity, next_id: str | None) -> Item:
        own_id = action_id(message)
        url = f"{self.base}/api/flow-actions/{own_id}"
        created, updated = self._created(message), self._updated(message)
        is_text = message.channel is Channel.SMS
        kind = "send-sms" if is_text else "send-email"
        status = FLOW_STATUSES[self._state(flow)]
        attributes: JsonObject = {
            "created": timestamp(created),
            "updated": timestamp(updated),
            "definition": {
                "id": own_id,
                "type": kind,
                "links": {"next": next_id},
                "data": {
                    "status": status,
                    "message": {"id": message.entity_id, "name": self.name(message)},
                },
            },
        }
        made = resource(
            url,
            "flow-action",
            own_id,
            attributes,
            {
                "flow": relationship(url, "flow", identifier("flow", flow.entity_id)),
                "flow-messages": relationship(
                    url, "flow-messages", [identifier("flow-message", message.entity_id)]
                ),
            },
        )
        facts = {
            "id": own_id,
            "flow_id": flow.entity_id,
            "action_type": "SEND_SMS" if is_text else "SEND_EMAIL",
            "status": status,
            "created": created,
            "updated": updated,
        }
        return Item(made, facts, {"flow-messages": (self._flow_message(message).resource,)})

    def flow_message_items(self) -> tuple[Item, ...]:
        """Return the messages of all flows."""
        return tuple(
            self._flow_message(message)
            for flow in self._alive(Level.FLOW)
            for message in self.children(flow)
        )

    def _flow_message(self, entity: Entity) -> Item:
        url = f"{self.base}/api/flow-messages/{entity.entity_id}"
        created, updated = self._created(entity), self._updated(entity)
        name = self.name(entity)
        attributes: JsonObject = {
            "channel": entity.channel.value,
            "created": timestamp(created),
            "updated": timestamp(updated),
            "definition": {"id": entity.entity_id, "name": name},
        }
        own_action = identifier("flow-action", action_id(entity))
        made = resource(
            url,
            "flow-message",
            entity.entity_id,
            attributes,
            {"flow-action": relationship(url, "flow-action", own_action)},
        )
        facts = {
            "id": entity.entity_id,
            "name": name,
            "created": created,
            "updated": updated,
            "action_id": own_action["id"],
        }
        return Item(made, facts, {})

    # --- the truth, read -------------------------------------------------------------------------

    def flow(self, flow_id: str) -> Entity | None:
        """Return a flow that is not deleted, if there is one of this id."""
        return next((one for one in self._alive(Level.FLOW) if one.entity_id == flow_id), None)

    def name(self, entity: Entity) -> str:
        """Return an entity's name today."""
        return at(entity.name, local_day(self.account, self.now))

    def children(self, parent: Entity) -> list[Entity]:
        """Return the messages that belong to a campaign or a flow today."""
        today = local_day(self.account, self.now)
        return [
            entity
            for entity in entities_of(self.world, self.account, now=self.now, level=Level.MESSAGE)
            if at(entity.parent, today) == parent.entity_id
        ]

    def _alive(self, level: Level) -> Iterable[Entity]:
        return [
            entity
            for entity in entities_of(self.world, self.account, now=self.now, level=level)
            if self._state(entity) is not EntityState.DELETED
        ]

    def _state(self, entity: Entity) -> EntityState:
        return at(entity.state, local_day(self.account, self.now))

    def _created(self, entity: Entity) -> datetime:
        return self._moment(entity.created_on)

    def _updated(self, entity: Entity) -> datetime:
        return self._moment(entity.changed_on(local_day(self.account, self.now)))

    def _moment(self, day: date) -> datetime:
        return midnight(day, zone(self.account.time_zone)).astimezone(UTC)

    def _send_status(self, entity: Entity) -> str:
        today = local_day(self.account, self.now)
        if today < entity.active_from:
            return "scheduled"
        return "sending" if today == entity.active_from else "sent"


UTC_ZONE: Final = zone("UTC")

_FIRST_HOUR: Final = 6
_HOURS: Final = 14


def send_time(account: Account, message: Entity) -> datetime:
    """Return when a campaign message is sent: every fourth exactly as its day begins."""
    begin = midnight(message.active_from, zone(account.time_zone)).astimezone(UTC)
    if message.draw % 4 == 0:
        return begin
    return begin + timedelta(hours=_FIRST_HOUR + message.draw // 4 % _HOURS)


def action_id(message: Entity) -> str:
    """Return the id of the flow action that sends a message."""
    return str(draw_of(message.entity_id, "action") % 90_000_000 + 10_000_000)
