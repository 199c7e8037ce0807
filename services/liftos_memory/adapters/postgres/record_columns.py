"""SQL text about the columns of records."""

from collections.abc import Mapping
from typing import Final

from liftos_kit.core.filters import Filter, to_sql
from liftos_memory.domain.records import ARTIFACT_KINDS, Collection

RECORD_COLUMNS: Final = (
    "collection",
    "record_id",
    "version",
    "kind",
    "scope",
    "title",
    "text",
    "labels",
    "body",
    "content_type",
    "sha256",
    "origin",
    "create_time",
    "update_time",
    "tx",
)
"""Columns of a record but its content, which is large and read on its own."""

_KIND_WORDS: Final = ", ".join(f"'{kind}'" for kind in ARTIFACT_KINDS)

_SQL_NAMES: Final[Mapping[Collection, Mapping[str, str]]] = {
    Collection.ARTIFACTS: {
        "kind": f"(array[{_KIND_WORDS}])[kind]",
        "scope": "scope",
        "origin": "origin",
        "display_name": "title",
        "version": "version",
    },
    Collection.NOTES: {
        "scope": "scope",
        "origin": "origin",
        "title": "title",
        "version": "version",
    },
}


def record_condition(
    collection: Collection, where: Filter | None, *, first_parameter: int
) -> tuple[str, list[object]]:
    """Return a filter of a collection as a condition and its parameters."""
    condition, values = to_sql(
        where, columns=_SQL_NAMES[collection], first_parameter=first_parameter
    )
    return f"({condition})", values
