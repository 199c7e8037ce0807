"""Entries and sums as rows of a table."""

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import Message

from liftos.memory.v1.entry_pb2 import Entry
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
_OBJECT: Final = "object"
_QUALITY: Final = "quality"
_OBJECT_FIELDS: Final = ("series", "message", "flow", "ad", "ad_group", "campaign", "account")
_PARTS: Final = ("metrics", "grain_metrics", "derived_metrics")


def entry_columns(names: Sequence[str]) -> list[Column]:
    """Return the columns of a table of entries.

    Raises:
        CommandError: A name is no field of an entry.
    """
    empty = Entry()
    for name in names:
        try:
            entry_cell(empty, name)
        except KeyError:
            raise CommandError(
                f"{name!r} is no column of an entry",
                advice=f"choose fields of an entry, such as {', '.join(DEFAULT_COLUMNS)}",
            ) from None
    return [Column(name, number=_is_number(name)) for name in names]


def entry_cell(entry: Entry, name: str) -> str:
    """Return one value of an entry: a field of it, of its metrics or its ratios, or its object.

    Raises:
        KeyError: There is no such field.
    """
    if name == _OBJECT:
        return _object(entry)
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
