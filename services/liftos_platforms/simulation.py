"""The world, its time, its faults and its journal, held together; every face is built on one."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Protocol

from liftos_platforms import truth
from liftos_platforms.clock import VirtualClock
from liftos_platforms.faults import FaultPlan
from liftos_platforms.journal import Journal
from liftos_platforms.truth import Account, DateBasis, EntityState, Level, Platform, Row, World
from liftos_platforms.worlds import WorldPlan, build_world

START = datetime(2026, 11, 15, 12, tzinfo=UTC)
"""Where the clock stands at first; within the days of the default world."""


class UnknownAccountError(Exception):
    """No account has this id on this platform.

    Attributes:
        platform: Where it was looked for.
        account_id: What was looked for.
    """

    def __init__(self, platform: Platform, account_id: str) -> None:
        super().__init__(
            f"{platform.value} has no account {account_id!r}; add it with with_account"
        )
        self.platform = platform
        self.account_id = account_id


class Face(Protocol):
    """One platform's servers, on one simulation."""

    @property
    def port(self) -> int:
        """The port that is bound; 0 before `start`."""
        ...

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one."""
        ...

    async def stop(self) -> None:
        """Stop listening and hang up on everyone."""
        ...


@dataclass(slots=True)
class Simulation:
    """What all faces share.

    Faces read `world` anew for each call, so that a test may replace it:
    `simulation.world = truth.with_account(simulation.world, changed)`.
    """

    world: World = field(default_factory=build_world)
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(START))
    faults: FaultPlan = field(default_factory=FaultPlan)
    journal: Journal = field(default_factory=Journal)
    answer_delay_seconds: float = 0.0
    """Real time that every answer takes, so that calls overlap; 0 only lets others go first."""

    @classmethod
    def of(cls, plan: WorldPlan, *, now: datetime = START) -> "Simulation":
        """The simulation of a plan's world."""
        return cls(world=build_world(plan), clock=VirtualClock(now))

    def account(self, platform: Platform, account_id: str) -> Account:
        """An account.

        Raises:
            UnknownAccountError: There is none of this id.
        """
        account = truth.account_of(self.world, platform, account_id)
        if account is None:
            raise UnknownAccountError(platform, account_id)
        return account

    def rows(
        self,
        platform: Platform,
        account_id: str,
        *,
        level: Level,
        day: date,
        date_basis: DateBasis | None = None,
        states: frozenset[EntityState] | None = None,
    ) -> tuple[Row, ...]:
        """What the platform knows now (see `truth.rows`).

        Raises:
            UnknownAccountError: There is no account of this id.
        """
        return truth.rows(
            self.world,
            self.account(platform, account_id),
            level=level,
            day=day,
            now=self.clock.now(),
            date_basis=date_basis,
            states=states,
        )
