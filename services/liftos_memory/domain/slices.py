"""Slices: one answer of a platform, which replaces its scope as a whole."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from liftos_mapping.entry_fields import DATE_BASES, LEVELS
from liftos_memory.domain.entry_rules import RowError, RowErrorCode

MAXIMUM_DAYS: Final = 400


class SliceState(IntEnum):
    """Where a slice is; the numbers are the contract's."""

    OPEN = 1
    COMMITTED = 2
    ABORTED = 3


@dataclass(frozen=True, slots=True)
class SliceScope:
    """Which entries a slice replaces. `level` and `date_basis` are numbers of the contract."""

    platform: str
    account_id: str
    level: int
    start_date: date
    end_date: date
    attribution_key: str
    date_basis: int


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where the rows of a slice come from."""

    source: str = ""
    api_version: str = ""
    request_id: str = ""
    query_hash: str = ""
    fetch_time: datetime | None = None


def split_by_scope(
    rows: pa.Table, scope: SliceScope, row_indexes: pa.Array
) -> tuple[pa.Table, pa.Array, list[RowError]]:
    """Divide rows by a scope.

    Returns the rows inside, their places in the batch, and an error for each other row.

    Args:
        rows: Checked rows.
        scope: The open slice.
        row_indexes: Place of each row in the batch as it was sent.
    """
    expected = {
        "platform": scope.platform,
        "account_id": scope.account_id,
        "level": LEVELS[scope.level - 1],
        "attribution_key": scope.attribution_key,
        "date_basis": DATE_BASES[scope.date_basis - 1],
    }
    fits = {name: pc.equal(rows[name], value) for name, value in expected.items()}
    fits["date"] = pc.and_(
        pc.greater_equal(rows["date"], scope.start_date),
        pc.less_equal(rows["date"], scope.end_date),
    )
    inside = fits["date"]
    for name in expected:
        inside = pc.and_(inside, fits[name])
    if pc.all(inside).as_py() or rows.num_rows == 0:
        return rows, row_indexes, []
    errors = []
    for position in pc.indices_nonzero(pc.invert(inside)).to_pylist():
        field = next(name for name in fits if not fits[name][position].as_py())
        found = rows[field][position].as_py()
        allowed = expected.get(field, f"{scope.start_date} to {scope.end_date}")
        errors.append(
            RowError(
                index=row_indexes[position].as_py(),
                field=field,
                code=RowErrorCode.OUTSIDE_SLICE,
                message=f"{field} is {found!s:.80}, and the open slice holds {allowed} only",
            )
        )
    return rows.filter(inside), row_indexes.filter(inside.combine_chunks()), errors
