"""Slices and their lineage, both ways."""

from datetime import UTC, date
from typing import Final

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2, slice_pb2
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.structs import timestamp
from liftos_mapping.date_bases import default_date_basis
from liftos_memory.domain.slices import Lineage, SliceScope
from liftos_memory.ports import StoredSlice


def day_of(text: str, *, field: str) -> date:
    """Return the day of a text that has the form of one.

    Raises:
        InvalidFieldsError: There is no such day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidFieldsError.of(
            field, f"{text} is no day of the calendar", rule="day"
        ) from None


def days_of(
    message: marketing_pb2.DateRange, *, field: str, maximum_days: int
) -> tuple[date, date]:
    """Return both ends of a range.

    Raises:
        InvalidFieldsError: An end is no day, or the range is too long.
    """
    start = day_of(message.start_date, field=f"{field}.start_date")
    end = day_of(message.end_date, field=f"{field}.end_date")
    days = (end - start).days + 1
    if days > maximum_days:
        raise InvalidFieldsError.of(
            field, f"has {days} days; ask for at most {maximum_days}", rule="date_range.days"
        )
    return start, end


def date_range(start: date, end: date) -> marketing_pb2.DateRange:
    """Return the message of a range."""
    return marketing_pb2.DateRange(start_date=start.isoformat(), end_date=end.isoformat())


_MAXIMUM_SLICE_DAYS: Final = 400


def scope_of(message: slice_pb2.SliceScope) -> SliceScope:
    """Return a slice's scope; an unspecified date basis becomes the platform's own."""
    start, end = days_of(
        message.date_range, field="open_slice.scope.date_range", maximum_days=_MAXIMUM_SLICE_DAYS
    )
    return SliceScope(
        platform=message.platform,
        account_id=message.account_id,
        level=message.level,
        start_date=start,
        end_date=end,
        attribution_key=message.attribution_key,
        date_basis=message.date_basis or default_date_basis(message.platform, message.level),
    )


def lineage_of(message: slice_pb2.Lineage) -> Lineage:
    """Return where a slice's rows come from."""
    return Lineage(
        source=message.source,
        api_version=message.api_version,
        request_id=message.request_id,
        query_hash=message.query_hash,
        fetch_time=message.fetch_time.ToDatetime(UTC) if message.HasField("fetch_time") else None,
    )


def slice_message(org: str, stored: StoredSlice) -> slice_pb2.Slice:
    """Return the message of a slice, without its raw answer."""
    scope, lineage = stored.scope, stored.lineage
    return slice_pb2.Slice(
        name=f"orgs/{org}/slices/{stored.slice.hex}",
        scope=slice_pb2.SliceScope(
            platform=scope.platform,
            account_id=scope.account_id,
            level=entry_pb2.EntryLevel.ValueType(scope.level),
            date_range=date_range(scope.start_date, scope.end_date),
            attribution_key=scope.attribution_key,
            date_basis=entry_pb2.DateBasis.ValueType(scope.date_basis),
        ),
        lineage=slice_pb2.Lineage(
            source=lineage.source,
            api_version=lineage.api_version,
            request_id=lineage.request_id,
            query_hash=lineage.query_hash,
            fetch_time=timestamp(lineage.fetch_time),
        ),
        state=slice_pb2.SliceState.ValueType(stored.state),
        row_count=stored.counts.rows,
        inserted_count=stored.counts.inserted,
        restated_count=stored.counts.restated,
        settled_count=stored.counts.settled,
        vanished_count=stored.counts.vanished,
        raw_size_bytes=stored.raw_size_bytes,
        origin=stored.origin,
        create_time=timestamp(stored.create_time),
        end_time=timestamp(stored.end_time),
    )
