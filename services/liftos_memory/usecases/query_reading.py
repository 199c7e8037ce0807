"""How search reads a query: slips as the words of names that are meant, periods as days."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from liftos_kit.core.errors import StoreUnavailableError
from liftos_memory.domain.corrections import (
    Reading,
    best_correction,
    read,
    words_to_check,
)
from liftos_memory.domain.documents import week_of
from liftos_memory.domain.periods import named_periods
from liftos_memory.object_ports import ObjectStore
from liftos_memory.search_ports import DocumentIndex, SearchScope

_WEEK: Final = timedelta(days=7)


async def read_query(org: str, query: str, objects: ObjectStore, index: DocumentIndex) -> Reading:
    """Return a query with its slips corrected to words of the org's names.

    A word that any document of the org has is none, whatever the scope of the search. Where the
    index does not answer, nothing is corrected.
    """
    similar = await objects.similar_names(org, words_to_check(query))
    corrections = {
        word: correction
        for word, names in similar.items()
        if (correction := best_correction(word, names)) is not None
    }
    if not corrections:
        return Reading(query)
    scope = SearchScope(org)
    try:
        found = await asyncio.gather(
            *(index.search_lexical(scope, word, 1) for word in corrections)
        )
    except StoreUnavailableError:
        return Reading(query)
    unknown = {word for word, hits in zip(corrections, found, strict=True) if not hits}
    return read(query, {word: corrections[word] for word in corrections if word in unknown})


def of_other_days(query: str) -> Callable[[str], bool]:
    """Return what tells by its id whether a document is the digest of a week not asked for.

    Always false for documents that are no digests, and where the query names no period.
    """
    periods = named_periods(query)

    def is_of_other_days(document_id: str) -> bool:
        monday = week_of(document_id) if periods else None
        return monday is not None and not any(
            first - _WEEK < monday <= last for first, last in periods
        )

    return is_of_other_days
