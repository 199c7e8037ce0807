"""Controls and events that the calendar gives to a panel."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from liftos_kit.core.errors import InvalidFieldsError
from liftos_memory.domain.calendar import (
    PLATFORM_BREAKS,
    CalendarDay,
    CalendarEvent,
    calendar_days,
    check_region_codes,
)
from liftos_memory.domain.causal_panel import Control, Panel, short_name, unique_name
from liftos_memory.domain.dataset_request import Step

REGION_UNITS: Final = ("country", "region")
"""Breakdowns whose values are regions of the calendar, such as DE or US-CA."""


@dataclass(frozen=True, slots=True)
class PanelCalendar:
    """What the calendar says of a panel.

    Attributes:
        controls: Counts of days in each step.
        events: Events and breaks that touch the steps, by first day and name; with who tells of
            each, "own" or "platform".
        holidays: Day, name and region of public holidays.
        regions: Whose holidays are counted, by unit.
    """

    controls: tuple[Control, ...]
    events: tuple[tuple[CalendarEvent, str], ...]
    holidays: tuple[tuple[date, str, str], ...]
    regions: Mapping[str, tuple[str, ...]]


def calendar_of(
    panel: Panel,
    *,
    unit: str,
    region_codes: Sequence[str],
    events: Sequence[CalendarEvent],
    taken: set[str],
) -> PanelCalendar:
    """Return controls and events of a panel's steps.

    Each own event is a control, those of one name together; a break changes what numbers mean, so
    it is listed and counted nowhere.

    Args:
        panel: The panel.
        unit: What a unit is.
        region_codes: The org's own regions; a unit that is a region has its own.
        events: The org's own events.
        taken: Names of columns that are taken; grows.
    """
    start, end = panel.steps[0].start, panel.steps[-1].end
    regions = {
        name: (name,) if unit in REGION_UNITS and _is_region(name) else tuple(region_codes)
        for name in panel.units
    }
    days = {codes: calendar_days(start, end, region_codes=codes) for codes in set(regions.values())}
    counts = _Counts(panel.steps)

    def by_unit(is_counted: Callable[[CalendarDay], bool]) -> npt.NDArray[np.float64]:
        of = {codes: counts.of([is_counted(day) for day in here]) for codes, here in days.items()}
        return np.array([of[regions[name]] for name in panel.units])

    controls = [
        Control(
            unique_name("holidays", taken),
            "days with a public holiday",
            by_unit(lambda day: bool(day.holidays)),
        ),
        Control(
            unique_name("retail_events", taken),
            "days with a retail event",
            by_unit(lambda day: bool(day.retail_events)),
        ),
    ]
    touching = [
        (event, teller)
        for teller, known in (("platform", PLATFORM_BREAKS), ("own", events))
        for event in known
        if event.start <= end and event.end >= start
    ]
    own = [event for event, teller in touching if teller == "own" and not event.structural_break]
    every_day = [day.date for day in next(iter(days.values()))]
    for name in sorted({event.name for event in own}):
        called = [event for event in own if event.name == name]
        flags = [any(event.start <= day <= event.end for event in called) for day in every_day]
        controls.append(
            Control(
                unique_name(short_name(f"event_{name}"), taken),
                f"days of {name}",
                np.tile(counts.of(flags), (len(panel.units), 1)),
            )
        )
    holidays = {
        (day.date, holiday.name, holiday.region_code)
        for here in days.values()
        for day in here
        for holiday in day.holidays
    }
    return PanelCalendar(
        controls=tuple(controls),
        events=tuple(sorted(touching, key=lambda it: (it[0].start, it[0].name, it[1]))),
        holidays=tuple(sorted(holidays)),
        regions=regions,
    )


def _is_region(name: str) -> bool:
    try:
        check_region_codes([name])
    except InvalidFieldsError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts days by step."""

    steps: Sequence[Step]

    def of(self, flags: Sequence[bool]) -> npt.NDArray[np.float64]:
        first = self.steps[0].start
        begins = [(step.start - first).days for step in self.steps]
        found: npt.NDArray[np.float64] = np.add.reduceat(np.array(flags, np.float64), begins)
        return found
