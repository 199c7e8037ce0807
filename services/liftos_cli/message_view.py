"""Messages as people read them: one line for each field that is set."""

import json
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from liftos.common.v1.marketing_pb2 import DateRange, Progress
from liftos.ingestion.v1.connection_pb2 import CredentialInfo
from liftos.ingestion.v1.run_pb2 import RunError, Wait
from liftos_cli.figures import cell, enum_word_of, length
from liftos_cli.output import Column, as_json, print_table


def print_fields(
    message: Message,
    *,
    without: Collection[str] = (),
    texts: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Print the fields of a message that are set as a table.

    Args:
        message: What to print.
        without: Fields that are shown elsewhere.
        texts: What some fields say.
    """
    rows = [
        (field.name, texts.get(field.name) or field_text(message, field))
        for field, _ in message.ListFields()
        if field.name not in without
    ]
    print_table([Column("field"), Column("value")], rows)


def field_text(message: Message, field: FieldDescriptor) -> str:
    """Return a field as text, in one line."""
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return json.dumps(dict(value), ensure_ascii=False)
    if field.is_repeated:
        return ", ".join(_element_text(field, each) for each in value)
    if field.message_type is not None:
        return _message_text(value)
    return cell(message, field.name)


def days_text(days: DateRange) -> str:
    """Return a range of days: 2026-06-01 to 2026-06-30."""
    start, end = days.start_date, days.end_date
    return start if start == end else f"{start} to {end}"


def time_text(message: Message, name: str) -> str:
    """Return a time to the second; empty where it is unset."""
    time: Timestamp = getattr(message, name)
    if not message.HasField(name):
        return ""
    return time.ToDatetime().isoformat(timespec="seconds") + "Z"


def progress_text(progress: Progress) -> str:
    """Return how much is done of how much: 12 of 14."""
    return f"{done_count(progress):,} of {progress.total_count:,}"


def done_count(progress: Progress) -> int:
    """Return how many items need no more work."""
    return progress.succeeded_count + progress.failed_count + progress.skipped_count


def _credential_text(credential: CredentialInfo) -> str:
    names = ", ".join(credential.field_names)
    where = f" at {credential.reference}" if credential.reference else ""
    parts = [f"{enum_word_of(credential, 'kind')}{where}" + (f" ({names})" if names else "")]
    if credential.key_id:
        parts.append(f"encrypted with the key {credential.key_id}")
    if credential.HasField("expire_time"):
        parts.append(f"ends {time_text(credential, 'expire_time')}")
    if credential.granted_scopes:
        parts.append(f"may {', '.join(credential.granted_scopes)}")
    if credential.HasField("update_time"):
        parts.append(f"set {time_text(credential, 'update_time')}")
    return ", ".join(parts)


def _element_text(field: FieldDescriptor, value: Any) -> str:  # noqa: ANN401  # any field's
    if isinstance(value, Message):
        return _message_text(value)
    if field.enum_type is not None:
        names = field.enum_type.values_by_number
        prefix = names[0].name.removesuffix("UNSPECIFIED")
        return names[value].name.removeprefix(prefix) if value in names else str(value)
    return str(value)


def _message_text(message: Message) -> str:  # noqa: PLR0911  # one return for each message
    match message:
        case DateRange():
            return days_text(message)
        case Progress():
            return progress_text(message)
        case RunError():
            return f"{enum_word_of(message, 'error_class')}: {message.message}"
        case Wait():
            until = time_text(message, "resume_time")
            parts = (message.detail, f"until {until}" if until else "")
            return f"{enum_word_of(message, 'reason')}: {', '.join(filter(None, parts))}"
        case CredentialInfo():
            return _credential_text(message)
        case Timestamp():
            return message.ToJsonString()
        case Duration():
            return length(message)
        case _:
            return json.dumps(as_json(message), ensure_ascii=False)
