"""The part of the key that says what splits an object's day: `age=25-34&gender=female`.

Names and values are percent-encoded where they hold `%`, `&` or `=`, and ordered by name, so that
one set of breakdowns has one text. An empty text means the object's whole day.
"""

from collections.abc import Iterator, Mapping, Sequence

from liftos_mapping.conversions import ConversionError, is_absent, text
from liftos_mapping.errors import RowError
from liftos_mapping.mapping import BreakdownRule
from liftos_mapping.source_columns import (
    RawColumns,
    RawRow,
    SourceColumns,
    WantedPaths,
    group_fields,
)


def breakdown_keys(
    rows: Sequence[object],
    columns: SourceColumns,
    rule: BreakdownRule,
    wanted: WantedPaths,
    errors: list[RowError],
) -> list[str]:
    """The breakdown key of every row; a value that cannot be a part of it is a row error."""
    present = [
        (path, name, values)
        for path, name in rule.fields
        if (values := columns.get(path)) is not None
    ]
    reads_groups = _may_have_groups(rows, rule, wanted)
    if not present and not reads_groups:
        return [""] * len(rows)
    keys = []
    for position, row in enumerate(rows):
        fields = [(path, name, values[position]) for path, name, values in present]
        if reads_groups and isinstance(row, Mapping):
            fields.extend(_group_fields(row, rule, wanted))
        parts: list[str] = []
        for path, name, value in fields:
            try:
                parts.extend(_part(name, value))
            except ConversionError as error:
                errors.append(RowError(position, path, error.code, error.message))
        keys.append("&".join(sorted(parts)))
    return keys


def _may_have_groups(rows: Sequence[object], rule: BreakdownRule, wanted: WantedPaths) -> bool:
    """Whether a field of a group may split rows; columns are judged by their names."""
    if not isinstance(rows, RawColumns):
        return bool(rule.groups)
    return any(
        path == group
        or (
            path.startswith(f"{group}.")
            and path not in wanted.leaves
            and path.removeprefix(f"{group}.") not in rule.exempt
        )
        for path in map(wanted.canonical, rows.names)
        for group in rule.groups
    )


def _group_fields(
    row: RawRow, rule: BreakdownRule, wanted: WantedPaths
) -> Iterator[tuple[str, str, object]]:
    for group in rule.groups:
        for name, value in group_fields(row, group, wanted):
            path = f"{group}.{name}"
            if name not in rule.exempt and path not in wanted.leaves:
                yield path, name, value


def _part(name: str, value: object) -> Iterator[str]:
    if is_absent(value):
        return
    word = str(value).lower() if isinstance(value, bool) else text(value)
    yield f"{_encode(text(name) or '')}={_encode(word or '')}"


def _encode(word: str) -> str:
    return word.replace("%", "%25").replace("&", "%26").replace("=", "%3D")
