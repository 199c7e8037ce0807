"""Ranges of days of the contract, checked."""

from datetime import date

from liftos.common.v1.marketing_pb2 import DateRange
from liftos_kit.core.errors import InvalidFieldsError


def ends_of(message: DateRange, *, field: str = "date_range") -> tuple[date, date]:
    """Return the first and the last day of a range.

    Raises:
        InvalidFieldsError: An end is no day, or it ends before it begins.
    """
    start = _day(message.start_date, field=f"{field}.start_date")
    end = _day(message.end_date, field=f"{field}.end_date")
    if end < start:
        raise InvalidFieldsError.of(
            f"{field}.end_date", "must not be before start_date", rule="date_range.order"
        )
    return start, end


def _day(text: str, *, field: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidFieldsError.of(
            field, f"{text} is no day of the calendar", rule="day"
        ) from None
