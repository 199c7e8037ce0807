"""The digest of the natural key and the text of an entry id."""

from datetime import date, timedelta

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.entry_fields import ENTRY_SCHEMA, NATURAL_KEY
from liftos_mapping.entry_id import (
    KEY_SEPARATOR,
    EntryIdError,
    EntryKeyError,
    entry_ids,
    format_entry_id,
    parse_entry_id,
)

_TEXT_KEYS = NATURAL_KEY[1:]
_DAYS = st.dates(date(1, 1, 1), date(9999, 12, 31))
_KEYS = st.tuples(
    st.dates(date(2000, 1, 1), date(2000, 1, 3)),
    *[st.text(st.sampled_from("ab,|\x1e"), max_size=2) for _ in _TEXT_KEYS],
)


def _key_batch(keys: list[tuple[date | str | None, ...]]) -> pa.RecordBatch:
    schema = pa.schema([ENTRY_SCHEMA.field(name) for name in NATURAL_KEY])
    columns = [
        pa.array([key[position] for key in keys], schema.field(position).type)
        for position in range(len(NATURAL_KEY))
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def test_digest_is_the_documented_one() -> None:
    """Anybody can compute the digest from the documented text."""
    batch = pa.RecordBatch.from_pydict(
        {
            "date": pa.array([date(2024, 2, 29)], pa.date32()),
            "platform": ["meta"],
            "level": ["CAMPAIGN"],
            "account_id": ["act_1"],
            "campaign_id": ["é7"],
            "attribution_key": ["7d_click"],
            "date_basis": ["INTERACTION"],
        }
    )
    text = "\x1f".join(
        ("2024-02-29", "meta", "CAMPAIGN", "act_1", "é7", *[""] * 5, "7d_click", "INTERACTION", "")
    )
    assert entry_ids(batch) == [xxhash.xxh3_128_digest(text.encode())]


@given(st.lists(_KEYS, min_size=1, max_size=30))
def test_digests_are_equal_exactly_where_keys_are(keys: list[tuple[date | str, ...]]) -> None:
    """Different keys never share a digest, equal keys always do."""
    digests = entry_ids(_key_batch(list(keys)))
    assert len(digests) == len(keys)
    assert len(set(zip(keys, digests, strict=True))) == len(set(keys)) == len(set(digests))


@given(st.lists(_KEYS, min_size=1, max_size=20), st.integers(1, 7))
def test_digests_do_not_depend_on_form(keys: list[tuple[date | str, ...]], size: int) -> None:
    """Slices, tables, chunks, other text types and null instead of empty give the same ids."""
    batch = _key_batch(list(keys))
    expected = entry_ids(batch)
    table = pa.Table.from_batches([batch.slice(at, size) for at in range(0, len(keys), size)])
    assert entry_ids(table) == expected
    assert entry_ids(batch.slice(len(keys) // 2)) == expected[len(keys) // 2 :]
    nulls = _key_batch([tuple(value or None for value in key) for key in keys])
    assert entry_ids(nulls) == expected
    dictionaries = pa.RecordBatch.from_arrays(
        [batch.column(0), *[batch.column(name).dictionary_encode() for name in _TEXT_KEYS]],
        names=list(NATURAL_KEY),
    )
    assert entry_ids(dictionaries) == expected


def test_missing_columns_are_empty_keys() -> None:
    """A batch that leaves out a key column has the ids of one where it is empty."""
    full = _key_batch([(date(2024, 1, 1), "meta", "ACCOUNT", "1", *[""] * 9)])
    assert entry_ids(full.select(["date", "platform", "level", "account_id"])) == entry_ids(full)
    nothing = pa.RecordBatch.from_pydict({"clicks": [1, 2]})
    assert entry_ids(nothing) == [xxhash.xxh3_128_digest(KEY_SEPARATOR.encode() * 12)] * 2
    assert entry_ids(full.slice(1)) == []


def test_separator_in_a_key_is_refused() -> None:
    """A key that could pass for two keys gives no digest at all."""
    batch = _key_batch([(date(2024, 1, 1), "meta", "AD", f"1{KEY_SEPARATOR}2", *[""] * 9)])
    with pytest.raises(EntryKeyError, match="account_id") as caught:
        entry_ids(batch)
    assert caught.value.columns == ("account_id",)


@given(_DAYS, st.binary(min_size=16, max_size=16))
def test_id_text_round_trips(day: date, digest: bytes) -> None:
    """Parsing a formatted id gives back its parts."""
    text = format_entry_id(day, digest)
    assert parse_entry_id(text) == (day, digest)


@given(st.text(max_size=50) | st.from_regex(r"[0-9]{8}-[0-9a-f]{32}", fullmatch=True))
def test_parse_accepts_canonical_ids_only(text: str) -> None:
    """Whatever parses formats to the very same text; all else is a typed error."""
    try:
        day, digest = parse_entry_id(text)
    except EntryIdError:
        return
    assert format_entry_id(day, digest) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20240101",
        "20240101-" + "A" * 32,
        "20240101-" + "a" * 31,
        "20240101-" + "a" * 32 + "\n",
        "20230229-" + "a" * 32,
        "00000101-" + "a" * 32,
        "٢٠٢٤٠١٠١-" + "a" * 32,
    ],
)
def test_wrong_ids_are_refused(text: str) -> None:
    """Other forms and days that do not exist are refused with a reason."""
    with pytest.raises(EntryIdError, match="is not an entry id"):
        parse_entry_id(text)


def test_digest_of_another_size_is_refused() -> None:
    """An id cannot be made from a digest that is not 16 bytes long."""
    with pytest.raises(EntryIdError, match="8 bytes"):
        format_entry_id(date(2024, 1, 1) + timedelta(days=1), b"12345678")
