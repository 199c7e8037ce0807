"""Limits of platforms, in one picture: a limit is room for `capacity` units that come back.

Each call takes a unit of every limit that it falls under, and the limits differ in one thing only,
when the unit comes back (`Renewal`). What a platform tells is a number of units that someone has
taken until a moment: foreign calls of a window, a percentage, or, after a refusal, all there is.

- A rolling window of the same length never lets more through than a fixed one whose phase nobody
  knows, so fixed windows of platforms are kept as rolling ones.
- A token bucket of `capacity` tokens that gains `rate` tokens a second never runs dry behind a
  rolling window of `capacity` units and `capacity / rate` seconds: in any t seconds that lets
  through at most (t * rate / capacity + 1) * capacity = capacity + rate * t calls.
- A concurrency limit is a window that a call leaves at its end; the length is the lease of a
  worker that never says so.
"""

import hashlib
import hmac
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from liftos_kit.secrets.secret import Secret

LONGEST_WAIT_SECONDS: Final = 24 * 60 * 60.0
"""No platform's window is longer; what asks for more is asked again after it."""

PLACE_SECONDS: Final = 10.0
"""How long a place in the queue is kept for a caller that does not come back in time."""

SPREAD_SECONDS: Final = 60.0
"""How far callers that wait for the same room are spread, and how far ahead places count."""

LEASE_CHECK_SECONDS: Final = 5.0
"""How often a caller looks for a leased unit, which may come back long before its lease ends."""


class RateScope(StrEnum):
    """What shares a limit."""

    APP = "app"
    ACCOUNT = "account"
    ENDPOINT = "endpoint"


class Renewal(StrEnum):
    """When a unit comes back."""

    ROLLING = "rolling"
    """A window after it was taken."""

    FIXED = "fixed"
    """At the next multiple of the window since 1970-01-01 UTC, with all others."""

    LEASED = "leased"
    """When its call ends, or a window after it was taken or last renewed."""

    TOLD = "told"
    """When the platform says; calls take none, only the platform counts."""


class Priority(IntEnum):
    """Who goes first: a lower value leaves those with a higher one behind it."""

    NEWEST = 0
    RESTATED = 1
    BACKFILL = 2


@dataclass(frozen=True, slots=True)
class RateKey:
    """What a platform limits.

    Attributes:
        org: The org that calls.
        platform: The platform's word, as `klaviyo`.
        scope: What `key` is.
        key: The app, the account, or `ACCOUNT:ENDPOINT`.
        proof: What only those have who know the app's secret; empty where nothing is proven.
    """

    org: str
    platform: str
    scope: RateScope
    key: str
    proof: str = ""

    @property
    def counted_for(self) -> str:
        """Whose calls count together: those of all who prove the app, or those of one org.

        An org that only names the app or the account of another one takes none of its room.
        """
        return f"app:{self.proof}" if self.proof else f"org:{self.org}"

    def shares(self, account_id: str) -> bool:
        """Tell whether calls for the account fall under the key."""
        match self.scope:
            case RateScope.APP:
                return True
            case RateScope.ACCOUNT:
                return self.key == account_id
            case RateScope.ENDPOINT:
                return self.key.startswith(f"{account_id}:")


def app_key(org: str, platform: str, app_id: str, *, secret: Secret | None = None) -> RateKey:
    """Return the key of an app, which all its accounts share.

    Args:
        org: The org that calls.
        platform: The platform's word.
        app_id: The app.
        secret: The app's own; all orgs that have it share the limits, as the platform counts.
    """
    if secret is None:
        return RateKey(org, platform, RateScope.APP, app_id)
    app = json.dumps([platform, app_id]).encode()
    proof = hmac.new(secret.reveal().encode(), app, hashlib.sha256).hexdigest()
    return RateKey(org, platform, RateScope.APP, app_id, proof)


def account_key(org: str, platform: str, account_id: str) -> RateKey:
    """Return the key of an account."""
    return RateKey(org, platform, RateScope.ACCOUNT, account_id)


def endpoint_key(org: str, platform: str, account_id: str, endpoint: str) -> RateKey:
    """Return the key of an endpoint as called for one account."""
    return RateKey(org, platform, RateScope.ENDPOINT, f"{account_id}:{endpoint}")


@dataclass(frozen=True, slots=True)
class Limit:
    """Room for calls.

    Attributes:
        key: What is limited.
        unit: What is counted, as `calls`.
        capacity: Units that there are.
        window_seconds: How long a taken unit is away; see `Renewal`.
        renewal: When a taken unit comes back.
        kept: Units that each priority, in the order of `Priority`, leaves for those before it, or
            for the platform's own reckoning.
    """

    key: RateKey
    unit: str
    capacity: int
    window_seconds: float
    renewal: Renewal = Renewal.ROLLING
    kept: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.capacity < 1 or not 0.001 <= self.window_seconds <= LONGEST_WAIT_SECONDS:
            raise ValueError("a limit needs a unit and a window from 1 ms to 24 h")
        if list(self.kept) != sorted(self.kept) or self.kept[0] < 0:
            raise ValueError("a later priority has to keep as much as those before it")
        if self.kept[-1] >= self.capacity:
            raise ValueError("every priority needs a unit that it may take")

    @property
    def name(self) -> str:
        """What tells the limit from others of its platform, whatever its capacity."""
        key = self.key
        return f"{key.counted_for}:{key.scope}:{key.key}:{self.unit}:{self.window_seconds:g}s"

    def ceiling(self, priority: Priority) -> int:
        """Return how many units may be taken after a call of that priority."""
        return self.capacity - self.kept[priority]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a platform tells about a limit. It only takes room away, and only until its reset.

    Attributes:
        limit: The limit.
        used: Units that are taken, whoever took them.
        reset_seconds: When they are back, counted from now; between 0 and 24 h.
        reason: Where it is from, for a person.
    """

    limit: Limit
    used: float
    reset_seconds: float
    reason: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.used) and self.used >= 0):
            raise ValueError("used has to be a number of units")
        if not 0 <= self.reset_seconds <= LONGEST_WAIT_SECONDS:
            raise ValueError("reset_seconds has to be between 0 and 24 h; see capped_seconds")


def gate(key: RateKey) -> Limit:
    """Return the limit that is full while nothing goes out under a key, and else empty.

    Every admission passes the gates of its keys, named or not; name one to pass the gate of a key
    that has no other limit.
    """
    return Limit(key, "block", 1, LONGEST_WAIT_SECONDS, Renewal.TOLD)


def blocked(key: RateKey, *, wait_seconds: float, reason: str) -> Observation:
    """Return what shuts the gate of a key for a while that is at least 1 s and at most 24 h."""
    return Observation(gate(key), 1, capped_seconds(max(wait_seconds, 1.0)), reason)


def capped_seconds(seconds: float) -> float:
    """Bring a wait that a platform asks for into [0, 24 h]."""
    return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)


def limits_to_pass(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """Return the limits of a call, each once, and the gate of every key."""
    named = tuple(dict.fromkeys(limits))
    return tuple(dict.fromkeys((*map(gate, (limit.key for limit in named)), *named)))


def asked_by(limits: Iterable[Limit]) -> tuple[str, str]:
    """Return the org that asks for limits together, and of which platform they are.

    Raises:
        ValueError: They are of several, or there are none.
    """
    askers = {(limit.key.org, limit.key.platform) for limit in limits}
    if len(askers) != 1:
        raise ValueError("limits that are asked together have to be of one org and platform")
    return askers.pop()


def caller_of(org: str, caller: str) -> str:
    """Return what tells a caller from those of other orgs, where orgs share a limit."""
    return f"{org}/{caller}"


def parked_reason(limit: Limit, priority: Priority, told: str) -> str:
    """Say why a call is parked: what the platform told, or what is taken."""
    if told:
        return told
    return (
        f"all {limit.ceiling(priority)} {limit.unit} of {limit.window_seconds:g} s for"
        f" {priority.name.lower()} calls are taken or waited for"
    )


def room_time(back: Sequence[int], *, ceiling: int, told: float, told_until: int, now: int) -> int:
    """Return the first moment, from `now` on, at which a unit may be taken.

    Args:
        back: When each taken unit comes back, sorted, all after `now`.
        ceiling: Units that may be taken in all, at least 1.
        told: Units that the platform says others have taken.
        told_until: When those come back.
        now: The present, in the same unit of time as the others.
    """

    def when_back(units: int) -> float:
        if units <= 0:
            return now
        return back[units - 1] if units <= len(back) else math.inf

    beside_told = when_back(math.floor(len(back) + told - ceiling) + 1)
    after_told = max(told_until, when_back(len(back) - ceiling + 1))
    return int(min(beside_told, after_told))
