"""The limits of platforms in one process, for tests and small tools."""

import math
import uuid
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from liftos_ingestion.domain.rate_limits import (
    LEASE_CHECK_SECONDS,
    PLACE_SECONDS,
    SPREAD_SECONDS,
    Limit,
    Observation,
    Priority,
    Renewal,
    asked_by,
    caller_of,
    limits_to_pass,
    parked_reason,
    room_time,
)
from liftos_ingestion.quota_ports import Admitted, Parked, QuotaState, ordered_quotas
from liftos_kit.core.clock import Clock, SystemClock

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = 1_000_000
_PLACE: Final = round(PLACE_SECONDS * _SECOND)
_SPREAD: Final = round(SPREAD_SECONDS * _SECOND)
_LEASE_CHECK: Final = round(LEASE_CHECK_SECONDS * _SECOND)


@dataclass(slots=True)
class _Room:
    """One limit's state; times are microseconds since 1970 UTC.

    Attributes:
        limit: As it was last named.
        taken: When the unit of each call or caller comes back.
        waiting: When those that were parked come again.
        told, told_until, reason: What others took, until when, and why.
        observed: When the platform last told.
        used_by: The limit as each org last named it, and when the last of it can go.
    """

    limit: Limit
    taken: dict[str, int] = field(default_factory=dict)
    waiting: dict[Priority, dict[str, int]] = field(
        default_factory=lambda: {priority: {} for priority in Priority}
    )
    told: float = 0
    told_until: int = 0
    reason: str = ""
    observed: int | None = None
    used_by: dict[str, tuple[Limit, int]] = field(default_factory=dict)

    def forget(self, now: int) -> None:
        """Drop what is over."""
        self.taken = {member: time for member, time in self.taken.items() if time > now}
        for priority, places in self.waiting.items():
            self.waiting[priority] = {
                caller: time for caller, time in places.items() if time > now - _PLACE
            }
        if self.told_until <= now:
            self.told, self.told_until, self.reason = 0, 0, ""

    def holds_lease(self, caller: str) -> bool:
        """Tell whether the caller holds a leased unit."""
        return self.limit.renewal is Renewal.LEASED and caller in self.taken

    def room_time(self, ceiling: int, now: int) -> int:
        """Return when a unit may be taken."""
        return room_time(
            sorted(self.taken.values()),
            ceiling=ceiling,
            told=self.told,
            told_until=self.told_until,
            now=now,
        )

    def refusal(self, caller: str, priority: Priority, now: int) -> int | None:
        """Return when to come back; None where the call is let through."""
        limit, ceiling = self.limit, self.limit.ceiling(priority)
        ahead = 0 if limit.renewal is Renewal.TOLD else self._places_ahead(caller, priority, now)
        if len(self.taken) + self.told + ahead < ceiling or self.holds_lease(caller):
            return None
        time, pace = self.room_time(ceiling, now), _window(limit)
        if limit.renewal is Renewal.LEASED:
            time, pace = min(time, now + _LEASE_CHECK), _LEASE_CHECK
        return math.ceil(time + min(_SPREAD, ahead * pace / ceiling))

    def take(self, member: str, now: int) -> None:
        """Take a unit."""
        window = _window(self.limit)
        fixed = self.limit.renewal is Renewal.FIXED
        time = (now // window + 1) * window if fixed else now + window
        self.taken[member] = time
        self._used_until(time)

    def park(self, caller: str, priority: Priority, until: int) -> None:
        """Keep a place."""
        self.waiting[priority][caller] = until
        self._used_until(until)

    def observe(self, seen: Observation, now: int) -> None:
        """Take in what the platform told."""
        reset = now + round(seen.reset_seconds * _SECOND)
        own = len(self.taken)
        if self.limit.renewal is Renewal.ROLLING:
            own -= bisect_left(sorted(self.taken.values()), reset - _SECOND)
        fresh = seen.used - own
        if fresh > 0 and fresh >= self.told:
            self.told, self.told_until = fresh, max(self.told_until, reset)
            self.reason = seen.reason
        self.observed = now
        self._used_until(max(reset, self.told_until))

    def state(self, org: str, now: int) -> QuotaState | None:
        """Return what is known; None where the org does not use it."""
        limit, until = self.used_by.get(org, (self.limit, 0))
        if until <= now - _PLACE:
            return None
        reset = max(self.told_until, *self.taken.values(), 0)
        shut = self.told_until
        if limit.renewal is not Renewal.LEASED:
            shut = self.room_time(limit.ceiling(Priority.NEWEST), now)
        return QuotaState(
            limit=limit,
            used=len(self.taken) + self.told,
            reset_time=_time(reset) if reset else None,
            blocked_until_time=_time(shut) if shut > now else None,
            reason=self.reason,
            parked_count=sum(
                caller.startswith(caller_of(org, ""))
                for places in self.waiting.values()
                for caller in places
            ),
            observe_time=_time(self.observed) if self.observed is not None else None,
        )

    def _used_until(self, time: int) -> None:
        org = self.limit.key.org
        _, known = self.used_by.get(org, (self.limit, 0))
        self.used_by[org] = self.limit, max(known, time)

    def _places_ahead(self, caller: str, priority: Priority, now: int) -> int:
        better = [self.waiting[other] for other in Priority if other < priority]
        own = self.waiting[priority]
        counted = better if caller in own else [*better, own]
        return sum(time <= now + _SPREAD for places in counted for time in places.values())


class InMemoryRateGovernor:
    """RateGovernor in dictionaries, for the workers of one process.

    Args:
        clock: Time; the system's if absent.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._rooms: dict[str, dict[str, _Room]] = {}

    async def admit(
        self, limits: Sequence[Limit], *, caller: str, priority: Priority
    ) -> Admitted | Parked:
        """Take a unit of every limit, or of none."""
        asked, now = limits_to_pass(limits), self._now()
        caller = caller_of(asked_by(asked)[0], caller)
        rooms = self._find(asked, now)
        refusals = [room.refusal(caller, priority, now) for room in rooms]
        until = max((time for time in refusals if time is not None), default=None)
        if until is not None:
            for room, refusal in zip(rooms, refusals, strict=True):
                if refusal is not None:
                    room.park(caller, priority, until)
            worst = rooms[refusals.index(until)]
            return Parked(
                until=_time(until),
                wait_seconds=(until - now) / _SECOND,
                key=worst.limit.key,
                reason=parked_reason(worst.limit, priority, worst.reason),
            )
        admitted = Admitted(uuid.uuid4().hex, caller, asked, _time(now))
        for room in rooms:
            room.waiting[priority].pop(caller, None)
            if room.limit.renewal is not Renewal.TOLD:
                room.take(_member(room.limit, admitted), now)
        return admitted

    async def renew(self, admitted: Admitted) -> bool:
        """Hold its leased units for another lease; False where one was lost already."""
        now = self._now()
        leased = [
            room
            for room in self._find(admitted.limits, now)
            if room.limit.renewal is Renewal.LEASED
        ]
        held = [room for room in leased if room.holds_lease(admitted.caller)]
        for room in held:
            room.take(admitted.caller, now)
        return len(held) == len(leased)

    async def release(self, admitted: Admitted, *, sent: bool = True) -> None:
        """Give leased units back, and where nothing was sent to the platform, all others too."""
        for room in self._find(admitted.limits, self._now()):
            if room.limit.renewal is Renewal.LEASED or not sent:
                room.taken.pop(_member(room.limit, admitted), None)

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Take in what the platform told, blocks included."""
        if not observations:
            return
        now = self._now()
        rooms = self._find([seen.limit for seen in observations], now)
        for room, seen in zip(rooms, observations, strict=True):
            room.observe(seen, now)

    async def quotas(self, org: str, platform: str) -> Sequence[QuotaState]:
        """List limits that are in use, nearest to their end first."""
        now = self._now()
        rooms = self._rooms.get(platform, {}).values()
        for room in rooms:
            room.forget(now)
        states = [room.state(org, now) for room in rooms]
        return ordered_quotas([state for state in states if state is not None])

    def _find(self, limits: Sequence[Limit], now: int) -> list[_Room]:
        _, platform = asked_by(limits)
        rooms = self._rooms.setdefault(platform, {})
        found = []
        for limit in limits:
            room = rooms.setdefault(limit.name, _Room(limit))
            room.limit = limit
            room.forget(now)
            found.append(room)
        return found

    def _now(self) -> int:
        return (self._clock.now() - _EPOCH) // timedelta(microseconds=1)


def _member(limit: Limit, admitted: Admitted) -> str:
    return admitted.caller if limit.renewal is Renewal.LEASED else admitted.call


def _window(limit: Limit) -> int:
    return round(limit.window_seconds * _SECOND)


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
