"""A source as one file: how it is read and what its rows mean.

    name: acme_ads
    display_name: Acme Ads
    kind: http
    definition: {base_url: …, accounts: […], reads: […]}
    mapping: {columns: {…}}

The fields are those of the contract's `Source` that a caller gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from liftos.ingestion.v1.source_pb2 import Source
from liftos_cli.errors import CommandError
from liftos_cli.figures import enum_word_of, short_name
from liftos_cli.object_files import ObjectFile, read_object_file
from liftos_cli.output import as_json

_TEXTS: Final = ("name", "display_name", "kind")
_OBJECTS: Final = ("definition", "mapping")
_FIELDS: Final = (*_TEXTS, *_OBJECTS)
FIELD_ORDER: Final = (
    *("base_url", "auth", "headers", "place", "files", "account_field", "accounts", "reads"),
    *("errors", "limits", "restatement_days", "days_per_read", "retention_days"),
    *("kind", "name", "bucket", "region", "endpoint", "account_id", "account_name"),
    *("display_name", "time_zone", "currency_code", "level", "date", "method", "path", "pattern"),
    *("format", "delimiter", "encoding", "params", "body", "records", "pagination", "param"),
    *("from", "unit", "more", "first", "size_param", "size", "status", "equals", "class"),
    *("calls", "seconds", "per", "date_basis", "calculate", "aggregate", "by", "sum"),
    *("columns", "breakdowns", "ignore"),
)
"""Names of fields in the order in which people write them; others come behind, by name."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A source that a file describes."""

    file: ObjectFile
    name: str
    display_name: str
    kind: str
    definition: Mapping[str, Any]
    mapping: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A mapping, and which part of its file it is; empty is all."""

    file: ObjectFile
    part: str
    value: Mapping[str, Any]


def read_source_file(path: Path) -> SourceFile:
    """Read the source of a file; - is stdin.

    Raises:
        CommandError: It cannot be read, or is none; names everything that is wrong, by its place.
    """
    file = read_object_file(path)
    wrong = [
        f"{file.place(name)}: is not known; there are {', '.join(_FIELDS)}"
        for name in file.value
        if name not in _FIELDS
    ]
    for names, type_, called in ((_TEXTS, str, "a text"), (_OBJECTS, dict, "an object")):
        for name in names:
            if name not in file.value:
                wrong.append(f"{file.place(name)}: is required")
            elif not isinstance(file.value[name], type_):
                wrong.append(f"{file.place(name)}: must be {called}")
    if wrong:
        raise CommandError(wrong[0], advice="correct the file", details=wrong[1:])
    return SourceFile(file, **file.value)


def read_mapping_file(path: Path) -> MappingFile:
    """Read the mapping of a file that holds nothing else, or a source; - is stdin.

    Raises:
        CommandError: It cannot be read.
    """
    file = read_object_file(path)
    within = file.value.get("mapping")
    if isinstance(within, dict):
        return MappingFile(file, "mapping", within)
    return MappingFile(file, "", file.value)


def source_document(source: Source) -> dict[str, object]:
    """Return what the file of a source holds.

    Raises:
        CommandError: It is built in.
    """
    if source.built_in:
        raise CommandError(
            f"{short_name(source.name)} is built in and has no file",
            advice="leave --yaml away to see what it can do",
        )
    return {
        "name": short_name(source.name),
        "display_name": source.display_name,
        "kind": enum_word_of(source, "kind").lower(),
        "definition": in_order(as_json(source.definition)),
        "mapping": in_order(as_json(source.mapping)),
    }


def in_order(value: object) -> object:
    """Return a part of a source with its fields as they are explained: the first things first."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value, key=_place)}
    if isinstance(value, list):
        return [in_order(each) for each in value]
    return value


def _place(field: str) -> tuple[int, str]:
    return (FIELD_ORDER.index(field) if field in FIELD_ORDER else len(FIELD_ORDER), field)
