"""SQL by which any Postgres computes the row hashes and buckets of Memory's `DigestEntries`.

A digest compares texts, so both sides need the same form of a row: that in which Memory stores it.
`stored_sql` brings what a writer gives into that form, exactly as ingest does:

* absence has one form: empty keys are empty texts, empty attributes and unset numbers are null;
* an empty date basis is the default of level and platform (`liftos_mapping.date_bases`);
* an unset `final` is false;
* -0 is 0;
* level and date basis are numbers, from 1 in the order of `LEVELS` and `DATE_BASES`;
* actions are jsonb, with all four members of each action, null where unset. An empty list stays one
  in an Arrow batch, and is unset in typed rows.

Nothing else is changed: texts keep their case, their spaces and their Unicode form, and what may
not be stored is refused rather than mended. The rules are those of `liftos_memory`'s entry rules.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Final

import pyarrow as pa

from liftos_mapping.date_bases import SENDING_LEVELS, SENDING_PLATFORMS, default_date_basis
from liftos_mapping.entry_fields import (
    DATE_BASES,
    ENTRY_FIELDS,
    LEVELS,
    NATURAL_KEY,
    EntryField,
    FieldKind,
)

DIGEST_SETTINGS: Final[Mapping[str, str]] = {"DateStyle": "ISO", "extra_float_digits": "1"}
"""Settings of a session that decide how Postgres writes dates and doubles; these are its own
defaults. The database's encoding must be UTF8."""

STORED_COLUMNS: Final[Mapping[str, str]] = {field.name: field.name for field in ENTRY_FIELDS}
"""SQL of each column of rows that are stored already, as `row_md5_sql` takes it."""

_TWO_TO_64: Final = 2**64
_SEPARATOR: Final = "chr(31)"
_UNSET: Final = "chr(1)"
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")
_CASTS: Final = {pa.int64(): "bigint", pa.date32(): "date"}
_SELDOM_SET: Final = (
    ("ad_group_name", "series_name"),
    ("all_conversions_micros", "orders"),
    ("video_views", "video_completions"),
    ("sent", "unsubscribed"),
    ("unique_clicks", "unique_clicked"),
    ("search_impression_share", "keyword_quality_score"),
)
"""First and last of columns of which most rows have none: one look is faster than many."""


def _runs() -> Iterator[tuple[EntryField, ...]]:
    """Yield all columns in their order: those that are seldom set together, others alone."""
    names = [field.name for field in ENTRY_FIELDS]
    ends = {names.index(first): names.index(last) + 1 for first, last in _SELDOM_SET}
    start = 0
    while start < len(names):
        end = ends.get(start, start + 1)
        yield ENTRY_FIELDS[start:end]
        start = end


_RUNS: Final = tuple(_runs())


def _words(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def stored_sql(given: Mapping[str, str]) -> Mapping[str, str]:
    """Return SQL of columns as Memory stores them, for `row_md5_sql`.

    Args:
        given: SQL of what a writer gives, by column: level and date basis in words, as an Arrow
            batch has them. Has at least date, platform, level and account_id; a column that is left
            out is unset in all rows.

    Returns:
        The columns given, and those that are never null.
    """
    stored: dict[str, str] = {}
    for field in ENTRY_FIELDS:
        expression = given.get(field.name)
        if field.name == "date_basis":
            stored[field.name] = _date_basis(given)
        elif expression is not None:
            stored[field.name] = _stored(field, expression)
        elif field.kind is FieldKind.KEY:
            stored[field.name] = "''"
        elif field.name == "final":
            stored[field.name] = "false"
    return stored


def _stored(field: EntryField, expression: str) -> str:
    if field.name == "level":
        return f"array_position(array[{_words(LEVELS)}], ({expression})::text)"
    if field.name == "final":
        return f"coalesce(({expression})::boolean, false)"
    if field.name == "actions":
        return f"({expression})::jsonb"
    if field.type == pa.float64():
        return f"(({expression})::double precision + 0)"
    if field.type == pa.string():
        text = f"({expression})::text"
        return f"coalesce({text}, '')" if field.kind is FieldKind.KEY else f"nullif({text}, '')"
    return f"({expression})::{_CASTS[field.type]}"


def _date_basis(given: Mapping[str, str]) -> str:
    level, platform = f"({given['level']})::text", f"({given['platform']})::text"
    by_level = " ".join(
        f"when '{word}' then {default_date_basis('', number)}"
        for number, word in enumerate(LEVELS, 1)
    )
    sending = default_date_basis(SENDING_PLATFORMS[0], LEVELS.index(SENDING_LEVELS[0]) + 1)
    usual = (
        f"case when {platform} in ({_words(SENDING_PLATFORMS)})"
        f" and {level} in ({_words(SENDING_LEVELS)}) then {sending}"
        f" else case {level} {by_level} end end"
    )
    if "date_basis" not in given:
        return usual
    word = f"({given['date_basis']})::text"
    return f"coalesce(array_position(array[{_words(DATE_BASES)}], nullif({word}, '')), {usual})"


def row_md5_sql(stored: Mapping[str, str] = STORED_COLUMNS) -> str:
    """Return SQL of a row's hash, in hex.

    Args:
        stored: SQL of each column in its stored form; a column that is left out is unset. Names of
            columns are hashed fastest.
    """
    return f"md5({_joined([text for run in _RUNS for text in _run_texts(run, stored)])})"


def key_md5_sql(stored: Mapping[str, str] = STORED_COLUMNS) -> str:
    """Return SQL of the md5 of a row's natural key, in hex; see `row_md5_sql`."""
    return f"md5({_joined([stored[name] for name in NATURAL_KEY])})"


def _joined(texts: Iterable[str]) -> str:
    """Return SQL that joins values, of which nulls are left out."""
    arguments: list[str] = []
    for text, group in groupby(texts):
        same = list(group)
        arguments += [_unset(len(same))] if text == _UNSET else same
    return f"concat_ws({_SEPARATOR}, {', '.join(arguments)})"


def _unset(count: int) -> str:
    """Return SQL of a constant: columns that are unset, joined."""
    return f" || {_SEPARATOR} || ".join([_UNSET] * count)


def _run_texts(run: Sequence[EntryField], stored: Mapping[str, str]) -> list[str]:
    """Return SQL of the values of columns: for each a text or one of several nulls."""
    expressions = [stored.get(field.name) for field in run]
    texts = [
        text
        for field, expression in zip(run, expressions, strict=True)
        for text in _texts(field, expression)
    ]
    if len(run) == 1 or not all(map(_is_name, expressions)):
        return texts
    nothing = " and ".join(f"{name} is null" for name in expressions)
    return [f"case when {nothing} then {_unset(len(run))} else {_joined(texts)} end"]


def _texts(field: EntryField, expression: str | None) -> list[str]:
    """Return SQL of which exactly one value is not null: the text of a column."""
    if expression is None:
        return [_UNSET]
    if field.kind is FieldKind.KEY:
        return [expression]
    if field.name == "final":
        return [f"({expression})::text"]
    if field.type == pa.string():
        return [f"coalesce({expression}, {_UNSET})"]
    if _is_name(expression):
        # Written by its own type, without a text in between.
        return [f"case when {expression} is null then {_UNSET} end", expression]
    return [f"coalesce(({expression})::text, {_UNSET})"]


def _is_name(expression: str | None) -> bool:
    """Say whether SQL is the name of a column, which costs nothing to look at twice."""
    return expression is not None and _NAME.fullmatch(expression) is not None


def bucket_number_sql(hexadecimal: str) -> str:
    """Return SQL of the number that a bucket is taken from, of a digest in hex."""
    return f"('x' || left({hexadecimal}, 8))::bit(32)::bigint"


def bucket_sums_sql(source: str, *, row_md5: str, bucket_number: str, bucket_count: str) -> str:
    """Return the query of the sums of all buckets that have rows.

    Its columns are bucket, row_count, hash_xor and hash_sum; the last two are signed, see
    `unsigned`.

    Args:
        source: What comes after `from`, with its conditions.
        row_md5: SQL of a row's hash, in hex.
        bucket_number: SQL of the number that its bucket is taken from.
        bucket_count: SQL of the number of buckets.
    """
    # The offset keeps the inner query apart, so that a row is hashed once; as an untyped constant
    # it lets the planner see that it skips nothing, without which no worker would help.
    return f"""select bucket, count(*) as row_count,
       bit_xor(h::bit(64)::bigint) as hash_xor, sum((h << 64)::bit(64)::bigint) as hash_sum
from (
    select ({bucket_number} % {bucket_count})::int as bucket, ('x' || {row_md5})::bit(128) as h
    from {source} offset '0'
) hashed
group by bucket order by bucket"""  # noqa: S608 - names are ours, values are parameters


def unsigned(number: int | Decimal) -> int:
    """Return a hash of a bucket as the contract tells it: unsigned, modulo 2^64."""
    # A Decimal takes its remainder towards zero.
    return int(number) % _TWO_TO_64
