"""What orgs choose for themselves, on Postgres."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Final

from asyncpg import Connection, Record

from liftos_kit import postgres
from liftos_kit.core.errors import NotFoundError, StateTransitionError
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.domain.calendar import CalendarEvent, Hemisphere
from liftos_memory.org_ports import OrgSettings, StoredEvent, StoredSource
from liftos_memory.ports import WriteContext

_SQL: Final = postgres.load_queries("liftos_memory", "sql/org.sql")
_HEMISPHERES: Final = tuple(Hemisphere)
_NO_FENCE: Final = WriteContext()


class PostgresOrgStore:
    """Settings, events and sources in Postgres; see `liftos_memory.org_ports.OrgStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def settings(self, org: str) -> OrgSettings:
        """Return the settings, defaults where none were stored."""
        async with self._database.read(org) as connection:
            return await _read_settings(connection, org)

    async def settings_and_events(self, org: str) -> tuple[OrgSettings, Sequence[CalendarEvent]]:
        """Return the settings and all events, from one state."""
        async with self._database.read(org, snapshot=True) as connection:
            settings = await _read_settings(connection, org)
            events = [_event(row) async for row in _SQL.all_events(connection, org=org)]
        return settings, events

    async def change_settings(
        self, org: str, change: Callable[[OrgSettings], OrgSettings]
    ) -> OrgSettings:
        """Store what `change` makes of the settings of now."""
        async with self._database.write(org, _NO_FENCE) as write:
            connection = write.connection
            await _SQL.claim_settings(connection, org=org, **_columns(OrgSettings()))
            before = settings_of(await _SQL.lock_settings(connection, org=org))
            after = change(before)
            if (
                after.base_currency_code != before.base_currency_code
                and await _SQL.has_exchange_rates(connection, org=org)
            ):
                raise StateTransitionError(
                    f"orgs/{org}/settings: base_currency_code",
                    state=f"the money of stored exchange rates, {before.base_currency_code}",
                    allowed_states=["without exchange rates"],
                )
            row = await _SQL.store_settings(connection, org=org, **_columns(after))
        return settings_of(row)

    async def upsert_event(
        self, org: str, event_id: str, event: CalendarEvent, *, maximum_events: int
    ) -> StoredEvent | None:
        """Add or replace an event; None where the org has so many already."""
        others = {"org": org, "event_id": event_id}
        async with self._database.read(org) as connection:
            if await _SQL.count_other_events(connection, **others) >= maximum_events:
                return None
        async with self._database.write(org, _NO_FENCE) as write:
            row = await _SQL.upsert_event(
                write.connection,
                **others,
                display_name=event.name,
                start_date=event.start,
                end_date=event.end,
                structural_break=event.structural_break,
            )
        return _stored_event(row)

    async def list_events(
        self,
        org: str,
        *,
        days: tuple[date, date] | None,
        after: tuple[date, str] | None,
        limit: int,
    ) -> Sequence[StoredEvent]:
        """Return events by first day and id."""
        first_day, last_day = days or (date.min, date.max)
        after_start, after_id = after or (date.min, "")
        async with self._database.read(org) as connection:
            return [
                _stored_event(row)
                async for row in _SQL.list_events(
                    connection,
                    org=org,
                    first_day=first_day,
                    last_day=last_day,
                    after_start=after_start,
                    after_id=after_id,
                    limit=limit,
                )
            ]

    async def delete_event(self, org: str, event_id: str) -> None:
        """Remove an event."""
        async with self._database.write(org, _NO_FENCE) as write:
            tag: str = await _SQL.delete_event(write.connection, org=org, event_id=event_id)
            if tag == "DELETE 0":
                # Inside the write, so that nothing becomes a commit.
                raise NotFoundError(f"orgs/{org}/calendarEvents/{event_id}")

    async def upsert_source(
        self, org: str, source: str, display_name: str, mapping: Mapping[str, object] | None
    ) -> StoredSource:
        """Add or change a source."""
        async with self._database.write(org, _NO_FENCE) as write:
            row = await _SQL.upsert_source(
                write.connection,
                org=org,
                source=source,
                display_name=display_name,
                mapping=mapping,
            )
        return StoredSource(**row)

    async def find_source(self, org: str, source: str) -> StoredSource | None:
        """Return a source of the org's own; None where it has none of this id."""
        async with self._database.read(org) as connection:
            row = await _SQL.get_source(connection, org=org, source=source)
        return None if row is None else StoredSource(**row)

    async def list_sources(self, org: str, *, after: str, limit: int) -> Sequence[StoredSource]:
        """Return the org's own sources by id, from behind `after` on."""
        async with self._database.read(org) as connection:
            return [
                StoredSource(**row)
                async for row in _SQL.list_sources(connection, org=org, after=after, limit=limit)
            ]


async def _read_settings(connection: Connection, org: str) -> OrgSettings:
    row = await _SQL.get_settings(connection, org=org)
    return OrgSettings() if row is None else settings_of(row)


def settings_of(row: Record) -> OrgSettings:
    """Return the settings that a row holds."""
    return OrgSettings(
        fiscal_start_month=row["fiscal_start_month"],
        hemisphere=_HEMISPHERES[row["hemisphere"] - 1],
        base_currency_code=row["base_currency_code"],
        region_codes=tuple(row["region_codes"]),
        revision=row["revision"],
        update_time=row["update_time"],
    )


def _columns(settings: OrgSettings) -> dict[str, object]:
    return {
        "fiscal_start_month": settings.fiscal_start_month,
        "hemisphere": _HEMISPHERES.index(settings.hemisphere) + 1,
        "base_currency_code": settings.base_currency_code,
        "region_codes": list(settings.region_codes),
    }


def _event(row: Record) -> CalendarEvent:
    return CalendarEvent(
        row["display_name"], row["start_date"], row["end_date"], row["structural_break"]
    )


def _stored_event(row: Record) -> StoredEvent:
    return StoredEvent(row["event_id"], _event(row), row["create_time"], row["update_time"])
