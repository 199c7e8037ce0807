"""The rules that a batch of entries must keep, checked on whole Arrow columns.

A batch as a whole is refused where its columns are wrong (`BatchColumnsError`, which lists every
problem) or its rows are too many. Beyond that each row stands for itself: rows that break a rule
come back as `RowError`, all others are handed on in the form of `ENTRY_SCHEMA`.

What is changed on the way, and nothing else:

* columns that are left out are added as null; key columns as empty text;
* null keys become empty text, empty attributes become null, so that absence has one form;
* integers of other widths, dates as midnight timestamps or as text YYYY-MM-DD, dictionaries and
  large text are cast where that loses nothing; counts may come as whole floats, since data frames
  keep integers with gaps that way, but micros may not: a float there is a sign of currency units;
* an empty date basis gets the default of its level and platform, see `liftos_mapping.date_bases`;
* -0 becomes 0, since equal numbers have one text.

`liftos_mapping.entry_digests` does the same in SQL; keep the two in step.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from liftos_kit.core.errors import (
    ArrowInvalidError,
    BatchTooLargeError,
    DomainError,
    FieldViolation,
)
from liftos_kit.core.time_zones import is_time_zone
from liftos_mapping.date_bases import DEFAULT_DATE_BASIS, SENDING_LEVELS, SENDING_PLATFORMS
from liftos_mapping.entry_fields import (
    ACTION_TYPE,
    ADDITIVE_METRICS,
    DATE_BASES,
    ENTRY_FIELDS,
    ENTRY_SCHEMA,
    GRAIN_METRICS,
    KEY_SCHEMA,
    LEVEL_IDS,
    LEVELS,
    NATURAL_KEY,
    FieldKind,
)
from liftos_mapping.entry_id import entry_ids
from liftos_memory.domain.currencies import CURRENCY_CODES

MAXIMUM_ROWS: Final = 65_536
FIRST_DATE: Final = date(2000, 1, 1)
DAYS_AHEAD: Final = 1
"""A row may be dated tomorrow: accounts east of us are ahead of our clock."""
CONTROL_DAYS_AHEAD: Final = 400
"""Outside series may hold what is planned, such as next year's events."""
KEY_MAXIMUM_CHARACTERS: Final = 256
TEXT_MAXIMUM_CHARACTERS: Final = 1024
MAXIMUM_ACTIONS: Final = 200
DETAILED_ERRORS: Final = 10_000
"""Up to here each broken rule of a row is reported, after it only the first one of each row."""

_REQUIRED_COLUMNS: Final = ("date", "platform", "level", "account_id")
_OBJECT_IDS: Final = tuple(
    dict.fromkeys(name for ids in LEVEL_IDS.values() for group in ids for name in group)
)
_TEXT_ATTRIBUTES: Final = tuple(
    f.name for f in ENTRY_FIELDS if f.kind is FieldKind.ATTRIBUTE and f.type == pa.string()
)
_METRICS: Final = (*ADDITIVE_METRICS, *GRAIN_METRICS)
_RANGES: Final = {
    "frequency": (1.0, float("inf"), "1 or more, or unset where nobody was reached"),
    "search_impression_share": (0.0, 1.0, "a fraction from 0 to 1"),
    "search_rank_lost_impression_share": (0.0, 1.0, "a fraction from 0 to 1"),
    "keyword_quality_score": (1.0, 10.0, "from 1 to 10"),
}
_EPOCH: Final = date(1970, 1, 1)
_EXACT_FLOAT: Final = 2**53
_SHOWN_PROBLEMS: Final = 10
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CONTROL_PATTERN: Final = r"\p{Cc}"
_TICKS_PER_DAY: Final = {
    "s": 86_400,
    "ms": 86_400_000,
    "us": 86_400_000_000,
    "ns": 86_400_000_000_000,
}

_Mask = npt.NDArray[np.bool_]
_Columns = dict[str, pa.Array]


class RowErrorCode(StrEnum):
    """The rule that a row broke; stable words."""

    REQUIRED = "REQUIRED"
    UNKNOWN_PLATFORM = "UNKNOWN_PLATFORM"
    UNKNOWN_LEVEL = "UNKNOWN_LEVEL"
    UNKNOWN_DATE_BASIS = "UNKNOWN_DATE_BASIS"
    UNKNOWN_CURRENCY = "UNKNOWN_CURRENCY"
    UNKNOWN_TIME_ZONE = "UNKNOWN_TIME_ZONE"
    NOT_ALLOWED = "NOT_ALLOWED"
    DATE_OUT_OF_RANGE = "DATE_OUT_OF_RANGE"
    NOT_A_DAY = "NOT_A_DAY"
    NOT_AN_INTEGER = "NOT_AN_INTEGER"
    NOT_FINITE = "NOT_FINITE"
    TOO_LARGE = "TOO_LARGE"
    NEGATIVE = "NEGATIVE"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    TOO_LONG = "TOO_LONG"
    CONTROL_CHARACTER = "CONTROL_CHARACTER"
    EMPTY = "EMPTY"
    DUPLICATE = "DUPLICATE"
    OUTSIDE_SLICE = "OUTSIDE_SLICE"


@dataclass(frozen=True, slots=True)
class RowError:
    """One broken rule of one row.

    Attributes:
        index: Position of the row in its batch, from 0.
        field: The column at fault; empty where it is the row as a whole.
        code: The rule.
        message: What was found and what is allowed.
    """

    index: int
    field: str
    code: RowErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """What is left of a batch, and why the rest is not.

    Attributes:
        rows: The good rows in their order, in `ENTRY_SCHEMA`, or keys in `KEY_SCHEMA`.
        digests: The 16-byte digest of each good row's natural key.
        errors: Every bad row has at least one; ordered by index.
    """

    rows: pa.Table
    digests: tuple[bytes, ...]
    errors: tuple[RowError, ...]


class BatchColumnsError(ArrowInvalidError):
    """The columns of a batch are not those of an entry; nothing of it was written."""

    def __init__(self, violations: tuple[FieldViolation, ...]) -> None:
        hidden = len(violations) - _SHOWN_PROBLEMS
        DomainError.__init__(
            self,
            "The batch was refused for its columns: "
            + "; ".join(violation.description for violation in violations[:_SHOWN_PROBLEMS])
            + (f"; and {hidden} more" if hidden > 0 else ""),
            violations=violations,
        )


def check_batch(
    batch: pa.RecordBatch | pa.Table, *, today: date, known_platforms: frozenset[str]
) -> CheckedBatch:
    """Check a batch of entries and bring its good rows into `ENTRY_SCHEMA`.

    Raises:
        BatchTooLargeError: the batch has more than `MAXIMUM_ROWS` rows.
        BatchColumnsError: columns are unknown, missing, damaged or of a wrong type.
    """
    if batch.num_rows > MAXIMUM_ROWS:
        raise BatchTooLargeError(item_count=batch.num_rows, maximum_items=MAXIMUM_ROWS)
    findings = _Findings(batch.num_rows)
    columns = _read_columns(batch, findings, ENTRY_SCHEMA)
    level_codes = _check_words(columns, findings, known_platforms)
    _check_ids(columns, level_codes, findings)
    _check_dates(columns, level_codes, findings, today)
    _check_texts(columns, findings)
    _check_numbers(columns, findings)
    _check_actions(columns["actions"], findings)
    _check_metrics_of_level(columns, level_codes, findings)
    _check_currencies(columns, findings)
    _check_time_zones(columns["time_zone"], findings)
    return _settle_duplicates(columns, findings, ENTRY_SCHEMA)


def check_keys(
    batch: pa.RecordBatch | pa.Table, *, today: date, known_platforms: frozenset[str]
) -> CheckedBatch:
    """Check natural keys by the rules of entries, and bring the good ones into `KEY_SCHEMA`.

    Raises:
        BatchTooLargeError: there are more than `MAXIMUM_ROWS` rows.
        BatchColumnsError: columns are unknown, missing, damaged or of a wrong type.
    """
    if batch.num_rows > MAXIMUM_ROWS:
        raise BatchTooLargeError(item_count=batch.num_rows, maximum_items=MAXIMUM_ROWS)
    findings = _Findings(batch.num_rows)
    columns = _read_columns(batch, findings, KEY_SCHEMA)
    level_codes = _check_words(columns, findings, known_platforms)
    _check_ids(columns, level_codes, findings)
    _check_dates(columns, level_codes, findings, today)
    _check_texts(columns, findings)
    return _settle_duplicates(columns, findings, KEY_SCHEMA)


@dataclass(slots=True)
class _Findings:
    """The errors so far, and which rows have one."""

    row_count: int
    errors: list[RowError] = field(default_factory=list)
    bad: _Mask = field(init=False)

    def __post_init__(self) -> None:
        self.bad = np.zeros(self.row_count, np.bool_)

    def add(
        self,
        broken: _Mask,
        field_name: str,
        code: RowErrorCode,
        explain: Callable[[int], str],
    ) -> None:
        """Note every row where `broken` holds; `explain` says why, for a row's index."""
        if len(self.errors) > DETAILED_ERRORS:
            broken = broken & ~self.bad
        for index in np.flatnonzero(broken).tolist():
            self.errors.append(RowError(index, field_name, code, explain(index)))
        self.bad |= broken

    def add_values(
        self, broken: _Mask, field_name: str, code: RowErrorCode, values: pa.Array, allowed: str
    ) -> None:
        """Note every row where `broken` holds, with the value found and what is allowed."""
        self.add(
            broken,
            field_name,
            code,
            lambda index: f"{field_name} is {_shorten(values[index])}; {allowed}",
        )


def _shorten(value: pa.Scalar) -> str:
    try:
        text = str(value.as_py()) if not pa.types.is_string(value.type) else repr(value.as_py())
    except (ValueError, OverflowError):  # beyond Python's dates
        text = str(value.value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _say(sentence: str) -> Callable[[int], str]:
    return lambda _: sentence


def _mask(values: pa.Array) -> _Mask:
    """Return a boolean Arrow array as numpy; null is false."""
    if values.null_count:
        values = values.fill_null(False)
    mask: _Mask = values.to_numpy(zero_copy_only=False)
    return mask


# --- columns -------------------------------------------------------------------------------------


def _read_columns(
    batch: pa.RecordBatch | pa.Table, findings: _Findings, schema: pa.Schema
) -> _Columns:
    """Return every column of a schema, cast; collect what is wrong with any of them."""
    table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
    violations: list[FieldViolation] = []
    given: set[str] = set()
    columns: _Columns = {}
    for position, name in enumerate(table.column_names):
        if name in given:
            violations.append(FieldViolation(name, f"{name!r} is there twice", "duplicate_column"))
        elif name not in schema.names:
            whole = "an entry" if schema is ENTRY_SCHEMA else "an entry's natural key"
            violations.append(
                FieldViolation(name, f"{name[:80]!r} is no column of {whole}", "unknown_column")
            )
        else:
            problem = _read_column(name, table.column(position), columns, findings)
            if problem is not None:
                violations.append(FieldViolation(name, problem, "column_type"))
        given.add(name)
    violations += [
        FieldViolation(name, f"{name!r} is missing", "missing_column")
        for name in _REQUIRED_COLUMNS
        if name not in given
    ]
    if violations:
        raise BatchColumnsError(tuple(violations))
    for column in schema:
        if column.name not in columns:
            columns[column.name] = pa.nulls(table.num_rows, column.type)
    for name in NATURAL_KEY[1:]:
        columns[name] = columns[name].fill_null("")
    return columns


def _read_column(
    name: str, values: pa.ChunkedArray, columns: _Columns, findings: _Findings
) -> str | None:
    """Add one cast column, or return why it cannot be one."""
    wanted = ENTRY_SCHEMA.field(name).type
    try:
        values.validate(full=True)  # first: offsets from outside may point anywhere
        array = values.combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowIndexError) as error:
        return f"{name!r} is damaged: {str(error)[:200]}"
    if pa.types.is_null(array.type):
        columns[name] = pa.nulls(len(array), wanted)
        return None
    cast = _CASTS[wanted](name, array, findings)
    if cast is None:
        hint = " (micros are whole numbers: 12.50 is 12500000)" if name.endswith("_micros") else ""
        return f"{name!r} has type {str(array.type)[:200]}; send {wanted}{hint}"
    columns[name] = cast
    return None


def _cast_text(name: str, array: pa.Array, _: _Findings) -> pa.Array | None:
    type_ = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if not (
        pa.types.is_string(type_) or pa.types.is_large_string(type_) or type_ == pa.string_view()
    ):
        return None
    text = array if array.type == pa.string() else array.cast(pa.string())
    if name in _TEXT_ATTRIBUTES:
        empty = pc.equal(pc.binary_length(text), 0)
        if pc.any(empty).as_py():
            text = pc.if_else(empty, None, text)
    return text


def _cast_date(name: str, array: pa.Array, findings: _Findings) -> pa.Array | None:
    if array.type == pa.date32():
        return array
    if pa.types.is_string(array.type):
        return _read_days(name, array, findings)
    if array.type == pa.date64():
        ticks_per_day = _TICKS_PER_DAY["ms"]
    elif pa.types.is_timestamp(array.type) and array.type.tz is None:
        ticks_per_day = _TICKS_PER_DAY[array.type.unit]
    else:
        return None
    valid = _mask(array.is_valid())
    days, rest = np.divmod(_integers(array.cast(pa.int64())), ticks_per_day)
    findings.add_values(
        valid & (rest != 0),
        name,
        RowErrorCode.NOT_A_DAY,
        array,
        "send the day in the account's time zone, without a time",
    )
    limit = np.iinfo(np.int32).max
    return pa.array(np.clip(days, -limit, limit).astype(np.int32), pa.int32(), mask=~valid).cast(
        pa.date32()
    )


def _read_days(name: str, texts: pa.Array, findings: _Findings) -> pa.Array:
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    with suppress(pa.ArrowInvalid):
        return texts.cast(pa.date32())
    days = [None if text is None else _day_of(text) for text in texts.to_pylist()]
    wrong = _mask(texts.is_valid()) & np.array([day is None for day in days], np.bool_)
    findings.add_values(
        wrong, name, RowErrorCode.NOT_A_DAY, texts, "send a day of the calendar as YYYY-MM-DD"
    )
    return pc.if_else(pa.array(wrong), FIRST_DATE, pa.array(days, pa.date32()))


def _day_of(text: str) -> date | None:
    if _DAY.fullmatch(text) is None:  # the library reads other forms as well
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _cast_integer(name: str, array: pa.Array, findings: _Findings) -> pa.Array | None:
    if array.type == pa.int64():
        return array
    if array.type == pa.uint64():
        large = _mask(pc.greater(array, pa.scalar(2**63 - 1, pa.uint64())))
        allowed = "the largest number is 9223372036854775807"
        findings.add_values(large, name, RowErrorCode.TOO_LARGE, array, allowed)
        return pc.if_else(pa.array(large), pa.scalar(0, pa.uint64()), array).cast(pa.int64())
    if pa.types.is_integer(array.type):
        return array.cast(pa.int64())
    if not pa.types.is_floating(array.type) or name.endswith("_micros"):
        return None
    numbers = array.cast(pa.float64())
    valid = _mask(numbers.is_valid())
    floats = numbers.fill_null(0.0).to_numpy(zero_copy_only=False)
    whole = np.isfinite(floats) & (np.trunc(floats) == floats)
    exact = whole & (np.abs(floats) <= _EXACT_FLOAT)
    allowed = "send a whole number, or leave it unset"
    findings.add_values(valid & ~whole, name, RowErrorCode.NOT_AN_INTEGER, array, allowed)
    allowed = "a float holds whole numbers up to 2**53 only, send int64"
    findings.add_values(whole & ~exact, name, RowErrorCode.TOO_LARGE, array, allowed)
    return pa.array(np.where(exact, floats, 0.0).astype(np.int64), mask=~valid)


def _cast_real(_: str, array: pa.Array, __: _Findings) -> pa.Array | None:
    if pa.types.is_floating(array.type) or pa.types.is_integer(array.type):
        return pc.add(array.cast(pa.float64(), safe=False), 0.0)
    return None


def _cast_boolean(_: str, array: pa.Array, __: _Findings) -> pa.Array | None:
    return array if pa.types.is_boolean(array.type) else None


def _cast_actions(_: str, array: pa.Array, __: _Findings) -> pa.Array | None:
    type_ = array.type
    if type_ == ENTRY_SCHEMA.field("actions").type:
        return array
    if not (pa.types.is_list(type_) or pa.types.is_large_list(type_)):
        return None
    if not pa.types.is_struct(type_.value_type):
        return None
    for child in type_.value_type.fields:
        wanted = ACTION_TYPE.field(child.name) if child.name in ACTION_TYPE.names else None
        is_safe = wanted is not None and (
            child.type == wanted.type
            or pa.types.is_null(child.type)
            or (pa.types.is_signed_integer(child.type) and pa.types.is_integer(wanted.type))
            or (pa.types.is_large_string(child.type) and pa.types.is_string(wanted.type))
        )
        if not is_safe:
            return None
    try:
        return array.cast(ENTRY_SCHEMA.field("actions").type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return None


_CASTS: Final[dict[pa.DataType, Callable[[str, pa.Array, _Findings], pa.Array | None]]] = {
    pa.string(): _cast_text,
    pa.date32(): _cast_date,
    pa.int64(): _cast_integer,
    pa.float64(): _cast_real,
    pa.bool_(): _cast_boolean,
    ENTRY_SCHEMA.field("actions").type: _cast_actions,
}


def _integers(array: pa.Array) -> npt.NDArray[np.int64]:
    """Return an int64 array as numpy; null is zero."""
    if array.null_count:
        array = array.fill_null(0)
    numbers: npt.NDArray[np.int64] = array.to_numpy(zero_copy_only=False)
    return numbers


# --- rules ---------------------------------------------------------------------------------------


def _is_filled(text: pa.Array) -> _Mask:
    return _mask(pc.greater(pc.binary_length(text), 0))


def _check_words(
    columns: _Columns, findings: _Findings, known_platforms: frozenset[str]
) -> npt.NDArray[np.int8]:
    """Check platform, level, account and date basis; return each row's level, -1 where unknown."""
    for name in ("platform", "level", "account_id"):
        empty = ~_is_filled(columns[name])
        findings.add(empty, name, RowErrorCode.REQUIRED, _say(f"{name} is required"))
    platforms = pa.array(sorted(known_platforms), pa.string())
    findings.add_values(
        ~_mask(pc.is_in(columns["platform"], value_set=platforms))
        & _is_filled(columns["platform"]),
        "platform",
        RowErrorCode.UNKNOWN_PLATFORM,
        columns["platform"],
        f"known are {', '.join(platforms.to_pylist())}; register a source to add one",
    )
    level_codes: npt.NDArray[np.int8] = (
        pc.index_in(columns["level"], value_set=pa.array(LEVELS))
        .fill_null(-1)
        .cast(pa.int8())
        .to_numpy()
    )
    findings.add_values(
        (level_codes < 0) & _is_filled(columns["level"]),
        "level",
        RowErrorCode.UNKNOWN_LEVEL,
        columns["level"],
        f"it is one of {', '.join(LEVELS)}",
    )
    _fill_date_basis(columns, level_codes)
    findings.add_values(
        ~_mask(pc.is_in(columns["date_basis"], value_set=pa.array(["", *DATE_BASES]))),
        "date_basis",
        RowErrorCode.UNKNOWN_DATE_BASIS,
        columns["date_basis"],
        f"it is one of {', '.join(DATE_BASES)}, or empty for the default",
    )
    return level_codes


def _fill_date_basis(columns: _Columns, level_codes: npt.NDArray[np.int8]) -> None:
    empty = ~_is_filled(columns["date_basis"])
    if not empty.any():
        return
    # The last word is for unknown levels, which stay empty.
    words = pa.array([*(DEFAULT_DATE_BASIS[level] for level in LEVELS), ""])
    defaults = words.take(pa.array(np.where(level_codes < 0, len(LEVELS), level_codes)))
    sends = _mask(pc.is_in(columns["platform"], value_set=pa.array(SENDING_PLATFORMS)))
    sends &= np.isin(level_codes, [LEVELS.index(level) for level in SENDING_LEVELS])
    defaults = pc.if_else(pa.array(sends), "SEND", defaults)
    columns["date_basis"] = pc.if_else(pa.array(empty), defaults, columns["date_basis"])


def _check_ids(columns: _Columns, level_codes: npt.NDArray[np.int8], findings: _Findings) -> None:
    for name in _OBJECT_IDS:
        _check_id(name, columns, level_codes, findings)


def _check_id(
    name: str, columns: _Columns, level_codes: npt.NDArray[np.int8], findings: _Findings
) -> None:
    ids, levels = columns[name], columns["level"]
    filled = _is_filled(ids)
    # One slot more than levels: an unknown level, code -1, neither needs nor refuses an id.
    needed = np.array([*(name in LEVEL_IDS[level][0] for level in LEVELS), False])
    taken = np.array(
        [*(name in LEVEL_IDS[level][0] + LEVEL_IDS[level][1] for level in LEVELS), True]
    )
    findings.add(
        needed[level_codes] & ~filled,
        name,
        RowErrorCode.REQUIRED,
        lambda index: f"{name} is required at level {levels[index]}",
    )
    findings.add(
        filled & ~taken[level_codes],
        name,
        RowErrorCode.NOT_ALLOWED,
        lambda index: (
            f"{name} is {_shorten(ids[index])}; level {levels[index]} has none, leave it empty"
        ),
    )


def _check_dates(
    columns: _Columns, level_codes: npt.NDArray[np.int8], findings: _Findings, today: date
) -> None:
    dates = columns["date"]
    missing = ~_mask(dates.is_valid())
    findings.add(missing, "date", RowErrorCode.REQUIRED, _say("date is required"))
    days = _integers(dates.cast(pa.int32()).cast(pa.int64()))
    is_control = level_codes == LEVELS.index("CONTROL")
    last = np.where(is_control, CONTROL_DAYS_AHEAD, DAYS_AHEAD) + (today - _EPOCH).days
    outside = ~missing & ((days < (FIRST_DATE - _EPOCH).days) | (days > last))
    findings.add_values(
        outside,
        "date",
        RowErrorCode.DATE_OUT_OF_RANGE,
        dates,
        f"it lies between {FIRST_DATE} and {today + timedelta(days=DAYS_AHEAD)}"
        f" ({today + timedelta(days=CONTROL_DAYS_AHEAD)} at level CONTROL)",
    )


def _check_texts(columns: _Columns, findings: _Findings) -> None:
    for name in (*NATURAL_KEY[1:], *_TEXT_ATTRIBUTES):
        if name not in columns:
            continue
        text = columns[name]
        limit = KEY_MAXIMUM_CHARACTERS if name in NATURAL_KEY else TEXT_MAXIMUM_CHARACTERS
        bytes_ = _text_bytes(text)
        if not bytes_.size:
            continue
        if pc.max(pc.binary_length(text)).as_py() > limit:
            long = _mask(pc.greater(pc.utf8_length(text), limit))
            allowed = f"it has at most {limit} characters"
            findings.add_values(long, name, RowErrorCode.TOO_LONG, text, allowed)
        if _may_hold_control_characters(bytes_):
            controls = _mask(pc.match_substring_regex(text, _CONTROL_PATTERN))
            allowed = "remove its control characters"
            findings.add_values(controls, name, RowErrorCode.CONTROL_CHARACTER, text, allowed)


def _text_bytes(text: pa.Array) -> npt.NDArray[np.uint8]:
    """Return the UTF-8 of all values of a text column as one run of bytes."""
    _, offsets_buffer, text_buffer = text.buffers()
    if text_buffer is None or len(text) == 0:
        return np.empty(0, np.uint8)
    offsets = np.frombuffer(offsets_buffer, np.int32)[text.offset :][: len(text) + 1]
    return np.frombuffer(text_buffer, np.uint8)[offsets[0] : offsets[-1]]


def _may_hold_control_characters(bytes_: npt.NDArray[np.uint8]) -> bool:
    """Say quickly whether a closer look is needed: U+0000 to U+001F, U+007F, U+0080 to U+009F."""
    if bytes_.min() < 0x20 or bool((bytes_ == 0x7F).any()):
        return True
    after_c2 = (bytes_[:-1] == 0xC2) & (bytes_[1:] < 0xA0) if bytes_.max() >= 0xC2 else None
    return after_c2 is not None and bool(after_c2.any())


def _check_numbers(columns: _Columns, findings: _Findings) -> None:
    for name in _METRICS:
        values = columns[name]
        if values.null_count == len(values) or name == "value_micros":
            continue
        if pa.types.is_floating(values.type):
            _check_real(name, values, findings)
        elif pc.min(values).as_py() < 0:
            negative = _mask(pc.less(values, 0))
            allowed = "it must be 0 or more"
            findings.add_values(negative, name, RowErrorCode.NEGATIVE, values, allowed)


def _check_real(name: str, values: pa.Array, findings: _Findings) -> None:
    low, high, allowed = _RANGES[name]
    finite = pc.is_finite(values)
    allowed = f"it must be {allowed}"
    findings.add_values(_mask(pc.invert(finite)), name, RowErrorCode.NOT_FINITE, values, allowed)
    outside = _mask(
        pc.and_(finite, pc.or_(pc.less(values, low), pc.greater(values, high))),
    )
    findings.add_values(outside, name, RowErrorCode.OUT_OF_RANGE, values, allowed)


def _check_actions(actions: pa.Array, findings: _Findings) -> None:
    if actions.null_count == len(actions):
        return
    lengths = pc.list_value_length(actions)
    many = _mask(pc.greater(lengths, MAXIMUM_ACTIONS))
    findings.add(
        many,
        "actions",
        RowErrorCode.TOO_LONG,
        lambda index: f"actions has {lengths[index]} items; it has at most {MAXIMUM_ACTIONS}",
    )
    items = actions.flatten()
    rows = pc.list_parent_indices(actions).to_numpy(zero_copy_only=False)

    def add(broken: pa.Array, name: str, code: RowErrorCode, allowed: str) -> None:
        by_row = np.zeros(len(actions), np.bool_)
        by_row[rows[_mask(broken)]] = True
        findings.add(
            by_row, f"actions.{name}", code, _say(f"{name} of an action is refused; {allowed}")
        )

    types = pc.struct_field(items, "action_type").fill_null("")
    add(pc.equal(pc.binary_length(types), 0), "action_type", RowErrorCode.REQUIRED, "name its type")
    for name in ("action_type", "window"):
        text = pc.struct_field(items, name)
        allowed = f"it has at most {KEY_MAXIMUM_CHARACTERS} characters"
        long = pc.greater(pc.utf8_length(text), KEY_MAXIMUM_CHARACTERS)
        add(long, name, RowErrorCode.TOO_LONG, allowed)
        controls = pc.match_substring_regex(text, _CONTROL_PATTERN)
        allowed = "remove its control characters"
        add(controls, name, RowErrorCode.CONTROL_CHARACTER, allowed)
    for name in ("count_micros", "value_micros"):
        negative = pc.less(pc.struct_field(items, name), 0)
        add(negative, name, RowErrorCode.NEGATIVE, "it must be 0 or more")


def _check_metrics_of_level(
    columns: _Columns, level_codes: npt.NDArray[np.int8], findings: _Findings
) -> None:
    is_control = level_codes == LEVELS.index("CONTROL")
    any_set = np.zeros(findings.row_count, np.bool_)
    for name in (*_METRICS, "actions"):
        values = columns[name]
        if values.null_count == len(values):
            continue
        is_set = _mask(values.is_valid())
        any_set |= is_set
        if name == "value_micros":
            wrong, allowed = is_set & ~is_control, "only level CONTROL carries it"
        else:
            wrong, allowed = is_set & is_control, "level CONTROL carries value_micros only"
        findings.add_values(wrong, name, RowErrorCode.NOT_ALLOWED, values, allowed)
    findings.add(
        ~any_set,
        "",
        RowErrorCode.EMPTY,
        _say("the row has no metric; send at least one, 0 where 0 was measured"),
    )


def _check_currencies(columns: _Columns, findings: _Findings) -> None:
    currencies = columns["currency_code"]
    has_money = np.zeros(findings.row_count, np.bool_)
    for name in ("spend_micros", "revenue_micros"):
        has_money |= _mask(columns[name].is_valid())
    actions = columns["actions"]
    if actions.null_count < len(actions):
        worth = _mask(pc.struct_field(actions.flatten(), "value_micros").is_valid())
        has_money[pc.list_parent_indices(actions).to_numpy(zero_copy_only=False)[worth]] = True
    is_set = _mask(currencies.is_valid())
    findings.add(
        has_money & ~is_set,
        "currency_code",
        RowErrorCode.REQUIRED,
        _say("currency_code is required where spend, revenue or an action's value is set"),
    )
    known = _mask(pc.is_in(currencies, value_set=pa.array(sorted(CURRENCY_CODES))))
    findings.add_values(
        is_set & ~known,
        "currency_code",
        RowErrorCode.UNKNOWN_CURRENCY,
        currencies,
        "it is an ISO 4217 code in three upper-case letters, such as EUR",
    )


def _check_time_zones(zones: pa.Array, findings: _Findings) -> None:
    wrong = [it for it in zones.unique().drop_null().to_pylist() if not is_time_zone(it)]
    if wrong:
        findings.add_values(
            _mask(pc.is_in(zones, value_set=pa.array(wrong, pa.string()))),
            "time_zone",
            RowErrorCode.UNKNOWN_TIME_ZONE,
            zones,
            "it is the IANA name of a time zone, such as Europe/Berlin",
        )


def _key_words(columns: _Columns, index: int) -> str:
    """Return a row's natural key in words: readers of a file cannot count rows of a batch."""
    parts = ((name, columns[name][index].as_py()) for name in NATURAL_KEY)
    return ", ".join(f"{name} {part!s:.80}" for name, part in parts if part not in (None, ""))


def _settle_duplicates(columns: _Columns, findings: _Findings, schema: pa.Schema) -> CheckedBatch:
    """Drop the bad rows and all but the first of those that share a natural key."""
    rows = pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
    indexes = np.flatnonzero(~findings.bad)
    if len(indexes) < findings.row_count:
        rows = rows.take(pa.array(indexes))
    digests = entry_ids(rows)
    if len(set(digests)) < len(digests):
        first: dict[bytes, int] = {}
        for digest, index in zip(digests, indexes.tolist(), strict=True):
            first.setdefault(digest, index)
        firsts = np.array([first[digest] for digest in digests])
        repeated = firsts != indexes
        broken = np.zeros(findings.row_count, np.bool_)
        broken[indexes[repeated]] = True
        findings.add(
            broken,
            "",
            RowErrorCode.DUPLICATE,
            lambda index: (
                f"a row before it has the same natural key ({_key_words(columns, index)});"
                " send one row for each key"
            ),
        )
        rows = rows.filter(pa.array(~repeated))
        digests = [digest for digest, again in zip(digests, repeated, strict=True) if not again]
    errors = tuple(sorted(findings.errors, key=lambda error: error.index))
    return CheckedBatch(rows.combine_chunks(), tuple(digests), errors)
