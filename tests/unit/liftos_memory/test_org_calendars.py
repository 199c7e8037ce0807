"""Calendars of orgs are read together, kept for a while and forgotten after a write."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import pytest

from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.testing.clock import FakeClock
from liftos_memory.domain.calendar import CalendarEvent
from liftos_memory.org_ports import OrgSettings
from liftos_memory.usecases.calendar import MAXIMUM_AGE_SECONDS, OrgCalendars

SALE = CalendarEvent("Sale", date(2026, 1, 5), date(2026, 1, 6))


@dataclass
class Store:
    """Settings and events in memory; a read waits for its gate."""

    events: list[CalendarEvent] = field(default_factory=list)
    reads: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def settings_and_events(self, org: str) -> tuple[OrgSettings, Sequence[CalendarEvent]]:
        """Take what is there now, and hand it out when the gate opens."""
        del org
        self.reads += 1
        self.begun.set()
        found = list(self.events)
        await self.gate.wait()
        if self.fails:
            raise StoreUnavailableError("postgres")
        return OrgSettings(), found


@pytest.fixture
def store() -> Store:
    """A store whose gate is open."""
    opened = Store()
    opened.gate.set()
    return opened


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still."""
    return FakeClock()


@pytest.fixture
def calendars(store: Store, clock: FakeClock) -> OrgCalendars:
    """Calendars over the store."""
    return OrgCalendars(store, monotonic_seconds=clock.monotonic_seconds)  # type: ignore[arg-type]


async def test_a_calendar_is_kept_no_longer_than_documented(
    calendars: OrgCalendars, store: Store, clock: FakeClock
) -> None:
    """It is read again after its time, and stays the same object while nothing changed."""
    first = await calendars.get("acme")
    await clock.advance(MAXIMUM_AGE_SECONDS - 0.01)
    assert await calendars.get("acme") is first
    assert store.reads == 1
    await clock.advance(0.01)
    assert await calendars.get("acme") is first
    assert store.reads == 2
    store.events.append(SALE)
    await clock.advance(MAXIMUM_AGE_SECONDS)
    changed = await calendars.get("acme")
    assert changed.events == (SALE,)
    assert (await calendars.get("another")).events == (SALE,)
    assert store.reads == 4


async def test_callers_share_one_read(calendars: OrgCalendars, store: Store) -> None:
    """Callers that come together wait for one read, and outlive one that gives up."""
    store.gate.clear()
    callers = [asyncio.create_task(calendars.get("acme")) for _ in range(20)]
    await store.begun.wait()
    callers[0].cancel()
    store.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert len({id(it) for it in results[1:]}) == 1
    assert store.reads == 1


async def test_a_read_from_before_a_write_is_not_kept(
    calendars: OrgCalendars, store: Store
) -> None:
    """What was read before a write and arrives after it shows to those who waited, no longer."""
    store.gate.clear()
    before = asyncio.create_task(calendars.get("acme"))
    await store.begun.wait()
    store.events.append(SALE)
    calendars.drop("acme")
    store.begun.clear()
    after = asyncio.create_task(calendars.get("acme"))
    await store.begun.wait()
    store.gate.set()
    assert (await before).events == ()
    assert (await after).events == (SALE,)
    assert (await calendars.get("acme")).events == (SALE,)
    assert store.reads == 2


async def test_a_failed_read_is_tried_again(calendars: OrgCalendars, store: Store) -> None:
    """An outage reaches the callers of its time and nobody after."""
    store.fails = True
    with pytest.raises(StoreUnavailableError):
        await calendars.get("acme")
    store.fails = False
    assert (await calendars.get("acme")).events == ()
