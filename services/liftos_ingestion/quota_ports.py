"""What readings of platforms ask before each call: may it go out, and if not, when."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from liftos_ingestion.domain.rate_limits import (
    Limit,
    Observation,
    Priority,
    RateKey,
    gate,
)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The call may go out now; it has a unit of each limit.

    Attributes:
        call: Its own name.
        caller: Who asked, as `caller_of` names it.
        limits: What it has units of.
        time: When it was admitted, on the governor's clock.
    """

    call: str
    caller: str
    limits: tuple[Limit, ...]
    time: datetime


@dataclass(frozen=True, slots=True)
class Parked:
    """The call may not go out now; nothing was taken.

    Attributes:
        until: When to ask again, on the governor's clock.
        wait_seconds: How long that is, for callers with another clock.
        key: What is limited; where several are, the one that takes longest.
        reason: Why, for a person.
    """

    until: datetime
    wait_seconds: float
    key: RateKey
    reason: str


@dataclass(frozen=True, slots=True)
class QuotaState:
    """A limit as all workers see it together.

    Where several orgs share an app, `used` is what all of them have taken, since that is what is
    gone; who took it is told to none of them.

    Attributes:
        limit: The limit.
        used: Units that are taken, as counted and as told.
        reset_time: When all of them are back; None where none is taken.
        blocked_until_time: Until when nobody takes a unit; None where calls go out.
        reason: What the platform told last that still holds; empty where nothing does.
        parked_count: Callers of the org that wait for it.
        observe_time: When the platform last told; None where it did not.
    """

    limit: Limit
    used: float
    reset_time: datetime | None
    blocked_until_time: datetime | None
    reason: str
    parked_count: int
    observe_time: datetime | None


class RateGovernor(Protocol):
    """The limits of all platforms, shared by all workers.

    Every limit of one request has to be of one platform and asked for by one org. Where the
    governor cannot be reached, every method raises and no call may go out: the slice waits.
    """

    async def admit(
        self, limits: Sequence[Limit], *, caller: str, priority: Priority
    ) -> Admitted | Parked:
        """Take a unit of every limit, or of none; never waits.

        A parked caller keeps a place: until shortly after `until`, callers of lower priority, and
        new ones of the same, leave room for it. A leased unit belongs to the caller, who has only
        one and gets the same again, as after a restart; other units belong to the call.

        Args:
            limits: All that the call falls under; gates of their keys are passed too.
            caller: Who asks, one call at a time, such as a slice of a run.
            priority: Who goes first.

        Raises:
            StoreUnavailableError: The governor cannot be reached.
        """

    async def renew(self, admitted: Admitted) -> bool:
        """Hold its leased units for another lease; False where one was lost already.

        Raises:
            StoreUnavailableError: The governor cannot be reached.
        """

    async def release(self, admitted: Admitted, *, sent: bool = True) -> None:
        """Give leased units back, and where nothing was sent to the platform, all others too.

        Raises:
            StoreUnavailableError: The governor cannot be reached.
        """

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Take in what the platform told, blocks included.

        Raises:
            StoreUnavailableError: The governor cannot be reached.
        """

    async def quotas(self, org: str, platform: str) -> Sequence[QuotaState]:
        """List limits that the org uses, nearest to their end first.

        Raises:
            StoreUnavailableError: The governor cannot be reached.
        """


def ordered_quotas(states: Sequence[QuotaState]) -> tuple[QuotaState, ...]:
    """Carry blocks of a key over to its limits, and put the limit nearest to its end first."""
    shut: dict[RateKey, QuotaState] = {
        state.limit.key: state
        for state in states
        if state.limit == gate(state.limit.key) and state.blocked_until_time is not None
    }

    def with_block(state: QuotaState) -> QuotaState:
        block = shut.get(state.limit.key)
        if block is None or block.blocked_until_time is None:
            return state
        until = max(state.blocked_until_time or block.blocked_until_time, block.blocked_until_time)
        return replace(state, blocked_until_time=until, reason=block.reason)

    return tuple(
        sorted(
            map(with_block, states),
            key=lambda state: (-state.used / state.limit.capacity, state.limit.name),
        )
    )
