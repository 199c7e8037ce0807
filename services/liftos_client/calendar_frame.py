"""Days of the calendar as a frame."""

from collections.abc import Sequence
from typing import Final

import pandas as pd

from liftos.memory.v1.calendar_pb2 import CalendarDay
from liftos_client.message_frames import frame_of_messages

_NAMES: Final = ("retail_events", "events", "structural_breaks")


def frame_of_days(days: Sequence[CalendarDay]) -> pd.DataFrame:
    """Return one row per day: `date` and the fields of the contract's CalendarDay.

    Names of holidays and events are one text, with "; " between; missing where there is none.
    """
    frame = frame_of_messages(CalendarDay.DESCRIPTOR, days)
    holidays = pd.Series(
        ["; ".join(holiday.name for holiday in day.holidays) or None for day in days], dtype="str"
    )
    return frame.assign(
        holidays=holidays,
        **{
            name: pd.Series(["; ".join(names) or None for names in frame[name]], dtype="str")
            for name in _NAMES
        },
    )
