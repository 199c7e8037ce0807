"""What an organisation chooses for itself, and where it is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from liftos_memory.domain.calendar import CalendarEvent, Hemisphere


@dataclass(frozen=True, slots=True)
class OrgSettings:
    """Choices that decide how an org's data is read; made without arguments, the defaults.

    Attributes:
        fiscal_start_month: First month of the fiscal year, 1 to 12.
        hemisphere: Decides the season.
        base_currency_code: ISO 4217 code against which exchange rates are given.
        region_codes: Countries and subdivisions whose holidays the calendar carries.
        revision: Rises with each change; 0 where nothing was ever stored.
        update_time: Of the last change; None where there was none.
    """

    fiscal_start_month: int = 1
    hemisphere: Hemisphere = Hemisphere.NORTHERN
    base_currency_code: str = "USD"
    region_codes: tuple[str, ...] = ("US",)
    revision: int = 0
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """New values of some settings.

    Attributes:
        fields: Names of the settings that change.
        values: Their new values; of all other settings it says nothing.
        revision: What the writer had read; None overwrites whatever is there.
    """

    fields: frozenset[str]
    values: OrgSettings
    revision: int | None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of the org's own as it is kept."""

    event_id: str
    event: CalendarEvent
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class StoredSource:
    """A source of the org's own as it is kept; `mapping` is None where none was given."""

    source: str
    display_name: str
    mapping: Mapping[str, object] | None
    create_time: datetime
    update_time: datetime


class OrgStore(Protocol):
    """Settings, events and sources of orgs. Every write is one commit of the org.

    Writes raise FenceClosedError where all writes of the org are closed.
    """

    async def settings(self, org: str) -> OrgSettings:
        """Return the settings, defaults where none were stored."""

    async def settings_and_events(self, org: str) -> tuple[OrgSettings, Sequence[CalendarEvent]]:
        """Return the settings and all events, by first day and id, from one state."""

    async def change_settings(
        self, org: str, change: Callable[[OrgSettings], OrgSettings]
    ) -> OrgSettings:
        """Store what `change` makes of the settings of now; nothing comes in between.

        Raises:
            StateTransitionError: The base currency changes and there are exchange rates.
        """

    async def upsert_event(
        self, org: str, event_id: str, event: CalendarEvent, *, maximum_events: int
    ) -> StoredEvent | None:
        """Add or replace an event; None where the org has so many already."""

    async def list_events(
        self,
        org: str,
        *,
        days: tuple[date, date] | None,
        after: tuple[date, str] | None,
        limit: int,
    ) -> Sequence[StoredEvent]:
        """Return events by first day and id.

        Args:
            org: The org.
            days: Only events that touch days from the first to the last.
            after: First day and id of the event to go on after.
            limit: At most this many.
        """

    async def delete_event(self, org: str, event_id: str) -> None:
        """Remove an event.

        Raises:
            NotFoundError: There is none.
        """

    async def upsert_source(
        self, org: str, source: str, display_name: str, mapping: Mapping[str, object] | None
    ) -> StoredSource:
        """Add or change a source."""

    async def find_source(self, org: str, source: str) -> StoredSource | None:
        """Return a source of the org's own; None where it has none of this id."""

    async def list_sources(self, org: str, *, after: str, limit: int) -> Sequence[StoredSource]:
        """Return the org's own sources by id, from behind `after` on."""
