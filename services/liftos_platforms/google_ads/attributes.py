"""The fields of what is in an account, as they are today."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from liftos_platforms import truth
from liftos_platforms.google_ads.predicates import Value
from liftos_platforms.truth import (
    Account,
    AccountState,
    Channel,
    Entity,
    EntityState,
    Level,
    Platform,
    World,
)

_STATUSES: Final = {
    EntityState.ACTIVE: "ENABLED",
    EntityState.PAUSED: "PAUSED",
    EntityState.ARCHIVED: "REMOVED",
    EntityState.DELETED: "REMOVED",
}
_CUSTOMER_STATUSES: Final = {
    AccountState.ENABLED: "ENABLED",
    AccountState.DISABLED: "CANCELED",
}
_AD_GROUP_TYPES: Final = {
    Channel.SEARCH: "SEARCH_STANDARD",
    Channel.DISPLAY: "DISPLAY_STANDARD",
    Channel.VIDEO: "VIDEO_RESPONSIVE",
}
_AD_TYPES: Final = {
    Channel.SEARCH: "RESPONSIVE_SEARCH_AD",
    Channel.DISPLAY: "RESPONSIVE_DISPLAY_AD",
    Channel.VIDEO: "VIDEO_RESPONSIVE_AD",
}


_CHANGES: Final = {
    Level.CAMPAIGN: ("CAMPAIGN", "campaigns"),
    Level.AD_GROUP: ("AD_GROUP", "adGroups"),
    Level.AD: ("AD_GROUP_AD", "adGroupAds"),
}


def customers_below(world: World, account: Account) -> Iterator[tuple[Account, int]]:
    """Yield an account and all below it with their distance, each once, nearest first."""
    accounts = truth.accounts_of(world, Platform.GOOGLE_ADS)
    seen = {account.account_id}
    generation = [account]
    distance = 0
    while generation:
        yield from ((member, distance) for member in generation)
        above = {member.account_id for member in generation}
        generation = [
            child
            for child in accounts
            if child.account_id not in seen and above.intersection(child.managers)
        ]
        seen.update(child.account_id for child in generation)
        distance += 1


def attributes_of(
    account: Account,
    *,
    today: date,
    campaign: Entity | None = None,
    ad_group: Entity | None = None,
    ad: Entity | None = None,
) -> Mapping[str, Value]:
    """Return the fields of a customer and of what is given of its tree; names are today's."""
    customer = f"customers/{account.account_id}"
    values: dict[str, Value] = {
        "customer.resource_name": customer,
        "customer.id": int(account.account_id),
        "customer.descriptive_name": account.name,
        "customer.currency_code": account.currency_code,
        "customer.time_zone": account.time_zone,
        "customer.manager": account.is_manager,
        "customer.status": _CUSTOMER_STATUSES[account.state],
        "customer.test_account": False,
    }
    if campaign is not None:
        values |= {
            "campaign.resource_name": f"{customer}/campaigns/{campaign.entity_id}",
            "campaign.id": int(campaign.entity_id),
            "campaign.name": truth.at(campaign.name, today),
            "campaign.status": _STATUSES[truth.at(campaign.state, today)],
            "campaign.advertising_channel_type": campaign.channel.value,
            "campaign.start_date_time": f"{campaign.created_on} 00:00:00",
        }
    if ad_group is not None:
        values |= {
            "ad_group.resource_name": f"{customer}/adGroups/{ad_group.entity_id}",
            "ad_group.id": int(ad_group.entity_id),
            "ad_group.name": truth.at(ad_group.name, today),
            "ad_group.status": _STATUSES[truth.at(ad_group.state, today)],
            "ad_group.type": _AD_GROUP_TYPES[ad_group.channel],
            "ad_group.campaign": values["campaign.resource_name"],
        }
    if ad is not None and ad_group is not None:
        pair = f"{ad_group.entity_id}~{ad.entity_id}"
        values |= {
            "ad_group_ad.resource_name": f"{customer}/adGroupAds/{pair}",
            "ad_group_ad.ad_group": values["ad_group.resource_name"],
            "ad_group_ad.status": _STATUSES[truth.at(ad.state, today)],
            "ad_group_ad.ad.resource_name": f"{customer}/ads/{ad.entity_id}",
            "ad_group_ad.ad.id": int(ad.entity_id),
            "ad_group_ad.ad.name": truth.at(ad.name, today),
            "ad_group_ad.ad.type": _AD_TYPES[ad.channel],
        }
    return values


def client_attributes(manager: Account, client: Account, distance: int) -> dict[str, Value]:
    """Return the fields of a customer as its manager, so many steps above it, lists it."""
    resource_name = f"customers/{manager.account_id}/customerClients/{client.account_id}"
    return {
        "customer_client.resource_name": resource_name,
        "customer_client.client_customer": f"customers/{client.account_id}",
        "customer_client.id": int(client.account_id),
        "customer_client.descriptive_name": client.name,
        "customer_client.currency_code": client.currency_code,
        "customer_client.time_zone": client.time_zone,
        "customer_client.manager": client.is_manager,
        "customer_client.status": _CUSTOMER_STATUSES[client.state],
        "customer_client.level": distance,
        "customer_client.hidden": False,
        "customer_client.test_account": False,
    }


def change_attributes(account: Account, entity: Entity, *, today: date) -> dict[str, Value]:
    """Return the fields of an entity's last change; the truth knows its day and no more."""
    day = entity.changed_on(today)
    kind, path = _CHANGES[entity.level]
    customer = f"customers/{account.account_id}"
    name = entity.entity_id
    if entity.level is Level.AD:
        name = f"{truth.at(entity.parent, today)}~{name}"
    if day == entity.created_on:
        operation = "ADDED"
    else:
        is_removed = _STATUSES[truth.at(entity.state, today)] == "REMOVED"
        operation = "REMOVED" if is_removed else "CHANGED"
    return {
        "change_status.resource_name": f"{customer}/changeStatus/{day:%Y%m%d}-{kind}-{name}",
        "change_status.last_change_date_time": f"{day} 00:00:00",
        "change_status.resource_type": kind,
        "change_status.resource_status": operation,
        f"change_status.{kind.lower()}": f"{customer}/{path}/{name}",
    }
