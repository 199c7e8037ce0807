"""Lengths of time, both ways."""

from datetime import timedelta
from typing import overload

from google.protobuf.duration_pb2 import Duration


@overload
def duration(length: timedelta) -> Duration: ...
@overload
def duration(length: timedelta | None) -> Duration | None: ...
def duration(length: timedelta | None) -> Duration | None:
    """Return the message of a length; None, which leaves a field unset, for none."""
    if length is None:
        return None
    message = Duration()
    message.FromTimedelta(length)
    return message


def seconds(length: float) -> Duration:
    """Return the message of a number of seconds."""
    return duration(timedelta(seconds=length))
