"""Another database computes Memory's digests by SQL alone, from what a writer gives."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any
from uuid import uuid4

import asyncpg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.entry_keys import arrow_bytes

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_local.stack import Stack
from liftos_local.testing import fresh_database
from liftos_mapping.entry_digests import (
    DIGEST_SETTINGS,
    bucket_number_sql,
    bucket_sums_sql,
    key_md5_sql,
    row_md5_sql,
    stored_sql,
    unsigned,
)
from liftos_mapping.entry_fields import DATE_BASES, ENTRY_SCHEMA, LEVEL_IDS, LEVELS
from liftos_mapping.entry_id import entry_ids, format_entry_id

_SQL_TYPES = {
    pa.date32(): "date",
    pa.string(): "text",
    pa.int64(): "bigint",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
}
_COLUMNS = {field.name: _SQL_TYPES.get(field.type, "json") for field in ENTRY_SCHEMA}
_BUCKETS = 16


@pytest.fixture(scope="module")
async def foreign(stores: Stack) -> AsyncIterator[asyncpg.Connection]:
    """A database without anything of Memory; it writes dates and doubles in its own way."""
    with fresh_database(stores) as database:
        connection = await asyncpg.connect(
            database.owner_url,
            server_settings={"DateStyle": "German", "extra_float_digits": "-3"},
        )
        try:
            columns = ", ".join(f"{name} {type_}" for name, type_ in _COLUMNS.items())
            await connection.execute(f"create table given ({columns})")
            yield connection
        finally:
            await connection.close()


_words = st.text(st.characters(exclude_categories=["C"]), max_size=12)
_texts = st.none() | st.just("") | _words
_counts = st.none() | st.integers(0, 2**62)
_reals = st.none() | st.floats(0, 1) | st.sampled_from([-0.0, 0.1, 1 / 3, 5e-324, 1e-5])
_actions = st.none() | st.lists(
    st.fixed_dictionaries(
        {
            "action_type": _words.filter(bool),
            "window": st.none() | _words,
            "count_micros": _counts,
            "value_micros": _counts,
        }
    ),
    max_size=3,
)


@st.composite
def _rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows as an Arrow batch may have them, each with another key."""
    rows = []
    for number in range(draw(st.integers(1, 8))):
        level = draw(st.sampled_from(LEVELS))
        row: dict[str, Any] = {
            "date": date(2025, 3, draw(st.integers(1, 28))),
            "platform": draw(st.sampled_from(["meta", "google_ads", "klaviyo"])),
            "level": level,
            "account_id": f"act {number}",
            "attribution_key": draw(_texts),
            "date_basis": draw(st.sampled_from([None, "", *DATE_BASES])),
            "breakdown_key": draw(_texts),
            "campaign_name": draw(_texts),
            "channel": draw(_texts),
            "currency_code": draw(st.sampled_from(["EUR", "USD"])),
            "final": draw(st.none() | st.booleans()),
            **{name: draw(_words.filter(bool)) for name in LEVEL_IDS[level][0]},
        }
        if level == "CONTROL":
            row["value_micros"] = draw(st.integers(-(2**62), 2**62))
        else:
            row |= {
                "clicks": draw(st.integers(0, 2**62)),
                "spend_micros": draw(_counts),
                "search_impression_share": draw(_reals),
                "frequency": draw(st.none() | st.floats(1, 1e300)),
                "actions": draw(_actions),
            }
        rows.append(row)
    return rows


async def _fill(foreign: asyncpg.Connection, rows: Sequence[dict[str, Any]]) -> None:
    await foreign.execute("truncate given")
    await foreign.copy_records_to_table(
        "given",
        columns=list(_COLUMNS),
        records=[
            [
                json.dumps(row[name])
                if name == "actions" and row.get(name) is not None
                else row.get(name)
                for name in _COLUMNS
            ]
            for row in rows
        ],
    )


@given(rows=_rows())
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_a_database_computes_the_same_digest(
    memory_client: ClientFactory, foreign: asyncpg.Connection, rows: list[dict[str, Any]]
) -> None:
    """Sums and row hashes of rows before they are written are those after it, for any contents."""
    org = f"org-{uuid4().hex[:12]}"
    client = memory_client(org)
    await _fill(foreign, rows)
    table = pa.Table.from_pylist(rows, schema=ENTRY_SCHEMA)
    written = await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", arrow=arrow_bytes(table))
    )
    assert not written.item_errors

    stored = stored_sql({name: name for name in _COLUMNS})
    sums = bucket_sums_sql(
        "given",
        row_md5=row_md5_sql(stored),
        bucket_number=bucket_number_sql(key_md5_sql(stored)),
        bucket_count=str(_BUCKETS),
    )
    keys = ", ".join(f"{stored[name]} as {name}" for name in ("date_basis", "date"))
    async with foreign.transaction():
        for name, value in DIGEST_SETTINGS.items():
            await foreign.execute(f"set local {name} = {value}")
        expected = {
            row["bucket"]: (row["row_count"], unsigned(row["hash_xor"]), unsigned(row["hash_sum"]))
            for row in await foreign.fetch(sums)
        }
        hashes = await foreign.fetch(
            f"select account_id, {keys}, {row_md5_sql(stored)} as h from given"
        )
    request = pb.DigestEntriesRequest(
        parent=f"orgs/{org}", bucket_count=_BUCKETS, bucketing=pb.DIGEST_BUCKETING_KEY_MD5
    )
    answer = await client.DigestEntries(request)
    assert {b.bucket: (b.row_count, b.hash_xor, b.hash_sum) for b in answer.buckets} == expected

    by_account = {row["account_id"]: row for row in hashes}
    bases = [DATE_BASES[by_account[row["account_id"]]["date_basis"] - 1] for row in rows]
    place = table.column_names.index("date_basis")
    table = table.set_column(place, "date_basis", pa.array(bases))
    request.buckets.extend(expected)
    answer = await client.DigestEntries(request)
    assert {row.name.rpartition("/")[2]: row.hash.hex() for row in answer.rows} == {
        format_entry_id(row["date"], digest): by_account[row["account_id"]]["h"]
        for row, digest in zip(rows, entry_ids(table), strict=True)
    }


async def test_columns_that_are_left_out_are_unset(foreign: asyncpg.Connection) -> None:
    """A projection of few columns hashes as the whole row does."""
    row = {
        "date": date(2025, 3, 1),
        "platform": "klaviyo",
        "level": "CAMPAIGN",
        "account_id": "a",
        "campaign_id": "c",
        "opened": 3,
    }
    await _fill(foreign, [row])
    few, whole = (stored_sql({name: name for name in names}) for names in (row, _COLUMNS))
    for sql in (row_md5_sql, key_md5_sql):
        found = await foreign.fetchrow(
            f"select {sql(few)} as few, {sql(whole)} as whole from given"
        )
        assert found["few"] == found["whole"]
