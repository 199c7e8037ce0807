"""The catalogue of sources: built-in ones, and those that an org defines as data."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol, TypeAlias

import pyarrow as pa

from liftos_ingestion.run_ports import Refused
from liftos_ingestion.source_ports import JsonObject, PlatformAccount, PlatformSource
from liftos_kit.core.errors import FieldViolation
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import RequestMemory
from liftos_mapping.mapping import PlatformMapping


class SourceKind(IntEnum):
    """How a source is read; numbers as in the contract."""

    PLATFORM = 1
    FILES = 2
    HTTP = 3
    PLUGIN = 4


OWN_KINDS = (SourceKind.FILES, SourceKind.HTTP)
"""Kinds that an org defines itself."""


@dataclass(frozen=True, slots=True)
class NewSource:
    """A source that an org defines.

    Attributes:
        source: Its id, the platform of its entries.
        display_name: Shown to people.
        kind: FILES or HTTP.
        definition: What to request, or where files are.
        mapping: How raw rows become entries.
    """

    source: str
    display_name: str
    kind: SourceKind
    definition: JsonObject
    mapping: JsonObject


@dataclass(frozen=True, slots=True)
class StoredSource:
    """A source of an org's own, as it is kept.

    Attributes:
        spec: What the org defined.
        revision: Grows with each change; its etag.
        create_time, update_time: When.
    """

    spec: NewSource
    revision: int
    create_time: datetime
    update_time: datetime


CheckSource: TypeAlias = Callable[[SourceKind, JsonObject, JsonObject], Sequence[FieldViolation]]
"""Returns what is wrong with a definition and a mapping; fields begin with `definition` or
`mapping`."""


class OwnSource(PlatformSource, Protocol):
    """A source that an org defines; its `mapping` is that of rows which a session has grouped."""

    @property
    def raw_mapping(self) -> PlatformMapping:
        """How rows become entries before they are grouped."""

    @property
    def accounts(self) -> Sequence[PlatformAccount]:
        """Whose numbers it has."""


BuildSource: TypeAlias = Callable[[NewSource], OwnSource]
"""Returns the source that a checked definition and mapping stand for."""

ReadMapping: TypeAlias = Callable[[str, JsonObject], PlatformMapping]
"""Returns the mapping of a platform that an object in the mapping language stands for.

Raises InvalidFieldsError, with fields that begin with `mapping`.
"""


class SourceWrite(RequestMemory, Protocol):
    """A change of one source, as one transaction."""

    async def lock(self, source: str) -> StoredSource | None:
        """Return a source as it is now and keep others from changing or using it anew."""

    async def upsert(self, spec: NewSource) -> StoredSource:
        """Store a source."""

    async def user_of(self, source: str) -> str | None:
        """Return the id of a connection that uses a source; None where none does."""

    async def delete(self, source: str) -> None:
        """Remove a source."""


class SourceStore(Protocol):
    """Sources of orgs' own."""

    def write(self, org: str) -> AbstractAsyncContextManager[SourceWrite]:
        """Begin a change; leaving the block commits, an error undoes it."""

    async def find(self, org: str, source: str) -> StoredSource | None:
        """Return a source; None where the org has none of this id."""

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredSource], JsonValue]:
        """Return a page of sources by id, and the cursor of the next one; None at the end."""


class EntryChecks(Protocol):
    """Memory, as the one that knows the platforms of an org and the rules of entries."""

    async def register(self, org: str, spec: NewSource) -> None:
        """Let entries carry a source as their platform, and have its rows mapped as here.

        Raises:
            InvalidFieldsError: The mapping breaks rules there.
            FenceClosedError: All writes of the org are closed.
            StoreUnavailableError: Memory is away.
        """

    async def check(self, org: str, rows: pa.Table) -> Sequence[Refused]:
        """Return the rows that a write would refuse; nothing is written."""
