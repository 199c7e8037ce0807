"""Digests of entries: computed again by a client, and equal exactly where the contents are."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any, Final, TypeAlias
from uuid import uuid4

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.e2e.memory.conftest import ClientFactory
from tests.inprocess.kit.statuses import refusal_of

from liftos.memory.v1 import artifact_pb2, entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_client import connect
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_mapping.entry_fields import ENTRY_FIELDS, NATURAL_KEY, FieldKind

_UNSET = "\x01"

Bucketing: TypeAlias = pb.DigestBucketing.ValueType
_BY_ENTRY_ID: Final = pb.DIGEST_BUCKETING_ENTRY_ID
_BY_KEY_MD5: Final = pb.DIGEST_BUCKETING_KEY_MD5


def _real_text(value: float) -> str:
    """Write a double as PostgreSQL does: shortest, with an exponent below 1e-4 and from 1e15 on.

    Above 2^53 Python may find a shorter text than PostgreSQL, half way between two doubles.
    """
    _, digits, point = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(point, int)
    shown = "".join(map(str, digits))
    exponent = len(shown) - 1 + point
    if -4 <= exponent < 15:
        return repr(value).removesuffix(".0")
    return f"{shown[0]}{'.' if shown[1:] else ''}{shown[1:]}e{exponent:+03d}"


def _actions_text(actions: Sequence[entry_pb2.ActionCount]) -> str:
    """Write actions as PostgreSQL writes jsonb: shorter keys first, then by their letters."""
    return json.dumps(
        [
            {
                "window": action.window,
                "action_type": action.action_type,
                "count_micros": action.count_micros if action.HasField("count_micros") else None,
                "value_micros": action.value_micros if action.HasField("value_micros") else None,
            }
            for action in actions
        ],
        ensure_ascii=False,
    )


def _column_text(entry: entry_pb2.Entry, name: str, kind: FieldKind) -> str:
    if name == "actions":
        return _actions_text(entry.actions) if entry.actions else _UNSET
    if name == "final":
        return "true" if entry.final else "false"
    if name == "currency_code":
        return entry.metrics.currency_code or _UNSET
    groups: tuple[Any, Any] = (entry.metrics, entry.grain_metrics)
    for group in groups:
        if name in group.DESCRIPTOR.fields_by_name:
            if not group.HasField(name):
                return _UNSET
            value = getattr(group, name)
            return _real_text(value) if isinstance(value, float) else str(value)
    text = str(getattr(entry, name))
    return text or ("" if kind is FieldKind.KEY else _UNSET)


def _hash(entry: entry_pb2.Entry) -> bytes:
    """Hash an entry as the contract says, from nothing but what a client reads."""
    texts = [_column_text(entry, field.name, field.kind) for field in ENTRY_FIELDS]
    return hashlib.md5("\x1f".join(texts).encode()).digest()


def _bucket(entry: entry_pb2.Entry, bucket_count: int, bucketing: Bucketing = _BY_ENTRY_ID) -> int:
    if bucketing == _BY_KEY_MD5:
        texts = [_column_text(entry, field.name, field.kind) for field in ENTRY_FIELDS]
        digest = hashlib.md5("\x1f".join(texts[: len(NATURAL_KEY)]).encode()).digest()
    else:
        digest = bytes.fromhex(entry.name.rsplit("-", 1)[1])
    return int.from_bytes(digest[:4]) % bucket_count


def _sums(
    entries: Sequence[entry_pb2.Entry], bucket_count: int, bucketing: Bucketing = _BY_ENTRY_ID
) -> Mapping[int, tuple[int, int, int]]:
    sums: dict[int, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for entry in entries:
        hash_ = _hash(entry)
        bucket = _bucket(entry, bucket_count, bucketing)
        count, xor, total = sums[bucket]
        sums[bucket] = (
            count + 1,
            xor ^ int.from_bytes(hash_[:8]),
            (total + int.from_bytes(hash_[8:])) % 2**64,
        )
    return sums


async def _digest(client: Any, org: str, **fields: Any) -> pb.DigestEntriesResponse:
    answer: pb.DigestEntriesResponse = await client.DigestEntries(
        pb.DigestEntriesRequest(parent=f"orgs/{org}", **{"bucket_count": 64} | fields)
    )
    return answer


def _told(answer: pb.DigestEntriesResponse) -> Mapping[int, tuple[int, int, int]]:
    return {b.bucket: (b.row_count, b.hash_xor, b.hash_sum) for b in answer.buckets}


async def _upsert(
    client: Any, org: str, entries: Sequence[entry_pb2.Entry]
) -> pb.BatchUpsertEntriesResponse:
    answer: pb.BatchUpsertEntriesResponse = await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}", rows=entry_pb2.EntryBatch(entries=entries), origin="load"
        )
    )
    assert not answer.item_errors
    return answer


async def _stored(client: Any, org: str, filter_: str = "") -> Sequence[entry_pb2.Entry]:
    page = await client.ListEntries(
        pb.ListEntriesRequest(parent=f"orgs/{org}", page_size=1_000, filter=filter_)
    )
    assert not page.next_page_token
    entries: Sequence[entry_pb2.Entry] = page.entries
    return entries


_words = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=12)
_counts = st.none() | st.integers(0, 2**62)
_shares = st.none() | st.floats(0, 1) | st.sampled_from([1e-5, 1e-4, 0.1, 1 / 3, 5e-324, -0.0])


@st.composite
def _entries(draw: st.DrawFn) -> Sequence[entry_pb2.Entry]:
    entries = {}
    for number in range(draw(st.integers(1, 8))):
        entry = entry_pb2.Entry(
            platform=draw(st.sampled_from(["meta", "google_ads"])),
            level=draw(st.sampled_from([entry_pb2.ENTRY_LEVEL_CAMPAIGN, entry_pb2.ENTRY_LEVEL_AD])),
            account_id="act",
            campaign_id=f"c{number}",
            campaign_name=draw(_words),
            channel=draw(_words),
            date=f"2025-03-{draw(st.integers(1, 28)):02d}",
            date_basis=draw(st.sampled_from(entry_pb2.DateBasis.values())),
            breakdown_key=draw(st.sampled_from(["", "country=DE", "süd"])),
            final=draw(st.booleans()),
            metrics=entry_pb2.Metrics(
                currency_code=draw(st.sampled_from(["EUR", "USD"])),
                spend_micros=draw(_counts),
                clicks=draw(_counts),
                impressions=1,
            ),
            grain_metrics=entry_pb2.GrainMetrics(
                search_impression_share=draw(_shares),
                frequency=draw(st.none() | st.floats(1, 2.0**53)),
                reach=draw(_counts),
            ),
        )
        if entry.level == entry_pb2.ENTRY_LEVEL_AD:
            entry.ad_id = f"a{number}"
        for action in range(draw(st.integers(0, 2))):
            entry.actions.add(
                action_type=f"t{action}" + draw(_words),
                window=draw(st.sampled_from(["", "7d_click"])),
                count_micros=draw(_counts),
                value_micros=draw(_counts),
            )
        entries[number] = entry
    return list(entries.values())


@given(
    entries=_entries(),
    bucket_count=st.sampled_from([1, 3, 64, 65_536]),
    bucketing=st.sampled_from(pb.DigestBucketing.values()),
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_a_client_computes_the_same_digest(
    memory_client: ClientFactory,
    entries: Sequence[entry_pb2.Entry],
    bucket_count: int,
    bucketing: Bucketing,
) -> None:
    """Sums and row hashes follow from what ListEntries gives, for any contents."""
    org = f"org-{uuid4().hex[:12]}"
    client = memory_client(org)
    written = await _upsert(client, org, entries)
    stored = await _stored(client, org)
    asked = {"bucket_count": bucket_count, "bucketing": bucketing}
    answer = await _digest(client, org, **asked)
    assert _told(answer) == _sums(stored, bucket_count, bucketing)
    assert answer.write_token == written.write_token
    buckets = sorted({_bucket(entry, bucket_count, bucketing) for entry in stored})
    hashes = await _digest(client, org, **asked, buckets=buckets)
    assert [(row.name, row.hash) for row in hashes.rows] == sorted(
        (entry.name, _hash(entry)) for entry in stored
    )


@given(entries=_entries(), other=st.none() | _entries(), seed=st.integers(0, 1_000))
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_equal_digests_mean_equal_contents(
    memory_client: ClientFactory,
    entries: Sequence[entry_pb2.Entry],
    other: Sequence[entry_pb2.Entry] | None,
    seed: int,
) -> None:
    """Neither the order nor the number of writes counts, only what is there in the end."""
    first, second = (f"org-{uuid4().hex[:12]}" for _ in range(2))
    here, there = memory_client(first), memory_client(second)
    await _upsert(here, first, entries)
    await _upsert(there, second, entries[:1] if other is None else other)
    for entry in Random(seed).sample(entries, len(entries)):
        await _upsert(there, second, [entry])

    def contents(found: Sequence[entry_pb2.Entry]) -> set[bytes]:
        return {_hash(entry) for entry in found}

    equal = contents(await _stored(here, first)) == contents(await _stored(there, second))
    digests = [_told(await _digest(*side)) for side in ((here, first), (there, second))]
    assert (digests[0] == digests[1]) is equal


async def test_hashes_are_paged_and_filtered(memory_client: ClientFactory, org: str) -> None:
    """Chosen buckets come page by page, by id; a filter narrows sums and hashes alike."""
    client = memory_client(org)
    await _upsert(
        client,
        org,
        [
            entry_pb2.Entry(
                platform="meta",
                level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
                account_id="act",
                campaign_id=f"c{number}",
                date=f"2025-03-{1 + number % 28:02d}",
                metrics=entry_pb2.Metrics(clicks=number),
            )
            for number in range(200)
        ],
    )
    filter_ = "date >= 2025-03-10"
    stored = await _stored(client, org, filter_)
    assert _told(await _digest(client, org, filter=filter_)) == _sums(stored, 64)
    buckets = [3, 4, 5, 60]
    rows: list[pb.RowDigest] = []
    token = ""
    while True:
        page = await _digest(
            client, org, filter=filter_, buckets=buckets, page_size=2, page_token=token
        )
        assert len(page.rows) <= 2
        rows += page.rows
        token = page.next_page_token
        if not token:
            break
    expected = sorted(entry.name for entry in stored if _bucket(entry, 64) in buckets)
    assert [row.name for row in rows] == expected


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"bucketing": 3}, ["bucketing"]),
        ({"buckets": [0, 64, 99]}, ["buckets[1]", "buckets[2]"]),
        ({"bucket_count": 0}, ["bucket_count"]),
        ({"bucket_count": 65_537}, ["bucket_count"]),
        ({"buckets": [1], "page_token": "nonsense"}, ["page_token"]),
        ({"filter": "clicks = 1"}, ["filter"]),
    ],
)
async def test_bad_requests(
    memory_client: ClientFactory, org: str, fields: dict[str, Any], field: list[str]
) -> None:
    """Buckets that are none, foreign tokens and unknown fields are refused by name."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _digest(memory_client(org), org, **fields)
    refusal = refusal_of(caught.value)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [name for name, _ in refusal.violations] == field


async def test_an_org_that_never_wrote(memory_client: ClientFactory, org: str) -> None:
    """Nothing has the empty digest."""
    answer = await _digest(memory_client(org), org)
    assert not answer.buckets
    assert answer.write_token


def _parts(rows: Sequence[pb.RowDigest]) -> tuple[int, int, int]:
    """Return what the sums of a bucket with these rows are."""
    xor = total = 0
    for row in rows:
        xor ^= int.from_bytes(row.hash[:8])
        total += int.from_bytes(row.hash[8:])
    return len(rows), xor, total % 2**64


async def test_the_client_lists_what_its_sums_add_up(
    memory_server: RunningServer, org: str
) -> None:
    """Hashes of each bucket, page by page, make its sums: of entries, notes and artifacts."""
    token = issue_token(secret=SECRET.encode(), org=org, roles=["admin"], scopes=["memory"])
    async with connect(memory_server.target, token=token) as client:
        memory = client.memory
        written = await memory.batch_upsert_entries(
            entry_pb2.Entry(
                platform="meta",
                level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
                account_id="1",
                campaign_id=f"c{number}",
                date="2025-03-01",
                metrics=entry_pb2.Metrics(clicks=number),
            )
            for number in range(30)
        )
        of_meta = 'platform = "meta"'
        sums = await memory.digest_entries(4, filter=of_meta, at_least_as_fresh=written)
        hashes = memory.list_entry_digests(
            4, [each.bucket for each in sums.buckets], filter=of_meta, page_size=7
        )
        by_bucket: dict[int, list[pb.RowDigest]] = defaultdict(list)
        for row in await hashes.collect():
            by_bucket[_bucket(entry_pb2.Entry(name=row.name), 4)].append(row)
        assert _told(sums) == {bucket: _parts(rows) for bucket, rows in by_bucket.items()}
        assert sum(each.row_count for each in sums.buckets) == 30
        by_key = await memory.digest_entries(4, bucketing="KEY_MD5")
        assert _told(by_key) != _told(sums)
        listed = await memory.list_entry_digests(4, [0, 1, 2, 3], bucketing="KEY_MD5").collect()
        assert listed == await memory.list_entry_digests(4, [0, 1, 2, 3]).collect()
        elsewhere = await memory.digest_entries(4, filter='platform = "klaviyo"')
        assert not elsewhere.buckets

        notes = [_note(org, f"n{number}", scope=f"s{number % 2}") for number in range(6)]
        await memory.batch_upsert_notes(notes, origin="run/1")
        for scope, count in (("", 6), ("s1", 3)):
            of_notes = await memory.digest_records("NOTES", 1, scope=scope)
            rows = await memory.list_record_digests(
                "NOTES", 1, [0], scope=scope, page_size=2
            ).collect()
            (whole,) = of_notes.buckets
            assert (whole.row_count, whole.hash_xor, whole.hash_sum) == _parts(rows)
            assert whole.row_count == count
        assert not (await memory.digest_records("ARTIFACTS", 1)).buckets


def _note(org: str, note_id: str, *, scope: str) -> artifact_pb2.Note:
    return artifact_pb2.Note(name=f"orgs/{org}/notes/{note_id}", scope=scope, text=f"On {note_id}.")
