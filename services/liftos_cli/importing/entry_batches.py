"""The columns of a file become those of an entry: renamed, filled with constants, given types.

Amounts may come in units under the name without `_micros` (`spend`, `conversions`); they become
micros exactly, rounded half to even beyond the sixth place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from liftos_cli.errors import CommandError
from liftos_cli.importing.row_files import RefusedRow, RowBatch
from liftos_client.entry_columns import entry_columns, unit_columns
from liftos_client.micros import MicrosError, micros_from_decimal

_WORDS: Final = ("level", "date_basis")
# Times a million it has the 38 digits that Arrow multiplies in.
_EXACT: Final = pa.decimal128(30, 12)
_MILLION: Final = pa.scalar(Decimal(1_000_000), pa.decimal128(7, 0))
_INT64: Final = range(-(2**63), 2**63)
_DAY: Final = "date"


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """Where each column of an entry comes from.

    Attributes:
        renamed: Column of the entry by column of the file; empty leaves the column out.
        constants: Value by column of the entry, the same for all rows.
    """

    renamed: Mapping[str, str]
    constants: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EntryBatch:
    """Rows ready to be sent.

    Attributes:
        table: Columns and types of entries.
        row_numbers: The number of each row in the file.
        refused: Rows that did not get this far.
    """

    table: pa.Table
    row_numbers: Sequence[int]
    refused: tuple[RefusedRow, ...]


def make_entry_batch(batch: RowBatch, plan: ColumnPlan) -> EntryBatch:
    """Give a batch the columns of entries; rows with values that cannot be read are refused.

    Raises:
        CommandError: A column is unknown, is there twice, or is of a kind that loses something.
    """
    names = _target_names(batch.table.column_names, plan)
    columns: dict[str, pa.Array] = {}
    faults: list[tuple[int, str, str]] = []
    count = batch.table.num_rows
    for position, name in enumerate(names):
        if name:
            values = batch.table.column(position).combine_chunks()
            columns[_stored(name)] = _typed(name, values, faults)
    for name, text in plan.constants.items():
        before = len(faults)
        columns[_stored(name)] = _typed(name, pa.repeat(pa.scalar(text), count), faults)
        if len(faults) > before:
            raise CommandError(f"--set {name}={text}: {faults[before][2]}")
    bad = {index for index, _, _ in faults}
    table = pa.table(columns)
    numbers = batch.row_numbers
    refused = [*batch.refused]
    refused += [
        RefusedRow(numbers[index], field, "NOT_READABLE", message)
        for index, field, message in sorted(faults)
    ]
    if bad:
        good = [index for index in range(count) if index not in bad]
        table = table.take(pa.array(good, pa.int64()))
        numbers = [numbers[index] for index in good]
    return EntryBatch(table, numbers, tuple(refused))


def _stored(name: str) -> str:
    """Return the entry's column of a name that may stand for an amount in units."""
    return unit_columns().get(name, name)


def _target_names(names: Sequence[str], plan: ColumnPlan) -> list[str]:
    known = entry_columns()
    if missing := [name for name in plan.renamed if name not in names]:
        raise CommandError(
            f"--map names the column {missing[0]!r}, which the file does not have",
            advice=f"choose among {', '.join(names)}",
        )
    targets = [plan.renamed.get(name, name) for name in names]
    filled = [*filter(None, targets), *plan.constants]
    if unknown := [name for name in filled if _stored(name) not in known]:
        raise CommandError(
            f"{', '.join(map(repr, unknown))} {'is' if len(unknown) == 1 else 'are'} "
            "no column of an entry",
            advice=_way_out(unknown[0], plan),
            details=[f"columns of an entry: {', '.join([*known, *unit_columns()])}"],
        )
    stored = [_stored(name) for name in filled]
    if twice := [name for name in filled if stored.count(_stored(name)) > 1]:
        raise CommandError(
            f"{twice[0]!r} is given twice",
            advice="take --set away, or leave the column of the file out with --map COLUMN="
            if any(_stored(name) == _stored(twice[0]) for name in plan.constants)
            else "leave one of the columns out with --map COLUMN=",
        )
    return targets


_DBT_COLUMNS: Final = ("date_day", "source_relation")
"""Columns by which tables of dbt_ad_reporting begin."""


def _way_out(unknown: str, plan: ColumnPlan) -> str:
    """Return what to do about a name that is no column, by where it comes from."""
    if unknown in plan.constants:
        return f"take --set {unknown}={plan.constants[unknown]} away, or name a column there"
    if source := next((old for old, new in plan.renamed.items() if new == unknown), None):
        return f"name a column of an entry in --map {source}={unknown}"
    if unknown in _DBT_COLUMNS:
        return "for a table of dbt_ad_reporting, say --raw dbt"
    return f"rename with --map {unknown}=TARGET, or leave out with --map {unknown}="


def _typed(name: str, values: pa.Array, faults: list[tuple[int, str, str]]) -> pa.Array:
    """Return one column of an entry; add what cannot be read to `faults`."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_large_string(values.type) or values.type == pa.string_view():
        values = values.cast(pa.string())
    wanted = entry_columns()[_stored(name)]

    def note(index: int, message: str) -> None:
        faults.append((index, name, message))

    if pa.types.is_null(values.type):
        return pa.nulls(len(values), wanted)
    if name in unit_columns():
        return _micros(values, note, name)
    if wanted == pa.string() or name == _DAY:
        return _texts(values, name)
    if pa.types.is_string(values.type):
        return _parsed(values, wanted, note)
    # Other types are the server's to judge: it takes what loses nothing.
    return values


def _texts(values: pa.Array, name: str) -> pa.Array:
    if pa.types.is_string(values.type):
        trimmed = pc.utf8_trim_whitespace(values)
        return pc.utf8_upper(trimmed) if name in _WORDS else trimmed
    if pa.types.is_integer(values.type):
        return values.cast(pa.string())
    if name == _DAY and pa.types.is_temporal(values.type):
        return values
    raise CommandError(
        f"the column {name} holds {values.type}, and has to hold texts",
        advice="write it as text, so that no digit is lost",
    )


def _parsed(values: pa.Array, wanted: pa.DataType, note: Callable[[int, str], None]) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(values)
    texts = pc.if_else(pc.equal(trimmed, ""), None, trimmed)
    try:
        return texts.cast(wanted)
    except pa.ArrowException:
        parse = _PARSERS.get(wanted)
        if parse is None:
            raise CommandError(
                "actions cannot be written as text", advice="use JSON lines or Parquet for them"
            ) from None
        return _one_by_one(texts, wanted, parse, note)


def _micros(values: pa.Array, note: Callable[[int, str], None], name: str) -> pa.Array:
    if not (
        pa.types.is_string(values.type)
        or pa.types.is_integer(values.type)
        or pa.types.is_floating(values.type)
        or pa.types.is_decimal(values.type)
    ):
        raise CommandError(f"the column {name} holds {values.type}, and has to hold amounts")
    # A float's shortest text is the amount that was meant: 0.1, not 0.1000000000000000055.
    texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    try:
        scaled = pc.multiply(texts.cast(_EXACT), _MILLION)
        return pc.round(scaled, 0, round_mode="half_to_even").cast(pa.int64())
    except pa.ArrowException:
        return _one_by_one(texts, pa.int64(), _micros_of, note)


def _one_by_one(
    texts: pa.Array,
    wanted: pa.DataType,
    parse: Callable[[str], Any],
    note: Callable[[int, str], None],
) -> pa.Array:
    parsed: list[Any] = []
    for index, text in enumerate(texts.to_pylist()):
        value = None
        if text is not None:
            try:
                value = parse(text)
            except ValueError as error:
                note(index, str(error))
        parsed.append(value)
    return pa.array(parsed, wanted)


def _micros_of(text: str) -> int:
    try:
        return micros_from_decimal(text)
    except MicrosError:
        raise ValueError(f"{text[:60]!r} is no amount; write it like 1234.56") from None


def _integer_of(text: str) -> int:
    try:
        number = Decimal(text)
        whole = number.is_finite() and abs(number) < 2**64 and number == number.to_integral_value()
    except InvalidOperation:
        whole = False
    if not whole or int(number) not in _INT64:
        raise ValueError(f"{text[:60]!r} is no whole number")
    return int(number)


def _float_of(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is no number") from None


def _bool_of(text: str) -> bool:
    words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    if (value := words.get(text.lower())) is None:
        raise ValueError(f"{text[:60]!r} is neither true nor false")
    return value


_PARSERS: Final[Mapping[pa.DataType, Callable[[str], Any]]] = {
    pa.int64(): _integer_of,
    pa.float64(): _float_of,
    pa.bool_(): _bool_of,
}
