"""Entries: typed messages to columns, stored rows to messages."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import pyarrow as pa
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

from liftos.common.v1 import error_reason_pb2, marketing_pb2
from liftos.memory.v1 import entry_pb2
from liftos_kit.core.names import Pattern
from liftos_mapping.entry_fields import (
    ADDITIVE_METRICS,
    DATE_BASES,
    ENTRY_FIELDS,
    GRAIN_METRICS,
    LEVELS,
    FieldKind,
)
from liftos_mapping.entry_id import format_entry_id
from liftos_memory.domain.derived_metrics import derive
from liftos_memory.domain.quality import (
    IssueSeverity,
    QualityIssue,
    QualityPart,
    quality_from_text,
)
from liftos_memory.ports import Row

ENTRY_NAME: Final = Pattern("orgs/{org}/entries/{entry}")
SLICE_NAME: Final = Pattern("orgs/{org}/slices/{slice}")

_INVALID_ARGUMENT: Final = 3
_LEVEL_WORDS: Final = {0: "", **dict(enumerate(LEVELS, 1))}
_BASIS_WORDS: Final = {0: "", **dict(enumerate(DATE_BASES, 1))}
_TYPES: Final = {field.name: field.type for field in ENTRY_FIELDS} | {"date": pa.string()}
_REQUIRED: Final = ("platform", "account_id")
_TEXTS: Final = tuple(
    field.name
    for field in ENTRY_FIELDS
    if field.kind in (FieldKind.KEY, FieldKind.ATTRIBUTE)
    and field.name not in ("date", "level", "date_basis", "currency_code")
)
_PARTS: Final = {part: number for number, part in enumerate(QualityPart, 1)}
_SEVERITIES: Final = {severity: number for number, severity in enumerate(IssueSeverity, 1)}


def batch_of_entries(entries: Sequence[entry_pb2.Entry]) -> pa.RecordBatch:
    """Return the columns of typed rows; columns that no row has are left out.

    A field without presence that is at its default counts as unset. Output-only fields are left
    alone: writers may send back what they read.
    """
    # A list keeps what Python sees of each message; the field would make it anew for each column.
    entries = list(entries)
    columns: dict[str, list[Any]] = {
        "date": [entry.date for entry in entries],
        "level": _words_of([entry.level for entry in entries], _LEVEL_WORDS),
        "date_basis": _words_of([entry.date_basis for entry in entries], _BASIS_WORDS),
        "final": [entry.final for entry in entries],
    }
    # By column rather than by row: an attribute in a comprehension costs a third of anything else.
    for name in _TEXTS:
        read = attrgetter(name)
        texts = list(map(read, entries))
        if name in _REQUIRED or any(texts):
            columns[name] = texts
    metrics = [entry.metrics for entry in entries]
    columns["currency_code"] = [each.currency_code for each in metrics]
    columns |= _set_numbers(metrics, ADDITIVE_METRICS)
    if any(entry.HasField("grain_metrics") for entry in entries):
        columns |= _set_numbers([entry.grain_metrics for entry in entries], GRAIN_METRICS)
    if any(entry.actions for entry in entries):
        columns["actions"] = [
            [_action(action) for action in entry.actions] or None for entry in entries
        ]
    return pa.RecordBatch.from_arrays(
        [pa.array(values, _TYPES[name]) for name, values in columns.items()], list(columns)
    )


def _words_of(numbers: Sequence[int], words: Mapping[int, str]) -> list[str]:
    """Return the words of enum numbers; a number without one stays, for the row's error."""
    return [words[number] if number in words else str(number) for number in numbers]


def _set_numbers(
    messages: Sequence[entry_pb2.Metrics] | Sequence[entry_pb2.GrainMetrics],
    names: Collection[str],
) -> dict[str, list[Any]]:
    """Return the columns of numbers with presence that any message has; unset is None."""
    columns: dict[FieldDescriptor, list[Any]] = {}
    for index, message in enumerate(messages):
        for field, value in message.ListFields():
            column = columns.get(field)
            if column is None:
                column = columns[field] = [None] * len(messages)
            column[index] = value
    return {field.name: column for field, column in columns.items() if field.name in names}


def _action(action: entry_pb2.ActionCount) -> dict[str, Any]:
    return {
        "action_type": action.action_type,
        "window": action.window,
        "count_micros": action.count_micros if action.HasField("count_micros") else None,
        "value_micros": action.value_micros if action.HasField("value_micros") else None,
    }


def entry_of_row(org: str, row: Row) -> entry_pb2.Entry:
    """Return the message of a stored row, without its calendar day."""
    entry = entry_of_content(org, row)
    entry.origin = row["origin"]
    entry.etag = f"{row['tx']:x}"
    _fill_timestamp(entry.create_time, row["create_time"])
    _fill_timestamp(entry.update_time, row["update_time"])
    if row["slice"] is not None:
        entry.slice = f"orgs/{org}/slices/{row['slice'].hex}"
    return entry


def entry_of_content(org: str, row: Row) -> entry_pb2.Entry:
    """Return the message of what a writer gave and what follows from it.

    Args:
        org: The org.
        row: Columns of the field table, `entry_key` and `quality_issues`, as the database has them.
    """
    entry = entry_pb2.Entry(
        name=f"orgs/{org}/entries/{format_entry_id(row['date'], row['entry_key'])}",
        date=row["date"].isoformat(),
        level=row["level"],
        date_basis=row["date_basis"],
        final=row["final"],
        quality=quality_message(row["quality_issues"]),
    )
    for name in _TEXTS:
        text = row[name]
        if text:
            setattr(entry, name, text)
    fill_metrics(entry.metrics, entry.derived_metrics, row)
    for name in GRAIN_METRICS:
        if row[name] is not None:
            setattr(entry.grain_metrics, name, row[name])
    if row["actions"] is not None:
        entry.actions.extend(entry_pb2.ActionCount(**action) for action in row["actions"])
    return entry


def fill_metrics(metrics: entry_pb2.Metrics, derived: entry_pb2.DerivedMetrics, row: Row) -> None:
    """Set the additive metrics of a row, and the ratios of them."""
    metrics.currency_code = row["currency_code"] or ""
    for name in ADDITIVE_METRICS:
        value = row[name]
        if value is not None:
            setattr(metrics, name, value)
    for name, ratio in derive(row).items():
        if ratio is not None:
            setattr(derived, name, ratio)


@lru_cache(maxsize=4096)
def quality_message(issues: str | None) -> entry_pb2.Quality:
    """Return the quality that stored issues amount to; do not change what is returned."""
    quality = quality_from_text(issues)
    return entry_pb2.Quality(
        score=quality.score,
        completeness=quality.completeness,
        validity=quality.validity,
        consistency=quality.consistency,
        timeliness=quality.timeliness,
        uniqueness=quality.uniqueness,
        issues=[issue_message(issue) for issue in quality.issues],
    )


def issue_message(issue: QualityIssue) -> entry_pb2.QualityIssue:
    """Return the message of a finding."""
    return entry_pb2.QualityIssue(
        code=issue.code,
        field=issue.field,
        severity=entry_pb2.IssueSeverity.ValueType(_SEVERITIES[issue.severity]),
        cost=issue.cost,
        part=entry_pb2.QualityPart.ValueType(_PARTS[issue.part]),
    )


def _fill_timestamp(message: timestamp_pb2.Timestamp, time: datetime) -> None:
    since = time - _EPOCH
    message.seconds = since.days * 86_400 + since.seconds
    message.nanos = since.microseconds * 1_000


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def add_item_errors(
    target: "RepeatedCompositeFieldContainer[marketing_pb2.ItemError]", errors: Iterable[Any]
) -> None:
    """Append row errors (index, field, code, message) of a batch or of a transform."""
    reason = error_reason_pb2.ErrorReason.Name(error_reason_pb2.ERROR_REASON_FIELD_INVALID)
    for error in errors:
        target.add(
            index=error.index,
            code=_INVALID_ARGUMENT,
            reason=reason,
            field=error.field,
            message=error.message,
            rule=str(error.code),
        )
