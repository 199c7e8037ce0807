"""Raw rows of nested or dotted names, seen as columns.

Only the paths that a mapping reads become columns. The names of all other fields are collected, so
that nothing vanishes in silence, without reading their values: work stays proportional to the
input however many different names a caller invents.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeAlias, overload

import pyarrow as pa
import pyarrow.compute as pc

from liftos_mapping.conversions import is_absent, show
from liftos_mapping.errors import RowError, RowErrorCode
from liftos_mapping.text_column import TextColumn

RawRow = Mapping[str, object]
"""One row as a platform sent it."""

SourceColumn: TypeAlias = list[object] | TextColumn
"""The values of all rows under one path, None where a row does not have it."""


class RawColumns(Sequence[RawRow]):
    """Raw rows that came as columns: whoever looks at one sees a flat row with dotted names.

    The mappings read the columns themselves, which takes a fraction of the time that rows take
    and gives the same entries. A row has the fields whose value in it is not None.

    Args:
        row_count: How many rows there are.
        columns: Their values by name, such as `metrics.clicks`, each as long as there are rows.

    Raises:
        ValueError: A column is shorter or longer.
    """

    __slots__ = ("_columns", "_row_count")

    def __init__(self, row_count: int, columns: Mapping[str, Sequence[object]]) -> None:
        for name, values in columns.items():
            if len(values) != row_count:
                raise ValueError(f"{len(values)} values of {name} for {row_count} rows")
        self._row_count = row_count
        # A field that no row has is no field of theirs.
        self._columns = {name: values for name, values in columns.items() if _has_values(values)}

    @classmethod
    def of_table(cls, table: pa.Table) -> "RawColumns":
        """The rows of a table; columns of text stay in Arrow, which converts them at once."""
        columns: dict[str, Sequence[object]] = {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                array = column.cast(pa.string()).combine_chunks()
                columns[name] = TextColumn(array)
            else:
                columns[name] = column.to_pylist()
        return cls(table.num_rows, columns)

    @property
    def names(self) -> Iterable[str]:
        """The names of fields that any row has."""
        return self._columns.keys()

    def values(self, name: str) -> SourceColumn:
        """A field of all rows, None where a row does not have it."""
        values = self._columns[name]
        return values if isinstance(values, TextColumn) else list(values)

    def __len__(self) -> int:
        return self._row_count

    @overload
    def __getitem__(self, index: int) -> RawRow: ...

    @overload
    def __getitem__(self, index: slice) -> "RawColumns": ...

    def __getitem__(self, index: int | slice) -> "RawRow | RawColumns":
        if isinstance(index, slice):
            count = len(range(*index.indices(self._row_count)))
            return RawColumns(count, {name: it[index] for name, it in self._columns.items()})
        # Also where there is no column that knows how many rows there are.
        position = range(self._row_count)[index]
        found = ((name, values[position]) for name, values in self._columns.items())
        return {name: value for name, value in found if value is not None}


def _has_values(values: Sequence[object]) -> bool:
    if isinstance(values, TextColumn):
        return bool(values.array.null_count < len(values))
    return any(value is not None for value in values)


_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])[A-Z]", re.ASCII)


@dataclass(slots=True)
class SourceColumns:
    """The columns of a call's rows that a mapping asked for.

    Attributes:
        columns: The values per path, None where a row does not have it.
        unmapped: Fields in the source's spelling that nothing reads.
        errors: Rows that are not shaped as the paths expect, by position.
    """

    row_count: int
    columns: dict[str, SourceColumn] = field(default_factory=dict)
    unmapped: set[str] = field(default_factory=set)
    errors: list[RowError] = field(default_factory=list)

    def get(self, path: str) -> SourceColumn | None:
        """The column of a path, or None where no row has it."""
        return self.columns.get(path)

    def first_of(self, paths: Sequence[str]) -> SourceColumn | None:
        """For each row the value of the first path that it has; None where no row has any."""
        present = [self.columns[path] for path in paths if path in self.columns]
        if not present:
            return None
        chosen = present[0]
        for later in present[1:]:
            if isinstance(chosen, TextColumn) and isinstance(later, TextColumn):
                chosen = TextColumn(pc.if_else(chosen.is_absent(), later.array, chosen.array))
                continue
            chosen = [
                fallback if is_absent(value) else value
                for value, fallback in zip(chosen, later, strict=True)
            ]
        return chosen

    def path_used(self, paths: Sequence[str], position: int) -> str:
        """The path that gave a row's value; the first one where none did."""
        for path in paths:
            values = self.columns.get(path)
            if values is not None and not is_absent(values[position]):
                return path
        return paths[0]


@dataclass(frozen=True, slots=True)
class WantedPaths:
    """What to read: exact paths, objects on the way to them, groups read whole.

    Attributes:
        leaves: Paths that become columns.
        branches: Objects on the way to a leaf.
        groups: Objects of which every field is somebody's; never listed as unmapped.
        redundant: Paths that are read by nobody and not listed either.
        camel_case: Whether camelCase is another spelling.
    """

    leaves: frozenset[str]
    branches: frozenset[str]
    groups: tuple[str, ...]
    redundant: frozenset[str]
    camel_case: bool

    def canonical(self, name: str) -> str:
        """The name as the mapping spells it."""
        return snake_case(name) if self.camel_case else name


def wanted_paths(
    leaves: frozenset[str],
    *,
    groups: tuple[str, ...] = (),
    redundant: frozenset[str] = frozenset(),
    camel_case: bool = False,
) -> WantedPaths:
    """The paths to read, with the objects that lead to them."""
    branches = set(groups)
    for path in leaves | redundant:
        parts = path.split(".")
        branches.update(".".join(parts[:end]) for end in range(1, len(parts)))
    return WantedPaths(leaves, frozenset(branches), groups, redundant, camel_case)


@lru_cache(maxsize=4096)
def snake_case(name: str) -> str:
    """`costMicros` as `cost_micros`; snake_case stays as it is."""
    return _CAPITAL.sub(lambda capital: f"_{capital.group().lower()}", name)


def read_columns(rows: Sequence[object], wanted: WantedPaths) -> SourceColumns:
    """The wanted columns of the rows; a row that is no object gives an error and no values."""
    result = SourceColumns(row_count=len(rows))
    if isinstance(rows, RawColumns):
        _read_fields(rows.names, rows.values, "", wanted, result)
        return result
    objects: list[RawRow | None] = []
    for position, row in enumerate(rows):
        if isinstance(row, Mapping):
            objects.append(row)
            continue
        objects.append(None)
        message = f"a raw row is an object with named fields, got {show(row)}"
        result.errors.append(RowError(position, "", RowErrorCode.NOT_AN_OBJECT, message))
    _read_level(objects, "", wanted, result)
    return result


def _read_level(
    objects: Sequence[RawRow | None], prefix: str, wanted: WantedPaths, result: SourceColumns
) -> None:
    names: dict[str, None] = {}
    for item in objects:
        if item is not None:
            names.update(dict.fromkeys(item))

    def values_of(name: str) -> SourceColumn:
        return [item.get(name) if item is not None else None for item in objects]

    _read_fields(names, values_of, prefix, wanted, result)


def _read_fields(
    names: Iterable[str],
    values_of: Callable[[str], SourceColumn],
    prefix: str,
    wanted: WantedPaths,
    result: SourceColumns,
) -> None:
    for name in names:
        path = prefix + wanted.canonical(str(name))
        if path in wanted.leaves:
            _add_column(path, values_of(name), result)
        elif path in wanted.branches:
            objects = _objects_of(path, values_of(name), result)
            _read_level(objects, path + ".", wanted, result)
        elif path not in wanted.redundant and not path.startswith(
            tuple(f"{group}." for group in wanted.groups)
        ):
            result.unmapped.add(f"{prefix}{name}")


def _objects_of(path: str, values: Sequence[object], result: SourceColumns) -> list[RawRow | None]:
    objects: list[RawRow | None] = []
    for position, value in enumerate(values):
        if value is None or isinstance(value, Mapping):
            objects.append(value)
            continue
        objects.append(None)
        message = f"expected an object with named fields, got {show(value)}"
        result.errors.append(RowError(position, path, RowErrorCode.WRONG_SHAPE, message))
    return objects


def _add_column(path: str, values: SourceColumn, result: SourceColumns) -> None:
    """Adds a column, or merges two spellings of one path; a row that has both is ambiguous."""
    earlier = result.columns.get(path)
    if earlier is None:
        result.columns[path] = values
        return
    if isinstance(earlier, TextColumn):
        earlier = result.columns[path] = list(earlier)
    for position, value in enumerate(values):
        if is_absent(value):
            continue
        if is_absent(earlier[position]):
            earlier[position] = value
        elif earlier[position] != value:
            message = f"two spellings give {show(earlier[position])} and {show(value)}"
            result.errors.append(RowError(position, path, RowErrorCode.AMBIGUOUS, message))


def group_fields(row: RawRow, group: str, wanted: WantedPaths) -> list[tuple[str, object]]:
    """The fields of one row's object, nested or dotted, by their names as the mapping spells."""
    fields: list[tuple[str, object]] = []
    prefix = f"{group}."
    for name, value in row.items():
        path = wanted.canonical(str(name))
        if path == group and isinstance(value, Mapping):
            fields.extend((wanted.canonical(str(key)), inner) for key, inner in value.items())
        elif path.startswith(prefix):
            fields.append((path.removeprefix(prefix), value))
    return fields
