"""What happened in the advertising accounts, and what their platform knows of it at a moment.

Everything is a pure function of frozen values. Figures are exact integers: money and conversions
in micros, counts in ones; a metric that a row does not hold is one its platform does not report.

**Cohorts.** Only leaves have figures of their own: ads, messages, and campaigns that have no ads
(Google's Performance Max). A leaf and an account-local day are a cohort: the impressions of that
day, or the messages sent that day, and all that ever follows from them. Its final numbers are
drawn from the world's seed. What the platform knows of a cohort at `now` follows from its age:

- `SETTLING` numbers (spend, impressions, clicks) run up over the day itself, are a little off
  when it ends and exact three days later;
- `LATE` numbers (conversions; opens and clicks of messages) arrive over `LATE_DAYS`;
- one cohort of advertising in about fifty turns out to be invalid on its second day after: it
  falls to zero and its row vanishes.

**Date bases.** INTERACTION and SEND date a number by its cohort, and so restate it; CONVERSION
and EVENT date it by when it arrived. Over a long time both sum to the same, on no single day.

**Levels.** Every level is the sum of the leaves below it on that day, except what counts people
(`GRAIN_METRICS`): a person reached by two ads is one person. A parent is the parent on that day;
names and states are today's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T")
_Integers = NDArray[np.int64]
_Draws = NDArray[np.uint64]


class Platform(StrEnum):
    """The simulated platforms."""

    META = "meta"
    GOOGLE_ADS = "google_ads"
    KLAVIYO = "klaviyo"


class Level(StrEnum):
    """What a row is about. Meta's ad sets are ad groups."""

    ACCOUNT = "ACCOUNT"
    CAMPAIGN = "CAMPAIGN"
    AD_GROUP = "AD_GROUP"
    AD = "AD"
    FLOW = "FLOW"
    MESSAGE = "MESSAGE"


class DateBasis(StrEnum):
    """What a row's date stands for."""

    INTERACTION = "INTERACTION"
    CONVERSION = "CONVERSION"
    SEND = "SEND"
    EVENT = "EVENT"


class AccountState(StrEnum):
    """Whether an account can be read."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class EntityState(StrEnum):
    """The life of an entity; each platform has its own words for these."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    ARCHIVED = "ARCHIVED"
    DELETED = "DELETED"


class Channel(StrEnum):
    """Where an entity runs. Google and Klaviyo report it under the name that it has here."""

    SOCIAL = "SOCIAL"
    SEARCH = "SEARCH"
    DISPLAY = "DISPLAY"
    VIDEO = "VIDEO"
    PERFORMANCE_MAX = "PERFORMANCE_MAX"
    EMAIL = "email"
    SMS = "sms"


class Metric(StrEnum):
    """A figure of a row, named as the unified table names it where it has it."""

    SPEND_MICROS = "spend_micros"
    REVENUE_MICROS = "revenue_micros"
    IMPRESSIONS = "impressions"
    CLICKS = "clicks"
    LINK_CLICKS = "link_clicks"
    UNIQUE_CLICKS = "unique_clicks"
    REACH = "reach"
    CONVERSIONS_MICROS = "conversions_micros"
    ALL_CONVERSIONS_MICROS = "all_conversions_micros"
    ALL_REVENUE_MICROS = "all_revenue_micros"
    VIEW_THROUGH_CONVERSIONS_MICROS = "view_through_conversions_micros"
    CONVERSIONS_1D_CLICK_MICROS = "conversions_1d_click_micros"
    CONVERSIONS_7D_CLICK_MICROS = "conversions_7d_click_micros"
    CONVERSIONS_28D_CLICK_MICROS = "conversions_28d_click_micros"
    CONVERSIONS_1D_VIEW_MICROS = "conversions_1d_view_micros"
    CONVERSIONS_1D_EV_MICROS = "conversions_1d_ev_micros"
    REVENUE_1D_CLICK_MICROS = "revenue_1d_click_micros"
    REVENUE_7D_CLICK_MICROS = "revenue_7d_click_micros"
    REVENUE_28D_CLICK_MICROS = "revenue_28d_click_micros"
    REVENUE_1D_VIEW_MICROS = "revenue_1d_view_micros"
    REVENUE_1D_EV_MICROS = "revenue_1d_ev_micros"
    VIDEO_VIEWS = "video_views"
    VIDEO_25_PERCENT = "video_25_percent"
    VIDEO_50_PERCENT = "video_50_percent"
    VIDEO_75_PERCENT = "video_75_percent"
    VIDEO_THRUPLAYS = "video_thruplays"
    VIDEO_COMPLETIONS = "video_completions"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    OPENED = "opened"
    UNIQUE_OPENED = "unique_opened"
    CLICKED = "clicked"
    UNIQUE_CLICKED = "unique_clicked"
    UNSUBSCRIBED = "unsubscribed"
    SPAM_COMPLAINTS = "spam_complaints"


GRAIN_METRICS: Final = frozenset(
    {Metric.REACH, Metric.UNIQUE_CLICKS, Metric.UNIQUE_OPENED, Metric.UNIQUE_CLICKED}
)
"""Metrics that count people: true for one row, never the sum of other rows."""

LATE_DAYS: Final[Mapping[Platform, int]] = MappingProxyType(
    {Platform.META: 28, Platform.GOOGLE_ADS: 90, Platform.KLAVIYO: 14}
)
"""Over how many days after a cohort's own day its late numbers arrive."""

SETTLING_DAYS: Final = 3
"""How many days after its own day a cohort's settling numbers are exact."""

LEVELS: Final[Mapping[Platform, tuple[Level, ...]]] = MappingProxyType(
    {
        Platform.META: (Level.ACCOUNT, Level.CAMPAIGN, Level.AD_GROUP, Level.AD),
        Platform.GOOGLE_ADS: (Level.ACCOUNT, Level.CAMPAIGN, Level.AD_GROUP, Level.AD),
        Platform.KLAVIYO: (Level.ACCOUNT, Level.CAMPAIGN, Level.FLOW, Level.MESSAGE),
    }
)
"""The levels that a platform reports."""

COHORT_BASIS: Final[Mapping[Platform, DateBasis]] = MappingProxyType(
    {
        Platform.META: DateBasis.INTERACTION,
        Platform.GOOGLE_ADS: DateBasis.INTERACTION,
        Platform.KLAVIYO: DateBasis.SEND,
    }
)
"""The basis on which a platform dates a number by its cohort."""

ARRIVAL_BASIS: Final[Mapping[Platform, DateBasis]] = MappingProxyType(
    {Platform.GOOGLE_ADS: DateBasis.CONVERSION, Platform.KLAVIYO: DateBasis.EVENT}
)
"""The basis on which a platform dates a number by its arrival; Meta has none."""

_LATE: Final = frozenset(
    {metric for metric in Metric if "conversions" in metric or "revenue" in metric}
    | {
        Metric.OPENED,
        Metric.UNIQUE_OPENED,
        Metric.CLICKED,
        Metric.UNIQUE_CLICKED,
        Metric.UNSUBSCRIBED,
        Metric.SPAM_COMPLAINTS,
    }
)
_CONVERSION_DATED: Final = frozenset(
    {
        Metric.CONVERSIONS_MICROS,
        Metric.REVENUE_MICROS,
        Metric.ALL_CONVERSIONS_MICROS,
        Metric.ALL_REVENUE_MICROS,
    }
)
_MONEY: Final = frozenset(
    metric for metric in Metric if metric is Metric.SPEND_MICROS or "revenue" in metric
)

History = tuple[tuple[date, _T], ...]
"""What held from which account-local day on, oldest first; the first holds before its day too."""

AccountKey = tuple[Platform, str]


@dataclass(frozen=True, slots=True)
class Account:
    """An advertising account.

    Attributes:
        account_id: As the platform writes it: Meta and Google digits only, Klaviyo six characters.
        time_zone: IANA name; the account's days begin and end there.
        managers: Ids of the Google manager accounts it hangs below; one account may have two.
        is_manager: Whether it is itself a Google manager account, which has no figures.
    """

    platform: Platform
    account_id: str
    name: str
    time_zone: str
    currency_code: str
    state: AccountState = AccountState.ENABLED
    managers: tuple[str, ...] = ()
    is_manager: bool = False

    @property
    def key(self) -> AccountKey:
        """Its place in the world."""
        return self.platform, self.account_id


@dataclass(frozen=True, slots=True)
class Entity:
    """A campaign, ad group, ad, flow or message. All days are the account's.

    Attributes:
        parent: Id of what it belongs to; None for campaigns and flows.
        created_on: Day from which the platform lists it.
        active_from: First day of a cohort; of a campaign message the one day it is sent on.
        active_until: Last day of a cohort, inclusive.
        is_leaf: Whether it has figures of its own.
        draw: Its seed, 64 bits.
    """

    platform: Platform
    account_id: str
    level: Level
    entity_id: str
    channel: Channel
    name: History[str]
    state: History[EntityState]
    parent: History[str | None]
    created_on: date
    active_from: date
    active_until: date
    is_leaf: bool
    draw: int

    def changed_on(self, today: date) -> date:
        """The last day until today on which it was created, renamed, moved or changed its state."""
        days = (
            day
            for history in (self.name, self.state, self.parent)
            for day, _ in history
            if day <= today
        )
        return max(self.created_on, *days)


@dataclass(frozen=True, slots=True)
class Grant:
    """A credential and what it opens.

    Attributes:
        token: Meta: access token. Google: refresh token. Klaviyo: private key (`pk_`) or, for
            OAuth, refresh token.
        account_ids: The accounts it opens; for Google the accounts it opens directly.
        expires_at: From when it is dead; None for never.
        revoked: Whether it was taken back.
    """

    platform: Platform
    token: str
    account_ids: tuple[str, ...]
    scopes: frozenset[str]
    expires_at: datetime | None = None
    revoked: bool = False

    def __repr__(self) -> str:
        return f"Grant({self.platform.value}, accounts={self.account_ids}, revoked={self.revoked})"

    def is_alive(self, now: datetime) -> bool:
        """Whether it still opens anything."""
        return not self.revoked and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class World:
    """All accounts, what is in them and who may read them."""

    seed: int
    first_day: date
    last_day: date
    accounts: Mapping[AccountKey, Account]
    entities: Mapping[AccountKey, tuple[Entity, ...]]
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """What a platform knows of one entity on one day.

    Attributes:
        date: The day in the account's time zone.
        entity: What the row is about; None at account level.
        campaign_id, ad_group_id, flow_id: What it belonged to on that day; empty where nothing.
        metrics: What the platform reports; a metric that is missing is not reported (not zero).
    """

    account: Account
    level: Level
    date_basis: DateBasis
    date: date
    entity: Entity | None
    campaign_id: str
    ad_group_id: str
    flow_id: str
    metrics: Mapping[Metric, int]

    @property
    def ad_id(self) -> str:
        """The ad's id; empty at other levels."""
        return self.entity.entity_id if self.entity and self.level is Level.AD else ""

    @property
    def message_id(self) -> str:
        """The message's id; empty at other levels."""
        return self.entity.entity_id if self.entity and self.level is Level.MESSAGE else ""


# --- time -------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name."""
    return ZoneInfo(name)


def local_day(account: Account, now: datetime) -> date:
    """Which day it is in an account's time zone."""
    return now.astimezone(zone(account.time_zone)).date()


def day_bounds(account: Account, day: date) -> tuple[datetime, datetime]:
    """When an account's day begins and ends, in UTC; 23 or 25 hours apart where clocks change."""
    here = zone(account.time_zone)
    begin = datetime.combine(day, time(), here)
    end = datetime.combine(day + timedelta(days=1), time(), here)
    return begin.astimezone(UTC), end.astimezone(UTC)


def at(history: History[_T], day: date) -> _T:
    """What held on a day."""
    held = history[0][1]
    for since, value in history:
        if since > day:
            break
        held = value
    return held


# --- accounts, entities, grants ---------------------------------------------------------------


def account_of(world: World, platform: Platform, account_id: str) -> Account | None:
    """The account of an id."""
    return world.accounts.get((platform, account_id))


def accounts_of(world: World, platform: Platform) -> tuple[Account, ...]:
    """A platform's accounts, in the order in which it lists them."""
    return tuple(account for (owner, _), account in world.accounts.items() if owner is platform)


def entities_of(
    world: World, account: Account, *, now: datetime, level: Level | None = None
) -> tuple[Entity, ...]:
    """An account's entities that exist at `now`, whatever their state, in the order of creation."""
    today = local_day(account, now)
    return tuple(
        entity
        for entity in world.entities.get(account.key, ())
        if entity.created_on <= today and level in (None, entity.level)
    )


def grant_of(world: World, platform: Platform, token: str) -> Grant | None:
    """The grant of a token, dead or alive."""
    for grant in world.grants:
        if grant.platform is platform and grant.token == token:
            return grant
    return None


def with_account(world: World, account: Account) -> World:
    """The world with an account added or changed (currency, zone, state)."""
    return replace(world, accounts=MappingProxyType({**world.accounts, account.key: account}))


def with_entity(world: World, entity: Entity) -> World:
    """The world with an entity added, or changed (name, state, parent)."""
    key = (entity.platform, entity.account_id)
    others = world.entities.get(key, ())
    places = {other.entity_id: place for place, other in enumerate(others)}
    place = places.get(entity.entity_id, len(others))
    changed = (*others[:place], entity, *others[place + 1 :])
    return replace(world, entities=MappingProxyType({**world.entities, key: changed}))


def with_grant(world: World, grant: Grant) -> World:
    """The world with a grant added, or changed (revoked, other scopes)."""
    others = tuple(
        other
        for other in world.grants
        if (other.platform, other.token) != (grant.platform, grant.token)
    )
    return replace(world, grants=(*others, grant))


# --- what a platform knows --------------------------------------------------------------------


def rows(
    world: World,
    account: Account,
    *,
    level: Level,
    day: date,
    now: datetime,
    date_basis: DateBasis | None = None,
    states: Collection[EntityState] | None = None,
) -> tuple[Row, ...]:
    """What an account's platform answers at `now` for one level and day; the tests' oracle.

    Args:
        world: What happened.
        account: Whose rows.
        level: What a row is about.
        day: In the account's time zone.
        now: When the platform is asked; what arrives later is not known yet.
        date_basis: None for the platform's cohort basis.
        states: Only entities in these states today; None for the platform's own default, which
            hides archived and deleted ads and ad sets on Meta and nothing elsewhere.

    Returns:
        Rows with anything but zeros, in the order of the entities' creation.

    Raises:
        ValueError: The platform does not have this level or date basis.
    """
    basis = date_basis or COHORT_BASIS[account.platform]
    if level not in LEVELS[account.platform]:
        raise ValueError(f"{account.platform.value} has no level {level.value}")
    by_arrival = basis is ARRIVAL_BASIS.get(account.platform)
    if not by_arrival and basis is not COHORT_BASIS[account.platform]:
        raise ValueError(f"{account.platform.value} has no date basis {basis.value}")
    today = local_day(account, now)
    leaves = [
        entity
        for entity in world.entities.get(account.key, ())
        if entity.is_leaf and entity.created_on <= today and _has_level(entity, level)
    ]
    if not leaves or account.is_manager or day > today:
        return ()
    know = _known_by_arrival if by_arrival else _known_by_cohort
    columns = know(world, account, leaves, day, now)
    allowed = _default_states(account.platform, level) if states is None else frozenset(states)
    return _at_level(
        world,
        account,
        leaves,
        columns,
        level=level,
        day=day,
        today=today,
        basis=basis,
        allowed=allowed,
    )


def split(total: int, parts: int, draw: int) -> tuple[int, ...]:
    """Split a total in uneven parts that are at least 0 and sum to it exactly.

    A face that shows single orders or rows of a breakdown splits the truth's figures by this.
    """
    if parts < 1:
        raise ValueError(f"cannot split into {parts} parts")
    keys = np.full(1, draw & _WORD, dtype=np.uint64)
    weights = _between(_draw(keys, np.arange(parts), 97), 50, 150)[0]
    edges = [total * int(weight) // int(weights.sum()) for weight in np.cumsum(weights)]
    return tuple(edge - before for edge, before in zip(edges, [0, *edges[:-1]], strict=True))


def draw_of(*words: object) -> int:
    """A seed of 64 bits from anything that prints."""
    text = "\x1f".join(map(str, words)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest())


def minor_unit_micros(currency_code: str) -> int:
    """The smallest amount of a currency, in micros."""
    return 1_000_000 if currency_code in {"JPY", "KRW", "CLP"} else 10_000


_Columns = dict[Metric, _Integers]


def _has_level(leaf: Entity, level: Level) -> bool:
    """Whether a leaf shows at a level: Performance Max has no ad groups, flows no campaigns."""
    if leaf.level is Level.CAMPAIGN:
        return level in {Level.ACCOUNT, Level.CAMPAIGN}
    return True


def _default_states(platform: Platform, level: Level) -> frozenset[EntityState]:
    if platform is Platform.META and level in {Level.AD, Level.AD_GROUP}:
        return frozenset({EntityState.ACTIVE, EntityState.PAUSED})
    return frozenset(EntityState)


def _known_by_cohort(
    world: World, account: Account, leaves: Sequence[Entity], day: date, now: datetime
) -> _Columns:
    """What is known at `now` of the cohorts of one day, one value for each leaf."""
    cohorts = _cohorts(world, account, leaves, [day])
    age = (local_day(account, now) - day).days
    late_days = LATE_DAYS[account.platform]
    elapsed = _elapsed_per_mille(account, now)
    known = {}
    for metric, final in cohorts.counts.items():
        if metric in _LATE:
            known[metric] = _arrived(final, age, late_days, elapsed)
        else:
            known[metric] = _settled(final, leaves, day, age, elapsed)
    known |= cohorts.revenue(known)
    if account.platform is Platform.META:
        known |= _by_default_setting(known)
    vanished = cohorts.invalid & (age >= 2)
    return _in_units(
        account, {metric: np.where(vanished, 0, values)[:, 0] for metric, values in known.items()}
    )


def _known_by_arrival(
    world: World, account: Account, leaves: Sequence[Entity], day: date, now: datetime
) -> _Columns:
    """What arrived on one day, whatever its cohort; one value for each leaf."""
    late_days = LATE_DAYS[account.platform]
    ages = np.arange(late_days + 1)
    cohorts = _cohorts(world, account, leaves, [day - timedelta(days=int(age)) for age in ages])
    is_today = day == local_day(account, now)
    elapsed = _elapsed_per_mille(account, now) if is_today else 1000
    late = {
        metric: final
        for metric, final in cohorts.counts.items()
        if metric in _LATE and (account.platform is Platform.KLAVIYO or metric in _CONVERSION_DATED)
    }
    after = {metric: _arrived(final, ages, late_days, elapsed) for metric, final in late.items()}
    before = {metric: _arrived(final, ages, late_days, 0) for metric, final in late.items()}
    after |= cohorts.revenue(after)
    before |= cohorts.revenue(before)
    known = {
        metric: np.where(cohorts.invalid, 0, values - before[metric]).sum(axis=1)
        for metric, values in after.items()
    }
    if account.platform is Platform.KLAVIYO:
        for metric in cohorts.counts.keys() - known.keys():
            known[metric] = cohorts.counts[metric][:, 0] * elapsed // 1000
    return _in_units(account, known)


def _by_default_setting(known: _Columns) -> _Columns:
    """Meta's numbers without a window: those 7 days after a click and 1 day after a view."""
    return {
        Metric(f"{stem}_micros"): known[Metric(f"{stem}_7d_click_micros")]
        + known[Metric(f"{stem}_1d_view_micros")]
        for stem in ("conversions", "revenue")
    }


def _in_units(account: Account, columns: _Columns) -> _Columns:
    minor = minor_unit_micros(account.currency_code)
    fractional = _CONVERSION_DATED if account.platform is Platform.GOOGLE_ADS else frozenset()
    for metric in columns:
        if metric in _MONEY:
            columns[metric] = columns[metric] * minor
        elif metric.endswith("_micros") and metric not in fractional:
            columns[metric] = columns[metric] * 1_000_000
    return columns


def _elapsed_per_mille(account: Account, now: datetime) -> int:
    begin, end = day_bounds(account, local_day(account, now))
    return int((now - begin) * 1000 // (end - begin))


def _arrived(
    final: _Integers, age: int | _Integers, late_days: int, elapsed_per_mille: int
) -> _Integers:
    """How much of a late number is there when part of day number `age` of its cohort has passed.

    At the end of a day the missing part is in proportion to the fourth power of the days that are
    left: most comes soon, and the last after `late_days`.
    """
    before = _arrived_by_end(final, np.asarray(age) - 1, late_days)
    step = _arrived_by_end(final, np.asarray(age), late_days) - before
    return before + step * elapsed_per_mille // 1000


def _arrived_by_end(final: _Integers, age: _Integers, late_days: int) -> _Integers:
    left = late_days - np.clip(age, -1, late_days)
    return final - final * left**4 // (late_days + 1) ** 4


def _settled(
    final: _Integers, leaves: Sequence[Entity], day: date, age: int, elapsed: int
) -> _Integers:
    if age == 0:
        return final * elapsed // 1000
    left = max(0, SETTLING_DAYS + 1 - age)
    drift = _between(_draw(_keys(leaves), _ordinals([day]), 11), -40, 25)
    return final + final * drift * left // (SETTLING_DAYS * 1000)


# --- final numbers of cohorts -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cohorts:
    """Final numbers of cohorts; every array has the shape (leaves, days).

    Attributes:
        counts: Everything but revenue; spend in minor units.
        price: Revenue of one conversion, in minor units.
        conversion_unit: How much of a count of conversions is one conversion.
        invalid: Which cohorts will vanish.
    """

    counts: _Columns
    price: _Integers
    conversion_unit: int
    invalid: NDArray[np.bool_]

    def revenue(self, counts: _Columns) -> _Columns:
        """The revenue, in minor units, of the conversions that have come so far."""
        return {
            _REVENUE_OF[metric]: conversions * self.price // self.conversion_unit
            for metric, conversions in counts.items()
            if metric in _REVENUE_OF
        }


_REVENUE_OF: Final[Mapping[Metric, Metric]] = MappingProxyType(
    {
        metric: Metric(metric.replace("conversions", "revenue"))
        for metric in Metric
        if "conversions" in metric and metric.replace("conversions", "revenue") in set(Metric)
    }
)


def _cohorts(
    world: World, account: Account, leaves: Sequence[Entity], days: Sequence[date]
) -> _Cohorts:
    """Draw the final numbers of the cohorts of these leaves and days."""
    keys = _keys(leaves) ^ np.uint64(draw_of(world.seed))
    ordinals = _ordinals(days)
    begin = np.array([leaf.active_from.toordinal() for leaf in leaves])[:, None]
    end = np.array([leaf.active_until.toordinal() for leaf in leaves])[:, None]
    single = begin == end
    active = (begin <= ordinals) & (ordinals <= end)
    active &= single | (_draw(keys, ordinals, 1) % np.uint64(10) != 0)
    if account.platform is Platform.KLAVIYO:
        counts = _messages(leaves, keys, ordinals, single)
        invalid = np.zeros_like(active)
    else:
        counts = _advertising(account.platform, leaves, keys, ordinals)
        invalid = _draw(keys, ordinals, 2) % np.uint64(50) == 0
    return _Cohorts(
        counts={metric: np.where(active, values, 0) for metric, values in counts.items()},
        price=_between(_draw(keys, ordinals, 8), 1500, 9000),
        conversion_unit=1_000_000 if account.platform is Platform.GOOGLE_ADS else 1,
        invalid=invalid,
    )


def _advertising(
    platform: Platform, leaves: Sequence[Entity], keys: _Draws, ordinals: _Integers
) -> _Columns:
    def vary(salt: int, low: int, high: int) -> _Integers:
        return _between(_draw(keys, ordinals, salt), low, high)

    size = _between(_draw(keys, np.zeros(1, np.int64), 3), 400, 6000)
    weekday = np.array([100, 98, 101, 104, 110, 118, 92])[(ordinals - 1) % 7]
    impressions = size * weekday * vary(4, 80, 120) // 10_000
    clicks = impressions * vary(5, 80, 300) // 10_000
    columns = {
        Metric.IMPRESSIONS: impressions,
        Metric.REACH: impressions * vary(6, 700, 950) // 1000,
        Metric.CLICKS: clicks,
        Metric.SPEND_MICROS: clicks * vary(7, 20, 180) + impressions // 1000,
    }
    if platform is Platform.GOOGLE_ADS:
        is_video = np.array([leaf.channel is Channel.VIDEO for leaf in leaves])[:, None]
        is_shown = np.array([leaf.channel in _SHOWN for leaf in leaves])[:, None]
        conversions = clicks * vary(9, 10_000, 60_000)
        views = np.where(is_video, impressions * vary(10, 100, 400) // 1000, 0)
        return columns | {
            Metric.CONVERSIONS_MICROS: conversions,
            Metric.ALL_CONVERSIONS_MICROS: conversions * 13 // 10,
            Metric.VIEW_THROUGH_CONVERSIONS_MICROS: np.where(is_shown, clicks // 20, 0),
            Metric.VIDEO_VIEWS: views,
            Metric.VIDEO_COMPLETIONS: views * vary(12, 200, 600) // 1000,
        }
    by_click = clicks * vary(9, 100, 600) // 10_000
    by_view = by_click * vary(10, 50, 300) // 1000
    windows = {
        "1d_click": by_click * 6 // 10,
        "7d_click": by_click,
        "28d_click": by_click * 23 // 20,
        "1d_view": by_view,
        "1d_ev": by_view // 3,
    }
    plays = impressions * vary(13, 100, 300) // 1000
    columns |= {
        Metric.LINK_CLICKS: clicks * vary(14, 600, 900) // 1000,
        Metric.UNIQUE_CLICKS: clicks * vary(15, 850, 970) // 1000,
        Metric.VIDEO_VIEWS: plays,
        Metric.VIDEO_25_PERCENT: plays * 7 // 10,
        Metric.VIDEO_50_PERCENT: plays * 5 // 10,
        Metric.VIDEO_75_PERCENT: plays * 3 // 10,
        Metric.VIDEO_THRUPLAYS: plays * 4 // 10,
        Metric.VIDEO_COMPLETIONS: plays * 2 // 10,
    }
    for window, count in windows.items():
        columns[Metric(f"conversions_{window}_micros")] = count
    return columns


_SHOWN: Final = frozenset({Channel.DISPLAY, Channel.VIDEO})


def _messages(
    leaves: Sequence[Entity], keys: _Draws, ordinals: _Integers, single: NDArray[np.bool_]
) -> _Columns:
    def vary(salt: int, low: int, high: int) -> _Integers:
        return _between(_draw(keys, ordinals, salt), low, high)

    is_text = np.array([leaf.channel is Channel.SMS for leaf in leaves])[:, None]
    sent = np.where(single, vary(3, 2_000, 20_000), vary(3, 20, 200))
    bounced = sent * vary(4, 3, 20) // 1000
    delivered = sent - bounced
    unique_opened = np.where(is_text, 0, delivered * vary(5, 280, 520) // 1000)
    unique_clicked = delivered * vary(6, 10, 60) // 1000
    conversions = unique_clicked * vary(7, 50, 250) // 1000
    return {
        Metric.SENT: sent,
        Metric.DELIVERED: delivered,
        Metric.BOUNCED: bounced,
        Metric.UNIQUE_OPENED: unique_opened,
        Metric.OPENED: unique_opened * vary(15, 1100, 1600) // 1000,
        Metric.UNIQUE_CLICKED: unique_clicked,
        Metric.CLICKED: unique_clicked * vary(9, 1050, 1400) // 1000,
        Metric.UNSUBSCRIBED: delivered * vary(10, 0, 4) // 1000,
        Metric.SPAM_COMPLAINTS: delivered * vary(12, 0, 2) // 5000,
        Metric.CONVERSIONS_MICROS: conversions,
        Metric.SPEND_MICROS: np.where(is_text, sent * vary(14, 1, 8), 0),
    }


# --- levels -----------------------------------------------------------------------------------


def _at_level(
    world: World,
    account: Account,
    leaves: Sequence[Entity],
    columns: _Columns,
    *,
    level: Level,
    day: date,
    today: date,
    basis: DateBasis,
    allowed: frozenset[EntityState],
) -> tuple[Row, ...]:
    """Sum the leaves of a day up to a level and make the rows that are not all zero."""
    entities = {entity.entity_id: entity for entity in world.entities[account.key]}
    paths = [_path(entities, leaf, day) for leaf in leaves]
    groups: dict[str, int] = {}
    members = np.array([groups.setdefault(path.get(level, ""), len(groups)) for path in paths])
    sums = {
        metric: _grouped(metric, values, members, list(groups), day)
        for metric, values in columns.items()
    }
    first = {int(group): place for place, group in reversed(list(enumerate(members)))}
    busy = np.any(np.stack(list(sums.values())) != 0, axis=0)
    found = []
    for entity_id, group in groups.items():
        entity = entities.get(entity_id)
        if not busy[group] or (entity is None and level is not Level.ACCOUNT):
            continue
        if entity is not None and at(entity.state, today) not in allowed:
            continue
        path = paths[first[group]]
        found.append(
            Row(
                account=account,
                level=level,
                date_basis=basis,
                date=day,
                entity=entity,
                campaign_id="" if entity is None else path.get(Level.CAMPAIGN, ""),
                ad_group_id=path.get(Level.AD_GROUP, "")
                if level in {Level.AD, Level.AD_GROUP}
                else "",
                flow_id="" if entity is None else path.get(Level.FLOW, ""),
                metrics=_reported(account, entity, {m: int(v[group]) for m, v in sums.items()}),
            )
        )
    order = {entity_id: place for place, entity_id in enumerate(entities)}
    found.sort(key=lambda row: -1 if row.entity is None else order[row.entity.entity_id])
    return tuple(found)


def _path(entities: Mapping[str, Entity], leaf: Entity, day: date) -> dict[Level, str]:
    """The ids from a leaf up to its campaign or flow, as they were on a day."""
    path = {leaf.level: leaf.entity_id}
    above = at(leaf.parent, day)
    while above is not None:
        entity = entities[above]
        path[entity.level] = above
        above = at(entity.parent, day)
    return path


def _grouped(
    metric: Metric, values: _Integers, members: _Integers, groups: Sequence[str], day: date
) -> _Integers:
    total = np.zeros(len(groups), np.int64)
    np.add.at(total, members, values)
    if metric not in GRAIN_METRICS:
        return total
    largest = np.zeros(len(groups), np.int64)
    np.maximum.at(largest, members, values)
    keys = np.array([draw_of(group) for group in groups], np.uint64)
    overlap = _between(_draw(keys, _ordinals([day]), 16), 650, 900)[:, 0]
    people: _Integers = np.maximum(largest, total * overlap // 1000)
    return people


def _reported(
    account: Account, entity: Entity | None, metrics: dict[Metric, int]
) -> Mapping[Metric, int]:
    """Leave out what the platform does not measure here, which is not the same as zero."""
    channel = None if entity is None else entity.channel
    if account.platform is Platform.KLAVIYO and channel is not Channel.SMS and entity is not None:
        metrics.pop(Metric.SPEND_MICROS, None)
    if account.platform is Platform.GOOGLE_ADS and channel not in _SHOWN:
        metrics.pop(Metric.REACH, None)
    if account.platform is Platform.META:
        metrics = {m: value for m, value in metrics.items() if value or m in _ALWAYS_ON_META}
    return MappingProxyType(metrics)


_ALWAYS_ON_META: Final = frozenset(
    {Metric.SPEND_MICROS, Metric.IMPRESSIONS, Metric.REACH, Metric.CLICKS}
)
"""What Meta's rows always hold; anything else that is zero is left out of them."""


# --- draws ------------------------------------------------------------------------------------

_WORD: Final = 2**64 - 1


def _keys(leaves: Sequence[Entity]) -> _Draws:
    return np.fromiter((leaf.draw for leaf in leaves), np.uint64, len(leaves))


def _ordinals(days: Sequence[date]) -> _Integers:
    return np.array([day.toordinal() for day in days], np.int64)


def _draw(keys: _Draws, ordinals: _Integers, salt: int) -> _Draws:
    """64 evenly spread bits for each key and day (the finaliser of splitmix64)."""
    word = keys[:, None] ^ (ordinals.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))[None, :]
    word = word + np.uint64(salt * 0xD1B54A32D192ED03 & _WORD)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    spread: _Draws = word ^ (word >> np.uint64(31))
    return spread


def _between(draws: _Draws, low: int, high: int) -> _Integers:
    """Numbers from `low` to `high`, both inclusive."""
    return (draws % np.uint64(high - low + 1)).astype(np.int64) + low
