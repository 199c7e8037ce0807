"""Whole tables are carried in parts that artifacts take, the same each time."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftos_migration.domain.inventory import Column, Item, ItemKind
from liftos_migration.domain.records import MAXIMUM_CONTENT_BYTES, ArtifactRecord
from liftos_migration.usecases.table_artifacts import (
    is_carried,
    part_prefix,
    rows_of,
    table_artifacts,
)
from liftos_migration.verification_ports import NotComparableError

_ITEM = Item(
    ItemKind.TABLE,
    "public.odds",
    "table",
    columns=(
        Column("id", "bigint", False),
        Column("ratio", "double precision", True),
        Column("body", "jsonb", True),
    ),
    key_columns=("id",),
)
_SCHEMA = pa.schema([("id", pa.int64()), ("ratio", pa.float64()), ("body", pa.string())])


def _carried(rows: Sequence[dict[str, Any]], *, at_once: int = 1_000) -> list[ArtifactRecord]:
    async def batches() -> AsyncIterator[pa.RecordBatch]:
        for start in range(0, len(rows), at_once):
            yield pa.RecordBatch.from_pylist(list(rows[start : start + at_once]), _SCHEMA)

    async def collect() -> list[ArtifactRecord]:
        return [part async for part in table_artifacts(_ITEM, "odds", batches())]

    return asyncio.run(collect())


def _rows(count: int, size: int) -> list[dict[str, Any]]:
    chance = random.Random(1)
    return [
        {"id": n, "ratio": n / 3, "body": chance.randbytes(size // 2).hex()} for n in range(count)
    ]


@settings(max_examples=30)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "id": st.integers(-(2**63), 2**63 - 1),
                "ratio": st.none() | st.floats(allow_nan=False),
                "body": st.none() | st.text(max_size=5),
            }
        ),
        max_size=20,
    )
)
def test_rows_come_back_as_they_were(rows: list[dict[str, Any]]) -> None:
    """Null is not empty text; an empty table is one empty part."""
    (part,) = _carried(rows)
    assert rows_of(part.content).to_pylist() == rows
    assert part.body is not None
    assert part.body["row_count"] == len(rows)
    assert part.body["last"] is True


def test_a_large_table_has_many_parts_however_it_is_read() -> None:
    """Each fits an artifact, and those before a change stay as they are."""
    rows = _rows(6_000, 4_000)
    parts = _carried(rows, at_once=500)
    assert len(parts) > 3
    assert all(len(part.content) <= MAXIMUM_CONTENT_BYTES for part in parts)
    assert [part.id for part in parts[:2]] == [
        f"{part_prefix('public.odds')}{number:05}" for number in (1, 2)
    ]
    whole = [row for part in parts for row in rows_of(part.content).to_pylist()]
    assert whole == rows
    assert [part.hash() for part in _carried(rows, at_once=500)] == [p.hash() for p in parts]
    changed = [*rows[:-1], rows[-1] | {"body": "other"}]
    hashes = [part.hash() for part in _carried(changed, at_once=500)]
    assert hashes[:-1] == [part.hash() for part in parts[:-1]]
    assert hashes[-1] != parts[-1].hash()


def test_a_row_that_no_artifact_takes_is_told() -> None:
    """With what to do."""
    with pytest.raises(NotComparableError, match="Waive its large column"):
        _carried(_rows(1, 20_000_000))


def test_different_tables_have_different_parts() -> None:
    """Also where their names are no ids."""
    prefixes = {part_prefix(name) for name in ("a.b", "a.b-c", 'a."b c"', 'a."b_c"', "a.b_c")}
    assert len(prefixes) == 5
    assert all(is_carried(prefix) and len(prefix) < 190 for prefix in prefixes)
