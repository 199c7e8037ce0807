"""Transforms of raw rows, both ways."""

from collections.abc import Sequence

import pyarrow as pa
from google.protobuf.struct_pb2 import Struct

from liftos.memory.v1 import entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.structs import plain
from liftos_mapping.entry_fields import DATE_BASES, LEVELS
from liftos_mapping.transform import TransformContext
from liftos_memory.convert.entries import entry_of_content


def raw_rows(structs: Sequence[Struct]) -> list[object]:
    """Return raw rows as Python values."""
    return [plain(struct) for struct in structs]


def context_of(message: pb.TransformContext) -> TransformContext:
    """Return what raw rows do not say themselves; empty fields say nothing."""
    return TransformContext(
        account_id=message.account_id or None,
        account_name=message.account_name or None,
        currency_code=message.currency_code or None,
        time_zone=message.time_zone or None,
        level=LEVELS[message.level - 1] if message.level else None,
        attribution_key=message.attribution_key or None,
        date_basis=DATE_BASES[message.date_basis - 1] if message.date_basis else None,
        date=message.date or None,
        date_times=tuple(message.date_times),
        conversion_actions=tuple(message.conversion_actions),
        final=message.final or None,
    )


def entries_of_rows(org: str, rows: pa.Table) -> list[entry_pb2.Entry]:
    """Return the messages of checked and scored rows that are not stored."""
    return [
        entry_of_content(
            org,
            row
            | {
                "level": LEVELS.index(row["level"]) + 1,
                "date_basis": DATE_BASES.index(row["date_basis"]) + 1,
                "final": bool(row["final"]),
            },
        )
        for row in rows.to_pylist()
    ]
