"""Cron expressions of five fields."""

import re
from datetime import datetime
from typing import Final

from croniter import CroniterBadDateError, CroniterError, croniter

_FIELDS: Final = re.compile(r"[0-9*,/-]+( [0-9*,/-]+){4}")
_NUMBERS: Final = re.compile(r"[0-9]+")
_RANGES: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day", 1, 31),
    ("month", 1, 12),
    ("weekday", 0, 7),
)
_FAR: Final = datetime(2024, 1, 1)  # noqa: DTZ001 - local time of no zone


def cron_problem(cron: str) -> str | None:
    """Say what is wrong with a cron expression; None where nothing is."""
    if _FIELDS.fullmatch(cron) is None:
        return (
            "takes five fields of numbers, * , / and - with one space between: minute, hour, day, "
            'month and weekday (0 is Sunday), such as "15 6 * * 1-5"'
        )
    for (name, least, most), field in zip(_RANGES, cron.split(" "), strict=True):
        for number in _NUMBERS.findall(field):
            if not least <= int(number) <= most:
                return f"has {number} as {name}, which is from {least} to {most}"
    try:
        croniter(cron, _FAR).get_next(datetime)
    except CroniterBadDateError:
        return "names a day that no month has"
    except CroniterError:
        return "has a field that cannot be read"
    return None
