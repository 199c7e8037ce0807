"""A first mapping of a source, for a person to go over."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from liftos_migration.domain.drafting import Question, draft
from liftos_migration.domain.mapping import Mapping
from liftos_migration.domain.migrations import MigrationSpec
from liftos_migration.drafting_ports import MappingSample, SourceSampler
from liftos_migration.inspection_ports import SourceInspector

DEFAULT_SAMPLES: Final = 3
_LOOKED_AT: Final = 50
"""Rows of each table that a draft is made from."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft, rows beside what they become, and what a person has to decide."""

    mapping: Mapping
    samples: Sequence[MappingSample]
    questions: Sequence[Question]


class Drafting:
    """Drafts mappings; nothing is kept.

    Args:
        inspector: Looks at sources.
        sampler: Reads some of their rows.
    """

    def __init__(self, inspector: SourceInspector, sampler: SourceSampler) -> None:
        self._inspector = inspector
        self._sampler = sampler

    async def draft(self, org: str, spec: MigrationSpec, sample_count: int) -> Drafted:
        """Draft the mapping of a source.

        Args:
            org: Who asks.
            spec: Of the migration.
            sample_count: Rows to show of each table; 0 takes the default.

        Raises:
            InvalidFieldsError: The org may not name the source.
            StoreUnavailableError: It does not answer.
        """
        inventory = await self._inspector.inventory(org, spec.source, spec.mapping)
        rows = await self._sampler.rows(org, spec.source, inventory, _LOOKED_AT)
        drafted = draft(inventory, rows, spec.module)
        samples = await self._sampler.samples(
            org, spec.source, drafted.mapping, inventory, sample_count or DEFAULT_SAMPLES
        )
        return Drafted(drafted.mapping, samples, drafted.questions)
