"""Twenty plans of faults, fixed by their seeds, with a place for every kind of every platform.

A plan is a week. Each of its days brings faults, and a kind after which a day is not whole (its
reading is given up, or a figure is spoilt) never stands on the last one.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from liftos_ingestion.domain.failures import ErrorClass
from liftos_platforms.faults import SCOPES, Fault, FaultKind
from liftos_platforms.truth import Platform

DAYS: Final = 7
LEAST_FAULTS: Final = 5
_PLAN_COUNTS: Final = MappingProxyType(
    {Platform.META: 7, Platform.GOOGLE_ADS: 6, Platform.KLAVIYO: 7}
)

UNMET: Final = frozenset(
    {
        (Platform.GOOGLE_ADS, FaultKind.PAGE_TOKEN_EXPIRED),
        *(
            (Platform.KLAVIYO, kind)
            for kind in (
                FaultKind.ROW_REPEATED,
                FaultKind.EVENT_IN_FUTURE,
                FaultKind.EVENT_TIMESTAMPS_EQUAL,
                FaultKind.EVENT_TIMESTAMP_FLOAT,
                FaultKind.EVENT_METRIC_NULL,
                FaultKind.EVENT_ATTRIBUTIONS_EMPTY,
                FaultKind.EVENT_PROPERTIES_HUGE,
            )
        ),
    }
)
"""Faults of calls that a run never makes: of Google's pages and Klaviyo's single events. They wait
in their plans and must not strike."""

ENDING: Final[Mapping[FaultKind, ErrorClass]] = MappingProxyType(
    {
        FaultKind.TOKEN_EXPIRED: ErrorClass.CREDENTIALS,
        FaultKind.ACCESS_REVOKED: ErrorClass.CREDENTIALS,
        FaultKind.GRANT_INVALID: ErrorClass.CREDENTIALS,
        FaultKind.VERSION_UNSUPPORTED: ErrorClass.VERSION,
        FaultKind.QUOTA_ACCESS_PROHIBITED: ErrorClass.PERMISSION,
        FaultKind.PERMISSION_DENIED: ErrorClass.PERMISSION,
        FaultKind.CUSTOMER_NOT_ENABLED: ErrorClass.ACCOUNT_CLOSED,
        FaultKind.KEY_REJECTED: ErrorClass.CREDENTIALS,
        FaultKind.SCOPE_MISSING: ErrorClass.PERMISSION,
        FaultKind.REVISION_GONE: ErrorClass.VERSION,
    }
)
"""Kinds after which trying again by itself is in vain, and what they are told as."""

SPOILING: Final = frozenset(
    {FaultKind.STATISTIC_NULL, FaultKind.STATISTIC_NAN, FaultKind.FIELD_UNREADABLE}
)
"""Kinds that spoil one figure and let all others land."""

DEAD_LETTERS: Final[Mapping[FaultKind, str]] = MappingProxyType(
    {
        FaultKind.ITEM_IS_NO_ROW: "unreadable_item",
        FaultKind.STATISTIC_NAN: "not_finite",
        FaultKind.FIELD_UNREADABLE: "cannot report",
    }
)
"""Kinds that leave a dead letter, and what stands in it."""

TOO_LARGE: Final = frozenset(
    {
        FaultKind.RUN_TOO_LARGE,
        FaultKind.DATA_LIMIT_EXCEEDED,
        FaultKind.TOO_MUCH_DATA,
        FaultKind.MESSAGE_OVERSIZE,
    }
)
"""Kinds that are got over by halving days and by reading a day in parts; where neither can be done
any more, as of a day of a whole account, the day is given up."""

_ALL_DAY: Final = frozenset({FaultKind.TOO_MUCH_DATA, *SPOILING, *DEAD_LETTERS})
"""Kinds that strike every call of their day, so that no later answer can hide them."""

_AMOUNTS: Final[Mapping[FaultKind, int]] = MappingProxyType(
    {
        FaultKind.TOO_MUCH_DATA: 100,
        FaultKind.APP_LIMITED: 3,
        FaultKind.ACCOUNT_LIMITED: 3,
        FaultKind.INSIGHTS_LIMITED: 3,
        FaultKind.MANAGEMENT_LIMITED: 3,
        FaultKind.CALLS_LIMITED: 3,
        FaultKind.QUOTA_TEMPORARILY_EXHAUSTED: 45,
        FaultKind.QUOTA_EXHAUSTED: 3600,
        FaultKind.UNAVAILABLE_MID_STREAM: 2,
        FaultKind.SERVER_GOES_AWAY: 2,
    }
)

_OF_LISTS: Final = frozenset(
    {
        FaultKind.CURSOR_INVALID,
        FaultKind.NEXT_LINK_FOREIGN,
        FaultKind.CAMPAIGN_GONE_BETWEEN_PAGES,
    }
)

_SMALL_PAGES: Final = Fault(
    FaultKind.TOO_MUCH_DATA,
    Platform.META,
    endpoint="report_run_insights",
    times=None,
    amount=12,
)
_COMPANIONS: Final[Mapping[FaultKind, Fault]] = MappingProxyType(
    {FaultKind.CURSOR_INVALID: _SMALL_PAGES, FaultKind.ROW_REPEATED: _SMALL_PAGES}
)
"""What has to go wrong on Meta before such a fault can: only then there is a second page."""

_ONCE: Final = frozenset(
    {
        FaultKind.ANSWER_NEVER_COMES,
        FaultKind.STREAM_HANGS,
        FaultKind.SERVER_GOES_AWAY,
        FaultKind.RUN_STUCK_AT_START,
        FaultKind.RUN_STUCK_AT_END,
        FaultKind.EVENT_PROPERTIES_HUGE,
        FaultKind.ACCESS_TOKEN_EXPIRED,
        *_COMPANIONS,
        *TOO_LARGE,
        *ENDING,
    }
)
"""Kinds that take long, or of which one is all that a day can have."""


@dataclass(frozen=True, slots=True)
class WeekPlan:
    """The faults of one week of one platform.

    Attributes:
        seed: Fixes the plan.
        platform: Whose faults.
        days: The faults that come with each day.
    """

    seed: int
    platform: Platform
    days: Sequence[Sequence[Fault]]

    @property
    def needs_long_lists(self) -> bool:
        """Whether a list of Klaviyo's has to have a second page."""
        return any(fault.kind in _OF_LISTS for fault in self.faults)

    @property
    def faults(self) -> Sequence[Fault]:
        """All faults of the week."""
        return [fault for day in self.days for fault in day]

    def __str__(self) -> str:
        return f"{self.platform.value}-{self.seed}"


def kinds_of(platform: Platform) -> Sequence[FaultKind]:
    """Return all kinds of a platform."""
    return [kind for kind, scope in SCOPES.items() if platform in scope.platforms]


def week_plans() -> Sequence[WeekPlan]:
    """Return the plans, in which together every kind of every platform is found."""
    return [
        week_plan(place, platform, kinds)
        for platform, count in _PLAN_COUNTS.items()
        for place, kinds in enumerate(_dealt(kinds_of(platform), count))
    ]


def _dealt(kinds: Sequence[FaultKind], count: int) -> Sequence[Sequence[FaultKind]]:
    """Deal kinds out; those that need long lists go together, since such a world is slow."""
    others = [kind for kind in kinds if kind not in _OF_LISTS]
    lists = [kind for kind in kinds if kind in _OF_LISTS]
    dealt = [others[place::count] for place in range(count)]
    return [[*lists, *dealt[0]], *dealt[1:]]


def week_plan(seed: int, platform: Platform, kinds: Sequence[FaultKind]) -> WeekPlan:
    """Return the plan of a seed.

    Args:
        seed: Fixes where and how often each fault strikes, and what is added.
        platform: Whose faults.
        kinds: Which have to be in it; others that pass are added until there are enough.
    """
    chance = random.Random(f"{platform.value}-{seed}")
    chosen = list(kinds)
    passing = [
        kind
        for kind in kinds_of(platform)
        if (platform, kind) not in UNMET and kind not in {*_ALL_DAY, *_ONCE, *chosen}
    ]
    met = sum((platform, kind) not in UNMET for kind in chosen)
    chosen += chance.sample(passing, max(0, LEAST_FAULTS - met))
    days: list[list[Fault]] = [[] for _ in range(DAYS)]
    whole_days = chance.sample(range(1, DAYS - 1), DAYS - 2)
    for kind in chosen:
        if platform is Platform.META and kind in _COMPANIONS:
            # Beside nothing that would make a later reading longer than a day.
            days[0] += [_COMPANIONS[kind], replace(_fault(platform, kind, chance), skip=0)]
            continue
        alone = kind in {*ENDING, *TOO_LARGE, *_ALL_DAY}
        day = whole_days.pop() if alone else chance.randrange(DAYS)
        days[day].append(_fault(platform, kind, chance))
    return WeekPlan(seed, platform, days)


def _fault(platform: Platform, kind: FaultKind, chance: random.Random) -> Fault:
    all_day = kind in _ALL_DAY
    # A run asks for a list once, however many levels are made of it.
    is_of_lists = platform is Platform.KLAVIYO and kind in _OF_LISTS
    # A token lasts an hour, so that its endpoint is called once a day.
    is_of_tokens = SCOPES[kind].endpoints == ("token",)
    times = 1 if kind in _ONCE else chance.randint(1, 2)
    amount = 2 if (platform, kind) == (Platform.GOOGLE_ADS, FaultKind.ROW_REPEATED) else None
    return Fault(
        kind,
        platform,
        skip=0 if all_day or is_of_tokens or is_of_lists else chance.randint(0, 2),
        times=None if all_day else times,
        amount=_AMOUNTS.get(kind, amount),
        field="actions" if kind is FaultKind.FIELD_UNREADABLE else "",
    )
