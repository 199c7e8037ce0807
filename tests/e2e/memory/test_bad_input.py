"""Requests that are wrong in every way the contract knows: told clearly, and nothing written."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Mapping
from datetime import date, timedelta
from functools import cache
from typing import Any, Final

import asyncpg
import grpc
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.contract_calls import (
    Attempt,
    Rpc,
    assert_clear,
    broken_rules,
    exposed_methods,
    odd_values,
    outcome,
    valid_request,
)
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2, memory_service_pb2_grpc, slice_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.testing.server import RunningServer, authorization
from liftos_local.testing import TestDatabase


@pytest.fixture(scope="module")
async def channel(memory_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel that sends messages of any size."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(memory_server.target, options=options) as opened:
        yield opened


@pytest.fixture(scope="module")
async def rpcs(channel: grpc.aio.Channel) -> tuple[Rpc, ...]:
    """All methods of the server."""
    return await exposed_methods(channel)


@pytest.fixture(scope="module")
async def admin(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection that sees all orgs."""
    connection = await asyncpg.connect(database.owner_url)
    await connection.execute("set search_path to memory")
    yield connection
    await connection.close()


async def test_each_rule_broken_in_each_way(
    channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], admin: asyncpg.Connection, org: str
) -> None:
    """A broken rule is INVALID_ARGUMENT with a violation of its field, and nothing is written."""
    wrong: list[str] = []
    tried = 0
    for rpc in rpcs:
        for attempt in broken_rules(rpc, org):
            request = valid_request(rpc, org)
            attempt.change(request)
            refusal = await outcome(channel, rpc, request, authorization(org))
            tried += 1
            told = dict(refusal.violations) if refusal else {}
            if refusal is None or refusal.reason != "ERROR_REASON_FIELD_INVALID":
                wrong.append(f"{rpc.path} {attempt.field} {attempt.what}: {refusal}")
            elif attempt.field not in told:
                wrong.append(f"{rpc.path} {attempt.field} {attempt.what}: only {told}")
    assert not wrong, "\n".join(wrong)
    assert tried > 1_000, "the contract has rules"
    assert await admin.fetchval("select count(*) from commits where org = $1", org) == 0


async def test_odd_values_one_by_one(
    channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], org: str
) -> None:
    """NUL, quotes, the ends of number ranges, times that are none: answered or refused clearly."""
    wrong = []
    for rpc in rpcs:
        for attempt in odd_values(rpc.method.input_type, org):
            request = valid_request(rpc, org)
            attempt.change(request)
            try:
                await outcome(channel, rpc, request, authorization(org))
            except AssertionError as error:
                wrong.append(f"{rpc.path} {attempt.field} {attempt.what}: {str(error)[:150]}")
    assert not wrong, "\n".join(wrong)


def _good_entry() -> entry_pb2.Entry:
    return entry_pb2.Entry(
        platform="meta",
        level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        account_id="act",
        campaign_id="c1",
        date="2025-03-03",
        metrics=entry_pb2.Metrics(currency_code="EUR", spend_micros=1),
    )


async def test_odd_values_in_rows(memory_client: ClientFactory, org: str) -> None:
    """Each odd value of an entry costs its own row at most, and what is stored can be read."""
    client = memory_client(org)
    by_field: dict[str, list[entry_pb2.Entry]] = {}
    for attempt in odd_values(entry_pb2.Entry.DESCRIPTOR, org):
        if "orgs/" in attempt.what:
            continue  # looks like a name of another org, which refuses the whole request
        entry = _good_entry()
        attempt.change(entry)
        by_field.setdefault(attempt.field, [_good_entry()]).append(entry)
    wrong = []
    for field, entries in by_field.items():
        try:
            answer = await client.BatchUpsertEntries(
                pb.BatchUpsertEntriesRequest(
                    parent=f"orgs/{org}", rows=entry_pb2.EntryBatch(entries=entries)
                )
            )
        except grpc.aio.AioRpcError as error:
            wrong.append(f"{field}: {error.code()} {error.details()}")
            continue
        if any(error.index == 0 and error.rule != "DUPLICATE" for error in answer.item_errors):
            wrong.append(f"{field}: {answer.item_errors}")
    assert not wrong, "\n".join(wrong)
    listed = await client.ListEntries(pb.ListEntriesRequest(parent=f"orgs/{org}", page_size=1_000))
    assert len(listed.entries) > 1


def _stream_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _table(rows: int = 2, **columns: Any) -> pa.Table:
    """Return good rows of one campaign, one a day, with some columns replaced; None drops one."""
    good: dict[str, Any] = {
        "platform": ["meta"] * rows,
        "level": ["CAMPAIGN"] * rows,
        "account_id": ["act"] * rows,
        "campaign_id": [f"c{row}" for row in range(rows)],
        "date": pa.array([date(2025, 3, 3)] * rows, pa.date32()),
        "currency_code": ["EUR"] * rows,
        "spend_micros": pa.array([1_000_000] * rows, pa.int64()),
        "clicks": pa.array([1] * rows, pa.int64()),
    }
    wanted = {name: value for name, value in (good | columns).items() if value is not None}
    return pa.table(wanted)


_GOOD: Final = _stream_of(_table())
_OTHER_SCHEMA: Final = _stream_of(pa.table({"a": [1]}))


def _patched(position: int, replacement: bytes) -> bytes:
    return _GOOD[:position] + replacement + _GOOD[position + len(replacement) :]


def _file_format() -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _table().schema) as writer:
        writer.write_table(_table())
    return bytes(sink.getvalue())


# Named by what is wrong with them; each is refused as a whole.
_MALFORMED: Final[Mapping[str, bytes]] = {
    "empty": b"",
    "one byte": b"\x00",
    "wrong magic": b"PAR1" + _GOOD[4:],
    "cut in the schema": _GOOD[:40],
    "cut in the rows": _GOOD[: len(_GOOD) * 2 // 3],
    "without its end": _GOOD[: len(_GOOD) // 2] + _GOOD[len(_GOOD) // 2 + 8 :],
    "cut before its end mark": _GOOD[:-8],
    "two streams": _GOOD + _OTHER_SCHEMA,
    "the same stream twice": _GOOD + _GOOD,
    "bytes after the end": _GOOD + b"more",
    "file format": _file_format(),
    "huge metadata length": _patched(4, struct.pack("<i", 2**31 - 1)),
    "negative metadata length": _patched(4, struct.pack("<i", -5)),
    "text": b"platform,date\nmeta,2025-03-03\n" * 20,
    "zeros": b"\0" * 4_096,
}
_WRONG_COLUMNS: Final[Mapping[str, pa.Table]] = {
    "an unknown one": _table(no_such=pa.array([1, 2])),
    "no date": _table(date=None),
    "no platform": _table(platform=None),
    "money as a fraction of a currency": _table(spend_micros=pa.array([1.5, 2.5])),
    "money as text": _table(spend_micros=["1", "2"]),
    "money as decimals": _table(spend_micros=pa.array([1, 2], pa.decimal128(20, 2))),
    "counts as fractions": _table(clicks=pa.array([0.5, float("nan")])),
    "ids as numbers": _table(campaign_id=pa.array([1, 2])),
    "days with a time": _table(date=pa.array([0, 1], pa.timestamp("ns"))),
    "nested": _table(campaign_id=pa.array([["a"], ["b"]])),
    "struct": _table(clicks=pa.array([{"a": 1}, {"a": 2}])),
    "null type": _table(account_id=pa.nulls(2)),
    "no column": pa.table({}),
    "a column twice": pa.Table.from_arrays(
        [pa.array(["meta"]), pa.array(["meta"])], names=["platform", "platform"]
    ),
}


@pytest.mark.parametrize("what", sorted(_MALFORMED))
async def test_malformed_arrow(
    what: str, memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """Bytes that are not one whole Arrow stream are refused, over both ways in."""
    await _assert_arrow_refused(memory_client(org), org, _MALFORMED[what])
    assert await _commits(admin, org) == 0


@pytest.mark.parametrize("what", sorted(_WRONG_COLUMNS))
async def test_wrong_columns(
    what: str, memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """Columns that an entry does not have, or of another type, are refused as a whole or by row."""
    data = _stream_of(_WRONG_COLUMNS[what])
    answer = await _refusal_or_answer(
        memory_client(org).BatchUpsertEntries(
            pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", arrow=data)
        )
    )
    if isinstance(answer, Refusal):
        assert answer.code is grpc.StatusCode.INVALID_ARGUMENT
        assert answer.violations
    else:
        assert {error.index for error in answer.item_errors} == {0, 1}
    assert await _entries(admin, org) == 0


async def _assert_arrow_refused(client: Any, org: str, data: bytes) -> None:
    async def stream() -> AsyncIterator[pb.IngestEntriesRequest]:
        yield pb.IngestEntriesRequest(
            parent=f"orgs/{org}", stream_id="arrow", sequence=1, arrow=data
        )

    request = pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", arrow=data)
    for refusal in (
        await _refusal_or_answer(client.BatchUpsertEntries(request)),
        await _refusal_or_answer(client.IngestEntries(stream()).read()),
    ):
        assert isinstance(refusal, Refusal), refusal
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.reason == "ERROR_REASON_ARROW_INVALID"
        assert refusal.violations[0][0] == "arrow"


async def _refusal_or_answer(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        assert_clear(refusal, "a call")
        return refusal


async def _commits(admin: asyncpg.Connection, org: str) -> int:
    return int(await admin.fetchval("select count(*) from commits where org = $1", org))


async def _entries(admin: asyncpg.Connection, org: str) -> int:
    return int(await admin.fetchval("select count(*) from entries where org = $1", org))


async def test_damaged_arrow(
    memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """A stream with flipped or random bytes is refused or read; the server lives either way."""
    chance = random.Random(20_250_303)
    client = memory_client(org)
    for _ in range(150):
        data = bytearray(_GOOD)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        await _refusal_or_answer(
            client.BatchUpsertEntries(
                pb.BatchUpsertEntriesRequest(
                    parent=f"orgs/{org}", arrow=bytes(data), validate_only=True
                )
            )
        )
    for size in (1, 16, 1_000, 100_000):
        await _assert_arrow_refused(client, org, chance.randbytes(size))
    assert await _commits(admin, org) == 0


_TODAY: Final = date.today()  # noqa: DTZ011 - the server allows one more day, whatever the zone
_BAD_ROWS: Final[Mapping[str, Mapping[str, Any]]] = {
    "negative money": {"spend_micros": pa.array([-1], pa.int64())},
    "negative count": {"clicks": pa.array([-1], pa.int64())},
    "money without a currency": {"currency_code": [""]},
    "no currency code": {"currency_code": ["euro"]},
    "a zone of no clock": {"time_zone": ["Mars/X"]},
    "an unknown platform": {"platform": ["myspace"]},
    "no platform": {"platform": [""]},
    "an unknown level": {"level": ["PLANET"]},
    "no account": {"account_id": [""]},
    "no campaign for its level": {"campaign_id": [""]},
    "a day before 2000": {"date": pa.array([date(1999, 12, 31)], pa.date32())},
    "a day far ahead": {"date": pa.array([_TODAY + timedelta(days=3)], pa.date32())},
    "the last day of time": {"date": pa.array([2**31 - 1], pa.int32()).cast(pa.date32())},
    "no day": {"date": pa.array([None], pa.date32())},
    "a day that is none": {"date": ["2025-02-30"]},
    "a share that is none": {"search_impression_share": pa.array([float("nan")])},
    "an endless frequency": {"frequency": pa.array([float("inf")])},
    "a negative frequency": {"frequency": pa.array([float("-inf")])},
    "an id with U+0000": {"campaign_id": ["a\0b"]},
    "an endless id": {"campaign_id": ["x" * 5_000]},
}


@pytest.mark.parametrize("what", sorted(_BAD_ROWS))
async def test_bad_rows(
    what: str, memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """A row that breaks a rule comes back with its field and rule, and is not stored."""
    answer = await memory_client(org).BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}", arrow=_stream_of(_table(1, **_BAD_ROWS[what]))
        )
    )
    assert answer.item_errors
    for error in answer.item_errors:
        assert (error.index, error.code) == (0, grpc.StatusCode.INVALID_ARGUMENT.value[0])
        assert error.reason == "ERROR_REASON_FIELD_INVALID"
        assert error.field
        assert error.rule
        assert error.message
    assert await _entries(admin, org) == 0


async def test_too_much_at_once(
    channel: grpc.aio.Channel, memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """One row over the limit, one byte over 8 MiB, one message over 16 MiB: each says which."""
    client = memory_client(org)
    rows = 65_537
    dictionary = {
        "campaign_id": ["c"] * rows,
        "account_id": [str(row) for row in range(rows)],
    }
    table = _table(rows, **dictionary)
    refusal = await _refusal_or_answer(
        client.BatchUpsertEntries(
            pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", arrow=_compressed(table))
        )
    )
    assert refusal.reason == "ERROR_REASON_BATCH_TOO_LARGE"
    assert refusal.metadata == {"item_count": "65537", "maximum_items": "65536"}
    refusal = await _refusal_or_answer(
        client.BatchUpsertEntries(
            pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", arrow=b"\0" * (8 * 1024**2 + 1))
        )
    )
    assert (refusal.code, refusal.violations) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        (("arrow", "bytes.max_len"),),
    )
    stub: Any = memory_service_pb2_grpc.MemoryServiceStub(channel)
    refusal = await _refusal_or_answer(
        stub.BatchUpsertEntries(
            pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", arrow=b"\0" * (16 * 1024**2 + 1)),
            metadata=authorization(org),
        )
    )
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await _commits(admin, org) == 0


def _compressed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    data = bytes(sink.getvalue())
    assert len(data) < 8 * 1024**2
    return data


async def test_a_little_that_swells(memory_client: ClientFactory, org: str) -> None:
    """A few bytes that stand for many rows are refused before they fill the memory."""
    rows = 3_000_000
    table = pa.table(
        {
            "platform": pa.DictionaryArray.from_arrays(
                pa.array([0] * rows, pa.int8()), pa.array(["meta"])
            )
        }
    )
    refusal = await _refusal_or_answer(
        memory_client(org).BatchUpsertEntries(
            pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", arrow=_compressed(table))
        )
    )
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_request_ids(
    memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """The same request gets its first answer, also when both come at once; another is refused."""
    client = memory_client(org)
    request_id = "6fd24f1e-7a0f-4ed5-9b76-0d2bb9a92e1c"

    def request(clicks: int) -> pb.BatchUpsertEntriesRequest:
        entry = _good_entry()
        entry.metrics.clicks = clicks
        return pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}",
            rows=entry_pb2.EntryBatch(entries=[entry]),
            request_id=request_id,
        )

    same = await asyncio.gather(*(client.BatchUpsertEntries(request(1)) for _ in range(8)))
    assert {answer.write_token for answer in same} == {same[0].write_token}
    assert {answer.upserted_count for answer in same} == {1}
    for answer in await asyncio.gather(
        *(_refusal_or_answer(client.BatchUpsertEntries(request(clicks))) for clicks in range(2, 8))
    ):
        assert answer.code is grpc.StatusCode.ALREADY_EXISTS
        assert answer.reason == "ERROR_REASON_REQUEST_ID_REUSED"
        assert answer.metadata == {"request_id": request_id}
    assert await _commits(admin, org) == 1
    # The id of one method says nothing about another.
    purge = pb.PurgeEntriesRequest(
        parent=f"orgs/{org}", origin="nobody", force=True, request_id=request_id
    )
    assert (await client.PurgeEntries(purge)).purge_count == 0


async def test_concurrent_requests_with_one_id(
    memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """Of different requests that come at once with one id, one is done and all others refused."""
    client = memory_client(org)

    def request(clicks: int) -> pb.BatchUpsertEntriesRequest:
        entry = _good_entry()
        entry.metrics.clicks = clicks
        return pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}",
            rows=entry_pb2.EntryBatch(entries=[entry]),
            request_id="0f0e4a52-8a52-4b6b-a1a1-3d1f0b1f1c11",
        )

    found = await asyncio.gather(
        *(_refusal_or_answer(client.BatchUpsertEntries(request(clicks))) for clicks in range(8))
    )
    refused = [answer for answer in found if isinstance(answer, Refusal)]
    assert len(refused) == 7
    assert {refusal.reason for refusal in refused} == {"ERROR_REASON_REQUEST_ID_REUSED"}
    assert await _commits(admin, org) == 1


async def test_page_tokens(memory_client: ClientFactory, org: str) -> None:
    """A token that is damaged, cut, extended or of another request is INVALID_ARGUMENT."""
    client = memory_client(org)
    await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", arrow=_stream_of(_table(3)))
    )
    first = pb.ListEntriesRequest(parent=f"orgs/{org}", page_size=1)
    token = (await client.ListEntries(first)).next_page_token
    chance = random.Random(7)
    damaged = ["nonsense", token[:-1], token + "A", token[1:], token.swapcase(), "é", "=", "=" * 8]
    for _ in range(40):
        place = chance.randrange(len(token))
        letter = chance.choice("ABCDEFGHabcdefgh01234567-_".replace(token[place], ""))
        damaged.append(token[:place] + letter + token[place + 1 :])
    requests = [pb.ListEntriesRequest(parent=f"orgs/{org}", page_token=each) for each in damaged]
    changes: list[dict[str, Any]] = [
        {"order_by": "date desc"},
        {"filter": "final = true"},
        {"filter": "no = 1"},
    ]
    for changed in changes:
        request = pb.ListEntriesRequest(parent=f"orgs/{org}", page_token=token, **changed)
        requests.append(request)
    for request in requests:
        refusal = await _refusal_or_answer(client.ListEntries(request))
        assert isinstance(refusal, Refusal), request
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.violations[0][0] in ("page_token", "filter")
    restatements = pb.ListRestatementsRequest(parent=f"orgs/{org}", page_token=token)
    refusal = await _refusal_or_answer(client.ListRestatements(restatements))
    assert refusal.reason == "ERROR_REASON_PAGE_TOKEN_INVALID"
    following = pb.ListEntriesRequest(parent=f"orgs/{org}", page_size=2, page_token=token)
    assert len((await client.ListEntries(following)).entries) == 2


async def test_orders_and_masks_that_are_none(memory_client: ClientFactory, org: str) -> None:
    """What an order or a mask names is a field, or it is a violation of that request field."""
    client = memory_client(org)
    await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", arrow=_stream_of(_table()))
    )
    orders = (
        "no_such",
        "date asc asc",
        "date descending",
        "date,,platform",
        "date; drop table entries",
        "org",
        "entry_key",
        "date, date",
        "platform, level, account_id, campaign_id, ad_id",
        "(select 1)",
        "1",
        "date\n desc nulls first",
    )
    for order in orders:
        refusal = await _refusal_or_answer(
            client.ListEntries(pb.ListEntriesRequest(parent=f"orgs/{org}", order_by=order))
        )
        assert isinstance(refusal, Refusal), order
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.violations[0][0] == "order_by", order
    for path in ("no_such", "metrics.no_such", "metrics.", "", "*", "actions.window", "Metrics"):
        request = pb.ListEntriesRequest(parent=f"orgs/{org}")
        request.read_mask.paths.append(path)
        refusal = await _refusal_or_answer(client.ListEntries(request))
        assert isinstance(refusal, Refusal), path
        assert refusal.violations == (("read_mask", "field_mask"),)


_FIELDS: Final = (
    "platform",
    "level",
    "account_id",
    "campaign_name",
    "date",
    "final",
    "origin",
    "slice",
    "quality.score",
    "currency_code",
    "date_basis",
    "org",
    "entry_key",
    "tx",
    "no_such",
)
_VALUES: Final = (
    '"meta"',
    "\"other' or org <> '\"",
    "'x'",
    "1",
    "-1.5",
    "1e999",
    "true",
    "CAMPAIGN",
    '"2025-03-03"',
    '"2025-02-30"',
    "2025-03-03",
    '"*"',
    '"a*"',
    "*",
    '""',
    '"\\\\"',
    '"\\""',
    "99999999999999999999",
    "null",
    '"%"',
    "NaN",
)
_terms = st.builds(
    " ".join,
    st.tuples(
        st.sampled_from(_FIELDS),
        st.sampled_from(("=", "!=", "<", "<=", ">", ">=", ":", "==", "in", "")),
        st.sampled_from(_VALUES),
    ),
)
_filters = st.recursive(
    _terms,
    lambda inner: st.one_of(
        st.builds(" ".join, st.tuples(inner, st.sampled_from(("AND", "OR", "and", ",")), inner)),
        inner.map("NOT {}".format),
        inner.map("({})".format),
        inner.map("-{}".format),
    ),
    max_leaves=6,
)
_texts = st.text(
    st.one_of(st.sampled_from("\"'()=<>!:*-.; ANDORNTaz09%$\\"), st.characters(codec="utf-8")),
    max_size=60,
)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(_filters, _texts))
async def test_filters_never_reach_another_org(
    text: str, memory_client: ClientFactory, neighbours: tuple[str, str]
) -> None:
    """Whatever a filter says, it is answered from the own org or refused at its own field."""
    mine, other = neighbours
    client = memory_client(mine)
    for call in (
        client.ListEntries(pb.ListEntriesRequest(parent=f"orgs/{mine}", filter=text)),
        client.DigestEntries(
            pb.DigestEntriesRequest(parent=f"orgs/{mine}", filter=text, bucket_count=1)
        ),
        client.QueryMetrics(
            pb.QueryMetricsRequest(
                parent=f"orgs/{mine}",
                level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
                date_range=_STREAM_DAYS,
                filter=text,
            )
        ),
        client.ListNotes(pb.ListNotesRequest(parent=f"orgs/{mine}", filter=text)),
    ):
        answer = await _refusal_or_answer(call)
        if isinstance(answer, Refusal):
            assert answer.code is grpc.StatusCode.INVALID_ARGUMENT
            assert [field for field, _ in answer.violations] == ["filter"]
        else:
            assert other not in str(answer)
            assert "4242" not in str(answer)


@pytest.fixture(scope="module")
async def neighbours(memory_client: ClientFactory) -> tuple[str, str]:
    """Two orgs with the same campaigns; the second one's have 4242 clicks."""
    for org, clicks in (("filters-a", 1), ("filters-b", 4_242)):
        table = _table(clicks=pa.array([clicks] * 2, pa.int64()))
        await memory_client(org).BatchUpsertEntries(
            pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", arrow=_stream_of(table))
        )
    return "filters-a", "filters-b"


async def test_deep_and_long_filters(memory_client: ClientFactory, org: str) -> None:
    """As deep and as long as the length allows: answered, or refused at the filter."""
    client = memory_client(org)
    term = 'platform = "meta"'
    for text in (
        "(" * 990 + term + ")" * 990,
        "NOT " * 490 + term,
        "-" * 1_900 + term,
        " AND ".join([term] * 90),
        " OR ".join([term] * 90),
        "(" * 1_990,
        '"' * 1_999,
        "platform = " + '"' + "x" * 1_900 + '"',
    ):
        answer = await _refusal_or_answer(
            client.ListEntries(pb.ListEntriesRequest(parent=f"orgs/{org}", filter=text))
        )
        if isinstance(answer, Refusal):
            assert answer.code is grpc.StatusCode.INVALID_ARGUMENT
            assert answer.violations[0][0] == "filter"


_STREAM_DAYS: Final = marketing_pb2.DateRange(start_date="2025-03-03", end_date="2025-03-09")


def _scope(**changed: Any) -> slice_pb2.SliceScope:
    given: dict[str, Any] = {
        "platform": "meta",
        "account_id": "act",
        "level": entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        "date_range": _STREAM_DAYS,
    }
    return slice_pb2.SliceScope(**(given | changed))


class Messages:
    """Messages of one stream, numbered in their order unless a number is given."""

    def __init__(self, org: str, *actions: Mapping[str, Any]) -> None:
        self._messages: list[pb.IngestEntriesRequest] = []
        for index, action in enumerate(actions, 1):
            given: dict[str, Any] = {"parent": f"orgs/{org}", "stream_id": "run", "sequence": index}
            self._messages.append(pb.IngestEntriesRequest(**(given | dict(action))))

    async def __aiter__(self) -> AsyncIterator[pb.IngestEntriesRequest]:
        for message in self._messages:
            yield message


def _rows(*entries: entry_pb2.Entry) -> Mapping[str, Any]:
    return {"rows": entry_pb2.EntryBatch(entries=entries or [_good_entry()])}


_OPEN: Final = {"open_slice": pb.SliceOpening(scope=_scope())}
_COMMIT: Final = {"commit_slice": pb.SliceCommit()}
_ABORT: Final = {"abort_slice": pb.SliceAbort()}


async def _converse(
    client: Any, messages: Messages
) -> tuple[list[pb.IngestEntriesResponse], Refusal | None]:
    """Return the acknowledgements of a stream, and how it was refused in the end, if it was."""
    acknowledged: list[pb.IngestEntriesResponse] = []
    try:
        async for answer in client.IngestEntries(aiter(messages)):
            acknowledged.append(answer)  # noqa: PERF401 - those before a refusal are kept
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        assert_clear(refusal, "IngestEntries")
        return acknowledged, refusal
    return acknowledged, None


async def test_sequences_that_skip_or_repeat(
    memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """A gap ends the stream after what came before; a repetition is acknowledged, not applied."""
    client = memory_client(org)
    done, refusal = await _converse(client, Messages(org, _rows(), {**_rows(), "sequence": 3}))
    assert [answer.sequence for answer in done] == [1]
    assert refusal is not None
    assert refusal.code is grpc.StatusCode.OUT_OF_RANGE
    assert refusal.metadata == {"expected_sequence": "2", "received_sequence": "3"}
    done, refusal = await _converse(client, Messages(org, _rows(), _rows(), _rows()))
    assert refusal is None
    assert [answer.duplicate for answer in done] == [True, False, False]
    done, refusal = await _converse(
        client, Messages(org, {**_rows(), "sequence": 2}, {**_rows(), "sequence": 2})
    )
    assert refusal is None
    assert [answer.duplicate for answer in done] == [True, True]
    done, refusal = await _converse(client, Messages(org, {**_rows(), "sequence": 2**63 - 1}))
    assert refusal is not None
    assert refusal.reason == "ERROR_REASON_SEQUENCE_OUT_OF_RANGE"
    assert await _commits(admin, org) == 3


@pytest.mark.parametrize(
    ("actions", "acknowledged", "said"),
    [
        pytest.param([_OPEN, _OPEN], 1, "commit or abort it", id="open twice"),
        pytest.param([_COMMIT], 0, "no open slice to commit", id="commit none"),
        pytest.param([_ABORT], 0, "no open slice to abort", id="abort none"),
        pytest.param([_OPEN, _COMMIT, _COMMIT], 2, "to commit; open one", id="commit twice"),
        pytest.param([_OPEN, _ABORT, _COMMIT], 2, "to commit; open one", id="commit after abort"),
    ],
)
async def test_slice_actions_out_of_place(
    *,
    actions: list[Mapping[str, Any]],
    acknowledged: int,
    said: str,
    memory_client: ClientFactory,
    admin: asyncpg.Connection,
    org: str,
) -> None:
    """An action that does not fit what is open is FAILED_PRECONDITION, and says what would fit."""
    done, refusal = await _converse(memory_client(org), Messages(org, *actions))
    assert len(done) == acknowledged
    assert refusal is not None
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "ERROR_REASON_STATE_TRANSITION_INVALID"
    assert said in refusal.message
    assert {refusal.metadata["state"], refusal.metadata["allowed_states"]} == {
        "SLICE_OPEN",
        "NO_SLICE_OPEN",
    }
    assert await _commits(admin, org) == acknowledged


async def test_filters_of_a_slice(memory_client: ClientFactory, org: str) -> None:
    """Entries are found by the name of their slice or its id, and no other text passes for one."""
    client = memory_client(org)
    done, _ = await _converse(client, Messages(org, _OPEN, _rows(), _COMMIT))
    name = done[-1].slice
    for text in (name, name.rpartition("/")[2]):
        found = await client.ListEntries(
            pb.ListEntriesRequest(parent=f"orgs/{org}", filter=f'slice = "{text}"')
        )
        assert [entry.slice for entry in found.entries] == [name]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.ListEntries(pb.ListEntriesRequest(parent=f"orgs/{org}", filter='slice = "x"'))
    assert refusal_of(caught.value).reason == "ERROR_REASON_FILTER_INVALID"


async def test_rows_outside_of_their_slice(
    memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """Rows of another platform, account, level, day or attribution are refused one by one."""
    changes: list[dict[str, Any]] = [
        {"platform": "google_ads"},
        {"account_id": "other"},
        {"level": entry_pb2.ENTRY_LEVEL_ACCOUNT, "campaign_id": ""},
        {"date": "2025-03-02"},
        {"date": "2025-03-10"},
        {"attribution_key": "7d_click"},
        {"date_basis": entry_pb2.DATE_BASIS_CONVERSION},
    ]
    outside = []
    for change in changes:
        entry = _good_entry()
        for name, value in change.items():
            setattr(entry, name, value)
        outside.append(entry)
    done, refusal = await _converse(
        memory_client(org), Messages(org, _OPEN, _rows(_good_entry(), *outside), _COMMIT)
    )
    assert refusal is None
    assert sorted({error.index for error in done[1].item_errors}) == list(range(1, 8))
    assert done[1].upserted_count == 1
    assert await _entries(admin, org) == 1


async def test_slices_that_are_too_long_or_of_no_day(
    memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """More than 400 days, or an end that no calendar has, is told by its field."""
    for days, field in (
        (("2024-01-01", "2025-03-03"), "open_slice.scope.date_range"),
        (("2025-02-30", "2025-03-03"), "open_slice.scope.date_range.start_date"),
        (("2025-02-01", "2025-02-29"), "open_slice.scope.date_range.end_date"),
    ):
        date_range = marketing_pb2.DateRange(start_date=days[0], end_date=days[1])
        opening = {"open_slice": pb.SliceOpening(scope=_scope(date_range=date_range))}
        done, refusal = await _converse(memory_client(org), Messages(org, opening))
        assert done == []
        assert refusal is not None
        assert refusal.violations[0][0] == field
    assert await _commits(admin, org) == 0


async def test_first_messages_that_name_nothing(
    memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """A stream whose first message lacks its parent or id, or that changes its id, is refused."""
    client = memory_client(org)
    for name in ("parent", "stream_id"):
        _, refusal = await _converse(client, Messages(org, {**_rows(), name: ""}))
        assert refusal is not None
        assert refusal.violations == ((name, "required"),)
    done, refusal = await _converse(
        client, Messages(org, _rows(), {**_rows(), "stream_id": "other"})
    )
    assert refusal is not None
    assert refusal.violations[0][0] == "stream_id"
    assert await _commits(admin, org) == len(done)

    async def nothing() -> AsyncIterator[pb.IngestEntriesRequest]:
        return
        yield pb.IngestEntriesRequest()

    assert [answer async for answer in client.IngestEntries(nothing())] == []


_FUZZED: Final = st.randoms(use_true_random=False)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=_FUZZED, data=st.data())
async def test_any_message_is_answered_or_refused_clearly(
    chance: random.Random,
    data: st.DataObject,
    channel: grpc.aio.Channel,
    rpcs: tuple[Rpc, ...],
) -> None:
    """Several odd values at once in any request of any method: no UNKNOWN and no INTERNAL."""
    rpc = data.draw(st.sampled_from(rpcs))
    org = data.draw(st.sampled_from(("fuzz-a", "fuzz-b")))
    request = valid_request(rpc, org)
    attempts = _attempts(rpc, org)
    for attempt in chance.sample(attempts, k=min(len(attempts), chance.randint(1, 5))):
        attempt.change(request)
    await outcome(channel, rpc, request, authorization(org))


@cache
def _attempts(rpc: Rpc, org: str) -> tuple[Attempt, ...]:
    return (*odd_values(rpc.method.input_type, org), *broken_rules(rpc, org))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), body=st.binary(max_size=200))
async def test_any_bytes_are_answered_or_refused_clearly(
    data: st.DataObject, body: bytes, channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...]
) -> None:
    """Bytes that are no message of the method, or one by chance: no UNKNOWN and no INTERNAL."""
    rpc = data.draw(st.sampled_from([rpc for rpc in rpcs if not rpc.server_streaming]))
    head = valid_request(rpc, "fuzz-a").SerializeToString() if data.draw(st.booleans()) else b""
    call = channel.unary_unary(rpc.path, request_serializer=bytes, response_deserializer=bytes)(
        head + body, metadata=authorization("fuzz-a"), timeout=20
    )
    await _refusal_or_answer(call)
