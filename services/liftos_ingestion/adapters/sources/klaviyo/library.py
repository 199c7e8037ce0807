"""The campaigns, flows and messages of an account: names, states, owners and days of sending."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from liftos_ingestion.adapters.sources.klaviyo.client import KlaviyoClient
from liftos_ingestion.adapters.sources.klaviyo.documents import (
    included,
    listed,
    member,
    one,
    related_ids,
    text,
)
from liftos_ingestion.domain.failures import ReadingError
from liftos_ingestion.domain.platform_limits import KlaviyoEndpoint
from liftos_ingestion.source_ports import JsonObject, PlatformObject

_CAMPAIGN_FIELDS: Final = {
    "fields[campaign]": "definition.name,definition.archived",
    "fields[campaign-message]": "definition.name,definition.status,definition.send_options",
}
_STATES: Final = ("sending", "scheduled", "sent", "draft")
"""A campaign is in the first of these that a message of it is in."""

_LOOK_UPS: Final = 20
"""Messages that are asked for one by one, at most."""

_AT_ONCE: Final = frozenset({"static", "immediate", ""})
"""Strategies that send to everybody at the one time of sending."""


@dataclass(frozen=True, slots=True)
class CampaignMessage:
    """A message of a campaign.

    Attributes:
        sent_on: The day, in the account's zone, on which all of it is sent; None where it is sent
            over several days, or Klaviyo does not say.
    """

    message_id: str
    name: str
    state: str
    sent_on: date | None


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign with its messages."""

    campaign_id: str
    name: str
    archived: bool
    messages: tuple[CampaignMessage, ...]

    @property
    def state(self) -> str:
        """`archived`, or how far it is sent; empty without a message."""
        if self.archived:
            return "archived"
        states = {message.state for message in self.messages}
        return next((state for state in (*_STATES, *sorted(states)) if state in states), "")


@dataclass(frozen=True, slots=True)
class FlowMessage:
    """A message of a flow."""

    message_id: str
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow with its messages."""

    flow_id: str
    name: str
    state: str
    messages: tuple[FlowMessage, ...]


@dataclass(slots=True)
class Library:
    """What messages belong to, by their ids."""

    campaigns: dict[str, tuple[Campaign, CampaignMessage]] = field(default_factory=dict)
    flows: dict[str, tuple[Flow, FlowMessage]] = field(default_factory=dict)

    def add_campaigns(self, campaigns: Iterable[Campaign]) -> None:
        """Add campaigns."""
        for campaign in campaigns:
            for message in campaign.messages:
                self.campaigns[message.message_id] = (campaign, message)

    def add_flows(self, flows: Iterable[Flow]) -> None:
        """Add flows."""
        for flow in flows:
            for message in flow.messages:
                self.flows[message.message_id] = (flow, message)


async def library_of_campaigns(
    client: KlaviyoClient, message_ids: Iterable[str], zone: ZoneInfo
) -> Library:
    """Return all campaigns, and of some messages that the list lacks those that are there yet.

    A list that changes while it is read can hide a campaign.

    Raises:
        NotReadyError, ReadingError: As calls do.
    """
    library = Library()
    library.add_campaigns([it async for it in campaigns_of(client, zone)])
    hidden = [id_ for id_ in dict.fromkeys(message_ids) if id_ and id_ not in library.campaigns]
    for message_id in hidden[:_LOOK_UPS]:
        campaign = await campaign_of_message(client, message_id, zone)
        library.add_campaigns([] if campaign is None else [campaign])
    return library


async def campaigns_of(client: KlaviyoClient, zone: ZoneInfo) -> AsyncIterator[Campaign]:
    """Yield the campaigns of an account, archived ones too; Klaviyo lists no deleted ones.

    Raises:
        NotReadyError, ReadingError: As calls do.
    """
    params = {**_CAMPAIGN_FIELDS, "include": "campaign-messages", "page[size]": "100"}
    async for answer in client.pages(KlaviyoEndpoint.CAMPAIGNS, params):
        beside = {
            text(message, "id"): message for message in included(answer.data, "campaign-message")
        }
        for resource in listed(answer.data):
            ids = related_ids(resource, "campaign-messages")
            yield _campaign(resource, [beside[id_] for id_ in ids if id_ in beside], zone)


async def campaign_of_message(
    client: KlaviyoClient, message_id: str, zone: ZoneInfo
) -> Campaign | None:
    """Return the campaign of a message, with this one alone; None where it is deleted.

    Raises:
        NotReadyError, ReadingError: As calls do.
    """
    try:
        answer = await client.get(
            KlaviyoEndpoint.CAMPAIGN_MESSAGES,
            {**_CAMPAIGN_FIELDS, "include": "campaign"},
            path=f"/api/campaign-messages/{quote(message_id, safe='')}",
        )
    except ReadingError as error:
        if error.failure.platform_code.startswith(str(int(HTTPStatus.NOT_FOUND))):
            return None
        raise
    message = one(answer.data)
    for campaign in included(answer.data, "campaign"):
        return _campaign(campaign, [message], zone)
    return None


def _campaign(resource: JsonObject, messages: Sequence[JsonObject], zone: ZoneInfo) -> Campaign:
    return Campaign(
        text(resource, "id"),
        text(resource, "attributes", "definition", "name"),
        member(resource, "attributes", "definition", "archived") is True,
        tuple(
            CampaignMessage(
                text(message, "id"),
                text(message, "attributes", "definition", "name"),
                text(message, "attributes", "definition", "status"),
                _sent_on(member(message, "attributes", "definition", "send_options"), zone),
            )
            for message in messages
        ),
    )


def _sent_on(options: object, zone: ZoneInfo) -> date | None:
    throttling = text(options, "throttling_type")
    if (
        member(options, "send_times")
        or text(options, "send_strategy") not in _AT_ONCE
        or throttling not in {"", "none"}
    ):
        return None
    try:
        moment = datetime.fromisoformat(text(options, "send_time"))
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.astimezone(zone).date()


async def flows_of(client: KlaviyoClient) -> AsyncIterator[Flow]:
    """Yield the flows of an account, archived ones too; Klaviyo lists no deleted ones.

    Raises:
        NotReadyError, ReadingError: As calls do.
    """
    params = {
        "fields[flow]": "name,status,archived",
        "fields[flow-action]": "definition",
        "include": "flow-actions",
        "page[size]": "50",
    }
    async for answer in client.pages(KlaviyoEndpoint.FLOWS, params):
        beside = {text(action, "id"): action for action in included(answer.data, "flow-action")}
        for resource in listed(answer.data):
            actions = (beside.get(id_) for id_ in related_ids(resource, "flow-actions"))
            archived = member(resource, "attributes", "archived") is True
            yield Flow(
                text(resource, "id"),
                text(resource, "attributes", "name"),
                "archived" if archived else text(resource, "attributes", "status"),
                tuple(_messages_of(actions)),
            )


def _messages_of(actions: Iterable[JsonObject | None]) -> Iterable[FlowMessage]:
    for action in actions:
        data = member(action, "attributes", "definition", "data")
        message_id = text(data, "message", "id")
        # Delays and branches are actions too, and send nothing.
        if message_id:
            yield FlowMessage(message_id, text(data, "message", "name"), text(data, "status"))


def objects_of(owners: Campaign | Flow) -> Iterable[PlatformObject]:
    """Return a campaign or a flow and its messages, as the platform's objects."""
    level, owner_id = (
        ("CAMPAIGN", owners.campaign_id)
        if isinstance(owners, Campaign)
        else ("FLOW", owners.flow_id)
    )
    yield PlatformObject(level, owner_id, owners.name, owners.state)
    for message in owners.messages:
        yield PlatformObject("MESSAGE", message.message_id, message.name, message.state, owner_id)
