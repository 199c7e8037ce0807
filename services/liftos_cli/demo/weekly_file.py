"""The public weekly data set, read exactly and rounded to what entries hold."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from importlib import resources
from typing import Final

DATE_COLUMN: Final = "DATE"
EVENTS_COLUMN: Final = "events"
NUMBER_COLUMNS: Final = (
    "revenue",
    "tv_S",
    "ooh_S",
    "print_S",
    "facebook_I",
    "search_clicks_P",
    "search_S",
    "competitor_sales_B",
    "facebook_S",
    "newsletter",
)
"""Columns that hold numbers; all are 0 or more in every week."""

_FILE: Final = "dt_simulated_weekly.csv"
_NO_EVENT: Final = "na"
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_WEEK: Final = timedelta(days=7)


class WeeklyFileError(ValueError):
    """The file is not what it should be.

    Attributes:
        line: Where, from 1; the header is line 1.
        reason: What was found and what is expected.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class WeeklyFile:
    """The file's numbers, exactly as they are written.

    Attributes:
        weeks: The Monday of each week, one after the other without a gap.
        columns: One value a week by column; `events` is 1 in a week with an event, else 0.
    """

    weeks: tuple[date, ...]
    columns: Mapping[str, tuple[Decimal, ...]]


@dataclass(frozen=True, slots=True)
class Residual:
    """What rounding took from a column: the file's value less the rounded one, in its own unit.

    Attributes:
        largest: The largest of the weeks', without its sign.
        total: The sum over all weeks.
    """

    largest: Decimal
    total: Decimal


def read_weekly_file() -> WeeklyFile:
    """Read the copy that comes with this package."""
    file = resources.files("liftos_cli.demo").joinpath("data", _FILE)
    return parse_weekly_file(file.read_text(encoding="utf-8"))


def parse_weekly_file(text: str) -> WeeklyFile:
    """Read the text of the file.

    Raises:
        WeeklyFileError: A column is missing, a number is none or negative, or the weeks do not
            begin on Mondays, one after the other.
    """
    lines = list(csv.reader(text.splitlines()))
    expected = {DATE_COLUMN, EVENTS_COLUMN, *NUMBER_COLUMNS}
    names = lines[0] if lines else []
    if len(names) != len(expected) or set(names) != expected:
        raise WeeklyFileError(1, f"the columns are {', '.join(names)}, not {sorted(expected)}")
    weeks: list[date] = []
    columns: dict[str, list[Decimal]] = {name: [] for name in (*NUMBER_COLUMNS, EVENTS_COLUMN)}
    for number, values in enumerate(lines[1:], start=2):
        if len(values) != len(names):
            raise WeeklyFileError(number, f"it has {len(values)} values, the header {len(names)}")
        row = dict(zip(names, values, strict=True))
        weeks.append(_monday(row[DATE_COLUMN], after=weeks[-1] if weeks else None, line=number))
        for name in NUMBER_COLUMNS:
            columns[name].append(_number(row[name], name, line=number))
        columns[EVENTS_COLUMN].append(Decimal(row[EVENTS_COLUMN] != _NO_EVENT))
    if not weeks:
        raise WeeklyFileError(2, "there are no weeks")
    return WeeklyFile(tuple(weeks), {name: tuple(values) for name, values in columns.items()})


def round_half_even(values: Sequence[Decimal], *, scale: int) -> tuple[int, ...]:
    """Return values times `scale` as whole numbers, halves to the even one."""
    return tuple(
        int((value * scale).to_integral_value(rounding=ROUND_HALF_EVEN)) for value in values
    )


def residual(values: Sequence[Decimal], rounded: Sequence[int], *, scale: int) -> Residual:
    """Return what `round_half_even` took from values."""
    rests = [value - Decimal(whole) / scale for value, whole in zip(values, rounded, strict=True)]
    return Residual(
        largest=max((abs(rest) for rest in rests), default=Decimal(0)),
        total=sum(rests, Decimal(0)),
    )


def _monday(text: str, *, after: date | None, line: int) -> date:
    try:
        if _DAY.fullmatch(text) is None:
            raise ValueError(text)
        day = date.fromisoformat(text)
    except ValueError:
        raise WeeklyFileError(line, f"{text!r} is no date; expected YYYY-MM-DD") from None
    if day.weekday() != 0:
        raise WeeklyFileError(line, f"{day} is no Monday")
    if after is not None and day != after + _WEEK:
        raise WeeklyFileError(line, f"{day} follows {after}; expected {after + _WEEK}")
    return day


def _number(text: str, name: str, *, line: int) -> Decimal:
    if _NUMBER.fullmatch(text) is None:
        raise WeeklyFileError(line, f"{name} is {text!r}; expected a number, 0 or more")
    return Decimal(text)
