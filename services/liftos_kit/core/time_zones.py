"""Names of time zones."""

from functools import cache
from zoneinfo import available_timezones


def is_time_zone(name: str) -> bool:
    """Whether the IANA database has a zone of this name, as it is spelled there."""
    return name in _names()


def time_zone_problem(name: str) -> str:
    """What is wrong with the name of a time zone; nothing where it can be used."""
    if is_time_zone(name):
        return ""
    return f"{name!r} is not the IANA name of a time zone, such as Europe/Berlin"


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones())
