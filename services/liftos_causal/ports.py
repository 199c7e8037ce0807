"""What the use cases need of the world: numbers, records, answers that are kept for a while."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Generic, Protocol, TypeVar

from liftos_causal.domain.panel import Floats, Outcome, Panel
from liftos_causal.domain.records import Configuration, DayRange, Selection, SyncedPlatform
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue


class Identified(Protocol):
    """A record with an id of its own within the org."""

    @property
    def id(self) -> str:
        """Its id."""


Record = TypeVar("Record", bound=Identified)


@dataclass(frozen=True, slots=True)
class DailyNumbers:
    """A panel, and what is known of it.

    Attributes:
        panel: Every day of the selection that has numbers before and after it, once.
        quality_score: Lowest of the rows behind it, 0 to 1.
        sha256: Of its numbers, in hex.
        write_token: State of the store that it was read from; empty on the module's own.
        currency_code: Of all money.
    """

    panel: Panel
    quality_score: float
    sha256: str
    write_token: str
    currency_code: str


@dataclass(frozen=True, slots=True)
class UnitDays:
    """Outcome of units, day by day; a unit is a campaign.

    Attributes:
        units: Campaign ids, in order of the rows.
        platforms: Of each unit.
        accounts: Of each unit.
        days: First day of the columns.
        outcome: Units by days.
        spend: Units by days, in the currency.
        clicks: Units by days.
    """

    units: tuple[str, ...]
    platforms: tuple[str, ...]
    accounts: tuple[str, ...]
    days: DayRange
    outcome: Floats
    spend: Floats
    clicks: Floats


class PerformanceReader(Protocol):
    """Daily numbers of an org."""

    async def daily(self, org: str, selection: Selection, series: Sequence[str]) -> DailyNumbers:
        """Return spend by channel, outcomes and outside series.

        Raises:
            DataInsufficientError: There is none for these days.
            FilterError: The selection's filter cannot be read.
            RateMissingError: A currency cannot be converted.
        """

    async def units(
        self, org: str, days: DayRange, *, where: Filter | None, outcome: Outcome
    ) -> UnitDays:
        """Return each campaign's outcome, day by day; 0 on days without a row."""

    async def version(self, org: str) -> str:
        """Return what changes whenever an answer may."""

    async def last_day(self, org: str) -> date | None:
        """Return the newest day that has numbers; None where no day has."""


class Records(Protocol, Generic[Record]):
    """One kind of records of an org."""

    async def get(self, org: str, record_id: str) -> Record | None:
        """Return a record; None where there is none."""

    async def add(self, org: str, record: Record) -> Record:
        """Keep a new record.

        Raises:
            AlreadyExistsError: Its id is taken.
        """

    async def change(self, org: str, record_id: str, change: Callable[[Record], Record]) -> Record:
        """Keep what `change` makes of a record, in one step.

        Raises:
            NotFoundError: There is none.
        """

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[Record], JsonValue]:
        """Return a page, and the cursor of the next one; None at the end."""


class Configurations(Protocol):
    """The configuration of each org."""

    async def get(self, org: str) -> Configuration | None:
        """Return it; None where none was stored."""

    async def change(
        self, org: str, change: Callable[[Configuration | None], Configuration]
    ) -> Configuration:
        """Keep what `change` makes of it, in one step."""


class PlatformPuller(Protocol):
    """Brings the numbers of platforms into the store that the module reads."""

    @property
    def platforms(self) -> Sequence[str]:
        """Which it can read."""

    async def pull(self, org: str, platform: str, days: DayRange) -> SyncedPlatform:
        """Read a platform's days and keep them; a failure is told, not raised."""


class AnswerCache(Protocol):
    """Answers, kept for a while; an outage is a miss."""

    async def get(self, key: str) -> bytes | None:
        """Return an answer; None where there is none."""

    async def put(self, key: str, answer: bytes, *, seconds: float) -> None:
        """Keep an answer."""
