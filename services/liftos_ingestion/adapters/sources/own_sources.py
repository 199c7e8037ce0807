"""Sources that an org defines as data: what is wrong with a definition, and what it stands for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from liftos_ingestion.adapters.sources.declarative_http import (
    HTTP_SCHEMA,
    DeclarativeHttpSource,
    read_http_definition,
)
from liftos_ingestion.adapters.sources.files import (
    FILES_SCHEMA,
    FileSource,
    read_files_definition,
)
from liftos_ingestion.catalog_ports import NewSource, OwnSource, SourceKind
from liftos_ingestion.domain.json_schemas import schema_violations
from liftos_ingestion.source_ports import JsonObject
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_mapping.language import compile_mapping
from liftos_mapping.mapping import PlatformMapping

_ANY_PLATFORM: Final = "source"


def check_source(
    kind: SourceKind, definition: JsonObject, mapping: JsonObject
) -> Sequence[FieldViolation]:
    """Return what is wrong with a definition and a mapping; see `CheckSource`."""
    try:
        compiled = compile_mapping(_ANY_PLATFORM, mapping)
    except InvalidFieldsError as error:
        # A definition is held against a mapping; without one only its own rules can be looked at.
        return [*error.violations, *_definition_violations(kind, definition)]
    try:
        _read(kind, definition, compiled)
    except InvalidFieldsError as error:
        return error.violations
    return ()


class OwnSources:
    """Builds sources from what orgs have stored.

    Args:
        local_directory: What holds a folder of files for each org; None where there is none.
        private_allowed: Whether hosts may have private addresses.
        timeout_seconds: Longest silence of a host within one call.
    """

    def __init__(
        self, local_directory: Path | None, *, private_allowed: bool, timeout_seconds: float
    ) -> None:
        self._local_directory = local_directory
        self._private_allowed = private_allowed
        self._timeout_seconds = timeout_seconds

    def build(self, spec: NewSource) -> OwnSource:
        """Return the source that a definition and a mapping stand for; see `BuildSource`.

        Raises:
            InvalidFieldsError: They break rules.
        """
        mapping = compile_mapping(spec.source, spec.mapping)
        if spec.kind is SourceKind.FILES:
            return FileSource(
                spec.source,
                spec.display_name,
                read_files_definition(spec.definition, mapping),
                mapping,
                local_directory=self._local_directory,
                private_allowed=self._private_allowed,
            )
        return DeclarativeHttpSource(
            spec.source,
            spec.display_name,
            read_http_definition(spec.definition, mapping),
            mapping,
            private_allowed=self._private_allowed,
            timeout_seconds=self._timeout_seconds,
        )


def _read(kind: SourceKind, definition: JsonObject, mapping: PlatformMapping) -> object:
    if kind is SourceKind.FILES:
        return read_files_definition(definition, mapping)
    return read_http_definition(definition, mapping)


def _definition_violations(kind: SourceKind, definition: JsonObject) -> Sequence[FieldViolation]:
    schema = FILES_SCHEMA if kind is SourceKind.FILES else HTTP_SCHEMA
    return schema_violations(schema, definition, field="definition")
