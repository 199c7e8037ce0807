"""Raw platform rows as the entries that a write would make of them; nothing is stored."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, TypeVar

import pyarrow as pa

from liftos_kit.core.errors import (
    BatchTooLargeError,
    InvalidFieldsError,
    NotFoundError,
    StateTransitionError,
)
from liftos_mapping.errors import RowError as RawRowError
from liftos_mapping.errors import TransformContextError
from liftos_mapping.language import Document
from liftos_mapping.platforms import PLATFORM_MAPPINGS
from liftos_mapping.transform import TransformContext, TransformResult, transform
from liftos_memory.domain.entry_rules import RowError, RowErrorCode
from liftos_memory.domain.sources import BUILT_IN_SOURCES
from liftos_memory.org_ports import OrgStore
from liftos_memory.ports import EntryStore
from liftos_memory.usecases.batches import prepare_batch

MAXIMUM_ENTRIES: Final = 5_000
"""Entries in an answer; a raw row that holds many days becomes many entries."""

Rendered = TypeVar("Rendered")


@dataclass(frozen=True, slots=True)
class TransformedRows:
    """What raw rows became.

    Attributes:
        rows: Checked and scored entries, as of `prepare_batch`.
        source_indexes: For each entry the position of its raw row.
        errors: Why raw rows, or days of them, gave no entry; by position of the raw row.
        unmapped_fields: Source fields that no rule reads.
    """

    rows: pa.Table
    source_indexes: tuple[int, ...]
    errors: tuple[RawRowError | RowError, ...]
    unmapped_fields: tuple[str, ...]


class Transform:
    """Transforms raw rows in an executor, by the checks of a write.

    Args:
        store: Knows the platforms that entries may carry.
        sources: Has the mappings of an org's own sources.
        executor: Where rows are mapped.
        today: The day of now.
    """

    def __init__(
        self,
        store: EntryStore,
        sources: OrgStore,
        executor: Executor,
        *,
        today: Callable[[], date],
    ) -> None:
        self._store = store
        self._sources = sources
        self._executor = executor
        self._today = today

    async def run(
        self,
        org: str,
        platform: str,
        *,
        read: Callable[[], Sequence[object]],
        context: TransformContext,
        render: Callable[[TransformedRows], Rendered],
    ) -> Rendered:
        """Transform raw rows.

        Args:
            org: The org.
            platform: A registered source.
            read: Decodes the raw rows; runs in the executor.
            context: What the rows do not say themselves.
            render: Makes the answer; runs in the executor.

        Raises:
            NotFoundError: The platform is no registered source.
            StateTransitionError: It is one without a mapping.
            InvalidFieldsError: The context holds a value that no entry can have, or the stored
                mapping cannot be used any more.
            BatchTooLargeError: The rows hold more days than an answer takes.
        """
        known = await self._store.platforms(org)
        if platform not in known | BUILT_IN_SOURCES.keys():
            raise NotFoundError(f"orgs/{org}/sources/{platform}")
        document = await self._document_of(org, platform)

        def work() -> Rendered:
            result = _transform(platform, document, read(), context)
            return render(_check(result, today=self._today(), known_platforms=known))

        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _document_of(self, org: str, platform: str) -> Document | None:
        """Return the mapping of an org's own source; None where the platform's is meant."""
        if platform in PLATFORM_MAPPINGS:
            return None
        own = await self._sources.find_source(org, platform)
        if own is None or own.mapping is None:
            raise StateTransitionError(
                f"orgs/{org}/sources/{platform}",
                state="without a mapping",
                allowed_states=["with a mapping"],
            )
        return own.mapping


def _transform(
    platform: str, document: Document | None, rows: Sequence[object], context: TransformContext
) -> TransformResult:
    try:
        return transform(platform, rows, context, document=document)
    except TransformContextError as error:
        raise InvalidFieldsError.of(
            f"context.{error.field}", error.message, rule="transform_context"
        ) from error


def _check(
    result: TransformResult, *, today: date, known_platforms: frozenset[str]
) -> TransformedRows:
    if result.table.num_rows > MAXIMUM_ENTRIES:
        raise BatchTooLargeError(item_count=result.table.num_rows, maximum_items=MAXIMUM_ENTRIES)
    prepared = prepare_batch(result.table, today=today, known_platforms=known_platforms)
    refused = {error.index for error in prepared.errors}
    errors: list[RawRowError | RowError] = [*result.errors]
    errors += _of_raw_rows(prepared.errors, result)
    return TransformedRows(
        rows=prepared.rows,
        source_indexes=tuple(
            source for place, source in enumerate(result.source_index) if place not in refused
        ),
        errors=tuple(sorted(errors, key=lambda error: error.index)),
        unmapped_fields=result.unmapped_fields,
    )


def _of_raw_rows(errors: Sequence[RowError], result: TransformResult) -> Sequence[RowError]:
    """Return errors of entries as errors of the raw rows that they came from."""
    entries_of = Counter(result.source_index)
    found = []
    for error in errors:
        source = result.source_index[error.index]
        message = error.message
        if error.code is RowErrorCode.DUPLICATE:
            message = "an earlier row gives the same entry; send one row for each natural key"
        if entries_of[source] > 1:
            message = f"{result.table['date'][error.index]}: {message}"
        found.append(replace(error, index=source, message=message))
    return found
