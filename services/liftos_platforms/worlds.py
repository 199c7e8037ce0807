"""Builds worlds: a few accounts of each platform with everything in them that trips a reader."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final

from liftos_platforms.truth import (
    Account,
    AccountState,
    Channel,
    Entity,
    EntityState,
    Grant,
    Level,
    Platform,
    World,
    draw_of,
)


@dataclass(frozen=True, slots=True)
class WorldPlan:
    """How large a world is.

    Attributes:
        seed: Same seed, same world.
        first_day: First day of any cohort.
        last_day: Last planned day of any cohort.
        campaigns: Campaigns of each advertising account.
        ad_groups: Ad groups (ad sets) of each campaign.
        ads: Ads of each ad group.
        sends: E-mail and text campaigns of each Klaviyo account, spread over the days.
        flows: Flows of each Klaviyo account, of two messages each.
    """

    seed: int = 7
    first_day: date = date(2026, 6, 1)
    last_day: date = date(2026, 12, 31)
    campaigns: int = 4
    ad_groups: int = 2
    ads: int = 3
    sends: int = 24
    flows: int = 3

    @property
    def middle(self) -> date:
        """The day on which entities are renamed, archived, deleted and moved."""
        return self.first_day + (self.last_day - self.first_day) * 2 // 3


META_ACCOUNTS: Final = (
    Account(Platform.META, "1001", "Nordlicht DE", "Europe/Berlin", "EUR"),
    Account(Platform.META, "1002", "Nordlicht US", "America/Los_Angeles", "USD"),
    Account(Platform.META, "1003", "Nordlicht JP", "Asia/Tokyo", "JPY"),
    Account(Platform.META, "1004", "Nordlicht TO", "Pacific/Tongatapu", "USD"),
    Account(Platform.META, "1005", "Nordlicht Empty", "Europe/Berlin", "EUR"),
    Account(
        Platform.META, "1006", "Nordlicht Closed", "Europe/Berlin", "EUR", AccountState.DISABLED
    ),
)
GOOGLE_ADS_ACCOUNTS: Final = (
    Account(Platform.GOOGLE_ADS, "9000000001", "Agency", "Europe/Paris", "EUR", is_manager=True),
    Account(
        Platform.GOOGLE_ADS,
        "9000000002",
        "Agency North",
        "Europe/Paris",
        "EUR",
        managers=("9000000001",),
        is_manager=True,
    ),
    Account(
        Platform.GOOGLE_ADS,
        "1112223331",
        "Nordlicht FR",
        "Europe/Paris",
        "EUR",
        managers=("9000000001", "9000000002"),
    ),
    Account(
        Platform.GOOGLE_ADS,
        "1112223332",
        "Nordlicht US",
        "America/New_York",
        "USD",
        managers=("9000000001",),
    ),
    Account(
        Platform.GOOGLE_ADS,
        "1112223333",
        "Nordlicht JP",
        "Asia/Tokyo",
        "JPY",
        managers=("9000000002",),
    ),
    Account(
        Platform.GOOGLE_ADS,
        "1112223334",
        "Nordlicht TO",
        "Pacific/Tongatapu",
        "USD",
        managers=("9000000001",),
    ),
    Account(
        Platform.GOOGLE_ADS,
        "1112223335",
        "Nordlicht Empty",
        "Europe/Paris",
        "EUR",
        managers=("9000000001",),
    ),
    Account(
        Platform.GOOGLE_ADS,
        "1112223336",
        "Nordlicht Closed",
        "Europe/Paris",
        "EUR",
        AccountState.DISABLED,
        managers=("9000000001",),
    ),
)
KLAVIYO_ACCOUNTS: Final = (
    Account(Platform.KLAVIYO, "KLvEU1", "Nordlicht Shop", "Europe/Paris", "EUR"),
    Account(Platform.KLAVIYO, "KLvUS2", "Nordlicht Store", "America/New_York", "USD"),
    Account(Platform.KLAVIYO, "KLvNZ3", "Nordlicht Empty", "Pacific/Auckland", "NZD"),
)
EMPTY_ACCOUNT_IDS: Final = frozenset({"1005", "1112223335", "KLvNZ3"})
"""Accounts without a single campaign or flow."""

META_SCOPES: Final = frozenset({"ads_read", "ads_management", "business_management"})
GOOGLE_ADS_SCOPES: Final = frozenset({"https://www.googleapis.com/auth/adwords"})
KLAVIYO_SCOPES: Final = frozenset(
    {"accounts:read", "campaigns:read", "flows:read", "metrics:read", "events:read"}
)

GOOGLE_ADS_CHANNELS: Final = (
    Channel.SEARCH,
    Channel.PERFORMANCE_MAX,
    Channel.VIDEO,
    Channel.DISPLAY,
)
"""The channels of a Google account's campaigns, over and over."""


def build_world(plan: WorldPlan | None = None) -> World:
    """The world of a plan.

    It has one grant of everything on Meta and on Google, and one key for each Klaviyo account.
    """
    plan = plan or WorldPlan()
    accounts = (*META_ACCOUNTS, *GOOGLE_ADS_ACCOUNTS, *KLAVIYO_ACCOUNTS)
    return World(
        seed=plan.seed,
        first_day=plan.first_day,
        last_day=plan.last_day,
        accounts=MappingProxyType({account.key: account for account in accounts}),
        entities=MappingProxyType(
            {account.key: entities_of_plan(plan, account) for account in accounts}
        ),
        grants=tuple(_grants(plan)),
    )


def entities_of_plan(plan: WorldPlan, account: Account) -> tuple[Entity, ...]:
    """The entities that an account has in a plan; parents before children."""
    if account.account_id in EMPTY_ACCOUNT_IDS or account.is_manager:
        return ()
    if account.platform is Platform.KLAVIYO:
        return (*_sends(plan, account), *_flows(plan, account))
    return tuple(_with_lives(plan, list(_advertising(plan, account))))


def token_of(plan_seed: int, platform: Platform, account_id: str = "") -> str:
    """The token of a world's grant; for Klaviyo of one account's key."""
    body = f"{draw_of(plan_seed, platform.value, account_id, 'token'):016x}" * 2
    match platform:
        case Platform.META:
            return f"EAAB{body}"
        case Platform.GOOGLE_ADS:
            return f"1//0{body}"
        case Platform.KLAVIYO:
            return f"pk_{body}"


def _grants(plan: WorldPlan) -> Iterator[Grant]:
    yield Grant(
        Platform.META,
        token_of(plan.seed, Platform.META),
        tuple(account.account_id for account in META_ACCOUNTS),
        META_SCOPES,
    )
    yield Grant(
        Platform.GOOGLE_ADS,
        token_of(plan.seed, Platform.GOOGLE_ADS),
        ("9000000001", "9000000002"),
        GOOGLE_ADS_SCOPES,
    )
    for account in KLAVIYO_ACCOUNTS:
        yield Grant(
            Platform.KLAVIYO,
            token_of(plan.seed, Platform.KLAVIYO, account.account_id),
            (account.account_id,),
            KLAVIYO_SCOPES,
        )


def _entity(
    plan: WorldPlan,
    account: Account,
    level: Level,
    path: tuple[int, ...],
    *,
    name: str,
    channel: Channel,
    parent: str | None = None,
    is_leaf: bool = False,
) -> Entity:
    draw = draw_of(plan.seed, account.platform.value, account.account_id, level.value, *path)
    return Entity(
        platform=account.platform,
        account_id=account.account_id,
        level=level,
        entity_id=_entity_id(account, level, path, draw),
        channel=channel,
        name=((plan.first_day, name),),
        state=((plan.first_day, EntityState.ACTIVE),),
        parent=((plan.first_day, parent),),
        created_on=plan.first_day,
        active_from=plan.first_day,
        active_until=plan.last_day,
        is_leaf=is_leaf,
        draw=draw,
    )


_DIGIT_OF: Final = {Level.CAMPAIGN: 2, Level.AD_GROUP: 3, Level.AD: 4}
_LETTERS: Final = "ABCDEFGHJKMNPQRSTUVWXYZ23456789a"


def _entity_id(account: Account, level: Level, path: tuple[int, ...], draw: int) -> str:
    if account.platform is not Platform.KLAVIYO:
        places = "".join(f"{place:03d}" for place in path)
        return f"{_DIGIT_OF[level]}{account.account_id[-4:]}{places}"
    if level is Level.CAMPAIGN:
        return f"01K{draw:020d}{path[-1]:03d}"
    return "".join(_LETTERS[draw >> 5 * place & 31] for place in range(6))


def _advertising(plan: WorldPlan, account: Account) -> Iterator[Entity]:
    is_google = account.platform is Platform.GOOGLE_ADS
    for c in range(plan.campaigns):
        channel = GOOGLE_ADS_CHANNELS[c % len(GOOGLE_ADS_CHANNELS)] if is_google else Channel.SOCIAL
        has_ads = channel is not Channel.PERFORMANCE_MAX
        campaign = _entity(
            plan,
            account,
            Level.CAMPAIGN,
            (c,),
            name=f"{account.name} {channel.value.title()} {c}",
            channel=channel,
            is_leaf=not has_ads,
        )
        yield campaign
        for g in range(plan.ad_groups if has_ads else 0):
            group = _entity(
                plan,
                account,
                Level.AD_GROUP,
                (c, g),
                name=f"Audience {c}-{g}",
                channel=channel,
                parent=campaign.entity_id,
            )
            yield group
            for a in range(plan.ads):
                yield _entity(
                    plan,
                    account,
                    Level.AD,
                    (c, g, a),
                    name=f"Motif {c}-{g}-{a} „süß“",
                    channel=channel,
                    parent=group.entity_id,
                    is_leaf=True,
                )


def _with_lives(plan: WorldPlan, entities: list[Entity]) -> list[Entity]:
    """Rename, archive, delete, move and create late, on the plan's middle day."""
    middle = plan.middle
    places = {
        level: [place for place, entity in enumerate(entities) if entity.level is level]
        for level in (Level.CAMPAIGN, Level.AD_GROUP, Level.AD)
    }
    ads, groups = places[Level.AD], places[Level.AD_GROUP]

    def change(place: int, **changes: object) -> None:
        entities[place] = replace(entities[place], **changes)  # type: ignore[arg-type]

    if places[Level.CAMPAIGN]:
        first = places[Level.CAMPAIGN][0]
        name = entities[first].name
        change(first, name=(*name, (middle, f"{name[0][1]} (renamed)")))
    if len(ads) < 6:
        return entities
    change(
        ads[1], state=(*entities[ads[1]].state, (middle, EntityState.ARCHIVED)), active_until=middle
    )
    change(
        ads[2], state=(*entities[ads[2]].state, (middle, EntityState.DELETED)), active_until=middle
    )
    change(ads[3], created_on=middle, active_from=middle)
    change(
        ads[4], state=(*entities[ads[4]].state, (middle, EntityState.PAUSED)), active_until=middle
    )
    moved = ads[-1]
    change(moved, parent=(*entities[moved].parent, (middle, entities[groups[0]].entity_id)))
    return entities


def _sends(plan: WorldPlan, account: Account) -> Iterator[Entity]:
    """Campaigns that are sent once, evenly over the days; every fourth is a text message."""
    span = (plan.last_day - plan.first_day).days
    for s in range(plan.sends):
        day = plan.first_day + timedelta(days=span * s // max(1, plan.sends))
        channel = Channel.SMS if s % 4 == 3 else Channel.EMAIL
        campaign = replace(
            _entity(plan, account, Level.CAMPAIGN, (s,), name=f"Letter {s} „süß“", channel=channel),
            created_on=day,
        )
        if s == 1:
            campaign = replace(
                campaign, state=(*campaign.state, (plan.middle, EntityState.ARCHIVED))
            )
        yield campaign
        message = _entity(
            plan,
            account,
            Level.MESSAGE,
            (0, s),
            name=f"Letter {s} A",
            channel=channel,
            parent=campaign.entity_id,
            is_leaf=True,
        )
        yield replace(message, created_on=day, active_from=day, active_until=day)


def _flows(plan: WorldPlan, account: Account) -> Iterator[Entity]:
    """Flows that send every day; the last one from the middle on."""
    for f in range(plan.flows):
        channel = Channel.SMS if f % 3 == 2 else Channel.EMAIL
        begin = plan.middle if f and f == plan.flows - 1 else plan.first_day
        flow = _entity(plan, account, Level.FLOW, (f,), name=f"Flow {f}", channel=channel)
        if f == 0:
            flow = replace(flow, name=(*flow.name, (plan.middle, "Flow 0 (renamed)")))
        yield replace(flow, created_on=begin, active_from=begin)
        for m in range(2):
            message = _entity(
                plan,
                account,
                Level.MESSAGE,
                (1, f, m),
                name=f"Flow {f} step {m}",
                channel=channel,
                parent=flow.entity_id,
                is_leaf=True,
            )
            yield replace(message, created_on=begin, active_from=begin)
