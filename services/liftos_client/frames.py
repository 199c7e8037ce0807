"""Frames in and out: pandas to the Arrow batches of the contract, and back."""

import difflib
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from liftos.memory.v1.entry_pb2 import DateBasis, EntryLevel
from liftos_client.arguments import enum_word
from liftos_client.entry_columns import (
    REQUIRED_COLUMNS,
    computed_names,
    entry_columns,
    unit_columns,
)
from liftos_client.errors import FieldViolation, FrameError
from liftos_client.micros import MicrosError, micros_from_decimal, micros_from_floats

MAXIMUM_ROWS: Final = 65_536
MAXIMUM_BYTES: Final = 8 * 1024 * 1024

_MAXIMUM_FLOAT_INTEGER: Final = 2.0**53
_ENUMS: Final = {"level": EntryLevel, "date_basis": DateBasis}
_ENUM_PREFIXES: Final = {"level": "ENTRY_LEVEL_", "date_basis": "DATE_BASIS_"}
_PANDAS_TYPES: Final = {
    pa.int64(): pd.Int64Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def frame_of_arrow(data: bytes) -> pd.DataFrame:
    """Return the frame of an Arrow IPC stream; what is null there is missing in the frame.

    Integers are Int64, reals Float64, truths boolean, dates datetime64.
    """
    with pa.ipc.open_stream(data) as reader:
        table = reader.read_all()
    for place, field in enumerate(table.schema):
        if pa.types.is_date(field.type):
            moments = pc.cast(table.column(place), pa.timestamp("us"))
            table = table.set_column(place, field.name, moments)
    frame: pd.DataFrame = table.to_pandas(types_mapper=_PANDAS_TYPES.get)
    return frame


def frame_in_units(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with money and conversions in units: `spend` in place of `spend_micros`."""
    named = {name: unit for unit, name in unit_columns().items() if name in frame.columns}
    converted = frame.assign(**{name: frame[name] / 1_000_000 for name in named})
    return converted.rename(columns=named)


def table_of_frame(frame: pd.DataFrame) -> pa.Table:
    """Return the rows of a frame as the columns of an entry.

    Columns are those of the contract, in any order; leave out what is not known. Money and
    conversions may be given in units in place of micros: `spend` (float, Decimal or text) for
    `spend_micros`, rounded half to even at the sixth place.

    Raises:
        FrameError: Columns or values do not fit; it names all of them.
    """
    _check_names(frame)
    arrays: dict[str, pa.Array] = {}
    violations: list[FieldViolation] = []
    for name in frame.columns:
        target = unit_columns().get(name, name)
        try:
            arrays[target] = _column(name, target, frame[name])
        except _ValueError as error:
            violations.append(FieldViolation(name, str(error), rule="value"))
    if violations:
        raise FrameError("values of the frame do not fit their columns", violations)
    return pa.table(arrays)


def split_rows(rows: "pa.Table | pa.RecordBatch | pd.DataFrame") -> Iterator[tuple[int, bytes]]:
    """Split a frame or a table into Arrow IPC streams; see `split_table`.

    Raises:
        FrameError: The columns or values of a frame do not fit.
    """
    yield from split_table(table_of_frame(rows) if isinstance(rows, pd.DataFrame) else rows)


def split_table(table: pa.Table | pa.RecordBatch) -> Iterator[tuple[int, bytes]]:
    """Split rows into Arrow IPC streams that fit into one message each.

    Yields:
        How many rows, and the stream.

    Raises:
        FrameError: One row alone is larger than a message may be.
    """
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    start, step = 0, MAXIMUM_ROWS
    while start < table.num_rows:
        part = table.slice(start, step).combine_chunks()
        data = _stream_of(part)
        if len(data) > MAXIMUM_BYTES:
            if part.num_rows == 1:
                raise FrameError(f"row {start} alone is larger than {MAXIMUM_BYTES} bytes")
            step = max(1, min(part.num_rows // 2, part.num_rows * MAXIMUM_BYTES // len(data)))
            continue
        yield part.num_rows, data
        start += part.num_rows


def _stream_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


class _ValueError(ValueError):
    """A value that does not fit its column."""


def _check_names(frame: pd.DataFrame) -> None:
    names = [str(name) for name in frame.columns]
    violations = [
        FieldViolation(str(name), "is in the index; call reset_index() first", rule="index")
        for name in frame.index.names
        if name is not None
    ]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            violations.append(FieldViolation(name, "is there more than once", rule="unique"))
        if name not in entry_columns() and name not in unit_columns():
            violations.append(FieldViolation(name, _why_unknown(name), rule="unknown"))
    given = set(names)
    for unit, micros in unit_columns().items():
        if {unit, micros} <= given:
            text = f"is given twice: as {unit} and as {micros}"
            violations.append(FieldViolation(unit, text, rule="unique"))
    violations += [
        FieldViolation(name, "is missing; every entry has one", rule="required")
        for name in REQUIRED_COLUMNS
        if name not in given and name not in frame.index.names
    ]
    if violations:
        fields = ", ".join(dict.fromkeys(violation.field for violation in violations))
        raise FrameError(
            f"the columns of the frame are not those of an entry: {fields}", violations
        )


def _why_unknown(name: str) -> str:
    if name in computed_names():
        return "is given by the service; drop the column"
    near = difflib.get_close_matches(name.lower(), [*entry_columns(), *unit_columns()], n=1)
    return (
        f"is no column of an entry; did you mean {near[0]}?" if near else "is no column of an entry"
    )


def _column(name: str, target: str, series: "pd.Series[Any]") -> pa.Array:
    type_ = entry_columns()[target]
    if name != target:
        return _micros(series)
    if target in _ENUMS:
        return _words(target, series)
    if pa.types.is_date(type_):
        return _dates(series)
    if pa.types.is_string(type_):
        return _texts(series)
    if pa.types.is_integer(type_):
        return _integers(series)
    return _convert(series, type_)


def _micros(series: "pd.Series[Any]") -> pa.Array:
    missing = series.isna().to_numpy(dtype=bool)
    try:
        if pd.api.types.is_float_dtype(series.dtype):
            floats = series.to_numpy(dtype=np.float64, na_value=0.0)
            micros = micros_from_floats(np.where(missing, 0.0, floats))
            return pa.array(micros, pa.int64(), mask=missing)
        values = [
            None if gone else micros_from_decimal(_exact(value))
            for value, gone in zip(series, missing, strict=True)
        ]
    except MicrosError as error:
        raise _ValueError(str(error)) from error
    return pa.array(values, pa.int64())


def _exact(value: object) -> Decimal | int | str:
    if isinstance(value, bool | np.bool_):
        raise _ValueError(f"{value!r} is no number")
    if isinstance(value, Decimal | int | str):
        return value
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return repr(float(value))
    raise _ValueError(f"{value!r} is no number")


def _words(name: str, series: "pd.Series[Any]") -> pa.Array:
    codes, values = pd.factorize(series)
    words: list[str | None] = []
    for value in values:
        if isinstance(value, int | np.integer):
            words.append(enum_word(_ENUMS[name], int(value)))
        else:
            words.append(str(value).upper().removeprefix(_ENUM_PREFIXES[name]))
    # Missing values have the code -1, which is the last.
    words.append(None)
    return pa.array(np.array(words, dtype=object)[codes], pa.string())


def _dates(series: "pd.Series[Any]") -> pa.Array:
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        raise _ValueError("has a time zone; give civil dates of the account")
    if pd.api.types.is_datetime64_dtype(series.dtype):
        if not (series.dropna() == series.dropna().dt.normalize()).all():
            raise _ValueError("has times of day; call .dt.normalize() where these mean nothing")
        return pa.array(series, from_pandas=True).cast(pa.date32())
    return pa.array([_day(value) for value in series], pa.date32())


def _day(value: object) -> date | None:
    if isinstance(value, datetime):
        if value.time().replace(tzinfo=None) != datetime.min.time() or value.tzinfo is not None:
            raise _ValueError(f"{value!r} is no civil date")
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise _ValueError(f"{value!r} is no date; write YYYY-MM-DD") from error
    if pd.isna(value):  # type: ignore[call-overload]  # any scalar
        return None
    raise _ValueError(f"{value!r} is no date")


def _texts(series: "pd.Series[Any]") -> pa.Array:
    if pd.api.types.is_float_dtype(series.dtype):
        raise _ValueError("was read as floats, which lose digits of ids; read it as text")
    if pd.api.types.is_integer_dtype(series.dtype):
        return _convert(series, pa.int64()).cast(pa.string())
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    return _convert(series, pa.string())


def _integers(series: "pd.Series[Any]") -> pa.Array:
    if not pd.api.types.is_float_dtype(series.dtype):
        if pd.api.types.is_bool_dtype(series.dtype):
            raise _ValueError("has truths, not numbers")
        return _convert(series, pa.int64())
    missing = series.isna().to_numpy(dtype=bool)
    floats = np.where(missing, 0.0, series.to_numpy(dtype=np.float64, na_value=0.0))
    wrong = (floats != np.trunc(floats)) | (np.abs(floats) > _MAXIMUM_FLOAT_INTEGER)
    if wrong.any():
        raise _ValueError(f"{floats[wrong][0]!r} is no whole number; this column counts")
    return pa.array(floats.astype(np.int64), pa.int64(), mask=missing)


def _convert(series: "pd.Series[Any]", type_: pa.DataType) -> pa.Array:
    try:
        converted = pa.array(series, type=type_, from_pandas=True)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise _ValueError(str(error).splitlines()[0][:200]) from error
    return converted.combine_chunks() if isinstance(converted, pa.ChunkedArray) else converted
