"""Refused rows as messages."""

from typing import Any
from uuid import UUID

from liftos.common.v1.marketing_pb2 import ItemError
from liftos.migration.v1 import verification_pb2 as pb
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.filters import parse_filter
from liftos_kit.structs import struct_of, timestamp
from liftos_migration.domain.filters import REJECT_FIELDS
from liftos_migration.domain.names import REJECT_NAME
from liftos_migration.reject_ports import Choice, StoredReject


def choice_of(request: Any, migration: str) -> Choice:  # noqa: ANN401  # both requests are alike
    """Return which rows a request means.

    Raises:
        FilterError: Its filter cannot be read.
        InvalidFieldsError: A name is of another migration.
    """
    if not request.names:
        return Choice(where=parse_filter(request.filter, REJECT_FIELDS))
    ids = []
    for index, name in enumerate(request.names):
        field = f"names[{index}]"
        parsed = REJECT_NAME.parse(name, field=field)
        if parsed["migration"] != migration:
            raise InvalidFieldsError.of(field, "is of another migration", rule="rejects.migration")
        ids.append(UUID(parsed["reject"]))
    return Choice(tuple(ids))


def reject_message(org: str, migration: str, stored: StoredReject) -> pb.Reject:
    """Return the message of a refused row."""
    return pb.Reject(
        name=REJECT_NAME.format(org=org, migration=migration, reject=stored.reject.hex),
        table=stored.table,
        key=stored.key,
        phase=stored.phase,
        row=struct_of(stored.row),
        errors=[
            ItemError(field=each.field, rule=each.rule, message=each.message)
            for each in stored.errors
        ],
        state=pb.RejectState.ValueType(stored.state),
        reason=stored.reason,
        subject=stored.subject,
        create_time=timestamp(stored.create_time),
        end_time=timestamp(stored.end_time),
    )
