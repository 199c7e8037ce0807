"""When schedules fire: cron in a time zone, through its changes of the clock."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter

CATCHUP: Final = timedelta(hours=1)
"""How late a missed run may still start where a schedule does not say."""


def zone_problem(time_zone: str) -> str | None:
    """Say what is wrong with the name of a time zone; None where nothing is."""
    try:
        ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):
        return 'is no zone of the IANA database; write it as "Europe/Berlin"'
    return None


def fire_times(cron: str, time_zone: str, *, after: datetime) -> Iterator[datetime]:
    """Yield the moments after one at which a schedule fires, in UTC.

    A local time that the clock leaves out fires at the next minute that there is; one that comes
    twice fires the first time.

    Args:
        cron: Five fields.
        time_zone: IANA name.
        after: Aware.
    """
    zone = ZoneInfo(time_zone)
    # A day earlier, so that no change of the clock hides a time.
    local = after.astimezone(zone).replace(tzinfo=None) - timedelta(days=1)
    last = after.astimezone(UTC)
    for naive in croniter(cron, local).all_next(datetime):
        fire = _moment(naive, zone)
        if fire > last:
            last = fire
            yield fire


def due_fire_time(
    cron: str, time_zone: str, *, after: datetime, now: datetime, catchup: timedelta
) -> datetime | None:
    """Return the newest moment that has come and is not too late; None where there is none.

    Args:
        cron: Five fields.
        time_zone: IANA name.
        after: Moments up to this one are done with.
        now: The present.
        catchup: How late a run may start.
    """
    newest = None
    for fire in fire_times(cron, time_zone, after=max(after, now - catchup)):
        if fire > now:
            break
        newest = fire
    return newest


def _moment(naive: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment of a local time; for one that is left out, that of the end of the gap."""
    moment = naive.replace(tzinfo=zone).astimezone(UTC)
    back = moment.astimezone(zone).replace(tzinfo=None)
    if back == naive:
        return moment
    return _end_of_gap(moment, zone)


def _end_of_gap(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clock was last put forward before a moment, at most a day ago."""
    offset = moment.astimezone(zone).utcoffset()
    low, high = moment - timedelta(days=1), moment
    # Clocks change at whole minutes.
    while high - low > timedelta(minutes=1):
        middle = low + timedelta(minutes=(high - low) // timedelta(minutes=2))
        if middle.astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return high
