"""Some rows of a source, and what they become."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.mapping import Mapping as Plan
from liftos_migration.domain.migrations import SourceStore

JsonRow = Mapping[str, Any]
"""A row as JSON, by column."""


@dataclass(frozen=True, slots=True)
class SampleError:
    """Why a row becomes nothing; the field is empty where it is the row as a whole."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class MappingSample:
    """A row beside what it becomes.

    Attributes:
        table: As SQL writes it.
        source_row: One row of the record.
        target_record: Its fields; None where it becomes nothing.
        errors: Why.
    """

    table: str
    source_row: JsonRow
    target_record: JsonRow | None
    errors: tuple[SampleError, ...] = ()


class SourceSampler(Protocol):
    """Reads a few rows of each table; nothing is written.

    Raises:
        InvalidFieldsError, StoreUnavailableError: See `liftos_migration.inspection_ports`.
    """

    async def rows(
        self, org: str, source: SourceStore, inventory: Inventory, count: int
    ) -> Mapping[str, Sequence[JsonRow]]:
        """Return some rows of each table, by its name."""
        ...

    async def samples(
        self, org: str, source: SourceStore, mapping: Plan, inventory: Inventory, count: int
    ) -> Sequence[MappingSample]:
        """Return some rows of each table that has records, beside what they become."""
        ...
