"""Entries and sums as rows of a table."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from liftos.memory.v1.entry_pb2 import DerivedMetrics, Entry, Metrics
from liftos_cli.errors import CommandError
from liftos_cli.figures import MICROS, UNSET, cell, short_name
from liftos_cli.output import Column

DEFAULT_COLUMNS: Final = (
    "date",
    "platform",
    "level",
    "object",
    "currency_code",
    "spend",
    "impressions",
    "clicks",
    "conversions",
    "revenue",
    "quality",
)
_APART: Final = ("breakdown", "date_basis", "attribution_key")
"""What else tells rows of one object and day apart."""
_OBJECT: Final = "object"
_BREAKDOWN: Final = "breakdown"
_QUALITY: Final = "quality"
_CURRENCY: Final = "currency_code"
_OBJECT_FIELDS: Final = ("series", "message", "flow", "ad", "ad_group", "campaign", "account")
_PARTS: Final = ("metrics", "grain_metrics", "derived_metrics")


def chosen_columns(names: str | None) -> list[str] | None:
    """Return the columns that an option names; None where it names none.

    Raises:
        CommandError: A name is no field of an entry.
    """
    if names is None:
        return None
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    empty = Entry()
    for name in chosen:
        try:
            entry_cell(empty, name)
        except KeyError:
            raise CommandError(
                f"{name!r} is no column of an entry",
                advice=f"choose of {', '.join(_known_columns())}",
            ) from None
    return chosen


def chosen_metrics(names: Sequence[str]) -> set[str]:
    """Return the fields of sums and ratios that options name, amounts by their name in units too.

    Raises:
        CommandError: A name is neither a metric nor a ratio.
    """
    fields = {
        known: field
        for part in (Metrics, DerivedMetrics)
        for field in part.DESCRIPTOR.fields_by_name
        for known in {field, field.removesuffix(MICROS)}
        if field != _CURRENCY
    }
    for name in names:
        if name not in fields:
            close = get_close_matches(name, fields, n=2)
            raise CommandError(
                f"--metric: {name!r} is no metric and no ratio",
                advice=f"take {' or '.join(close)}, if that is meant"
                if close
                else f"choose of {', '.join(sorted(set(fields) - _in_micros(fields)))}",
            )
    return {fields[name] for name in names}


def _in_micros(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.endswith(MICROS)}


def telling_columns(entries: Sequence[Entry]) -> list[str]:
    """Return the columns by which entries are read where none are chosen.

    What few entries have is shown where they would look alike without it.
    """
    apart = [name for name in _APART if len({entry_cell(each, name) for each in entries}) > 1]
    if _BREAKDOWN not in apart and any(each.breakdown_key for each in entries):
        apart.append(_BREAKDOWN)
    place = DEFAULT_COLUMNS.index(_OBJECT) + 1
    return [*DEFAULT_COLUMNS[:place], *apart, *DEFAULT_COLUMNS[place:]]


def entry_columns(names: Sequence[str]) -> list[Column]:
    """Return the columns of a table of entries."""
    return [Column(name, number=_is_number(name)) for name in names]


def _known_columns() -> list[str]:
    """Return every name that a column can have."""
    fields = [getattr(Entry(), part).DESCRIPTOR.fields for part in _PARTS]
    own = [
        field.name
        for field in Entry.DESCRIPTOR.fields
        if field.message_type is None
        or field.message_type.full_name == Timestamp.DESCRIPTOR.full_name
    ]
    inner = [field.name.removesuffix(MICROS) for part in fields for field in part]
    return list(dict.fromkeys([_OBJECT, _BREAKDOWN, _QUALITY, *own, *inner]))


def entry_cell(entry: Entry, name: str) -> str:
    """Return one value of an entry: a field of it, of its metrics or its ratios, or its object.

    Raises:
        KeyError: There is no such field.
    """
    if name == _OBJECT:
        return _object(entry)
    if name == _BREAKDOWN:
        return entry.breakdown_key
    if name == _QUALITY:
        return f"{entry.quality.score:.2f}" if entry.HasField("quality") else UNSET
    if name == "name":
        return short_name(entry.name)
    if name in Entry.DESCRIPTOR.fields_by_name:
        return cell(entry, name)
    for part in _PARTS:
        try:
            return cell(getattr(entry, part), name)
        except KeyError:
            continue
    raise KeyError(name)


def metric_cell(metrics: Message, stored: str) -> str:
    """Return a metric by the name it is stored under, amounts in units."""
    return cell(metrics, stored.removesuffix(MICROS))


def differences(before: Entry, after: Entry, paths: Sequence[str]) -> str:
    """Return what changed: `clicks 10 → 12`."""
    return ", ".join(
        f"{path.rpartition('.')[2].removesuffix(MICROS)} "
        f"{_by_path(before, path)} → {_by_path(after, path)}"
        for path in paths
    )


def _by_path(entry: Entry, path: str) -> str:
    name = path.rpartition(".")[2]
    for wanted in (name.removesuffix(MICROS), name):
        try:
            return entry_cell(entry, wanted)
        except KeyError:
            continue
    return "?"


def _object(entry: Entry) -> str:
    for field in _OBJECT_FIELDS:
        if identifier := getattr(entry, f"{field}_id"):
            name = getattr(entry, f"{field}_name")
            return f"{name} ({identifier})" if name else str(identifier)
    return UNSET


def _is_number(name: str) -> bool:
    empty = Entry()
    if name == _QUALITY:
        return True
    for part in _PARTS:
        fields = getattr(empty, part).DESCRIPTOR.fields_by_name
        field = fields.get(name) or fields.get(name + MICROS)
        if field is not None:
            return bool(field.type != field.TYPE_STRING)
    return False
