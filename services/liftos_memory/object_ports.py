"""What searches by concepts and by relations need from the record of truth."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from liftos_memory.domain.concepts import Concept, Targets
from liftos_memory.domain.documents import ObjectKey
from liftos_memory.domain.fusion import LegHit
from liftos_memory.domain.knowledge import Path
from liftos_memory.search_ports import SearchScope


@dataclass(frozen=True, slots=True)
class Related:
    """Documents of related objects.

    Attributes:
        hits: The documents, scored by nearness.
        paths: How the object of each was reached, by document.
        beginnings: Titles of the objects that the query names, the most fitting first.
        is_cut: Whether a step led to more objects than are looked at.
    """

    hits: Sequence[LegHit]
    paths: Mapping[str, Path]
    beginnings: Sequence[str]
    is_cut: bool


class ObjectStore(Protocol):
    """Objects: what they are like, and how they are related.

    Both searches give the best document in scope of each object, its profile before its newest
    digest, at most `limit`; and beside those the documents `also`, which other legs have found.
    """

    async def concepts(
        self, org: str, object_ids: Collection[str]
    ) -> Mapping[str, Sequence[Concept]]:
        """Return where objects stand, by id; dimensions without data are left out."""

    async def is_known(self, org: str, object_id: str) -> bool:
        """Tell whether an object has entries."""

    async def similar_names(
        self, org: str, words: Collection[str]
    ) -> Mapping[str, Mapping[str, int]]:
        """Return words of names that may be meant, with how many objects have each.

        For each word itself, those that are one slip behind the first letter from it, and maybe
        some more that are like it; words that no name is like are left out. They follow names as
        percentiles do.
        """

    async def search_conceptual(
        self,
        scope: SearchScope,
        targets: Targets,
        limit: int,
        *,
        also: Collection[str],
        like: ObjectKey | None,
    ) -> Sequence[LegHit]:
        """Return documents of the objects closest to a wish, scored by closeness.

        Args:
            scope: What may be seen.
            targets: What is wished for; objects of which none of it is known are left out.
            limit: How many objects at most.
            also: Documents to score beside them.
            like: Only objects of its level, and not itself.
        """

    async def search_knowledge(
        self, scope: SearchScope, terms: Collection[str], limit: int, *, also: Collection[str]
    ) -> Related:
        """Return documents of the objects that are named and of those related to them.

        Args:
            scope: What may be seen; the way may lead through objects outside.
            terms: Terms of the query.
            limit: How many objects at most.
            also: Documents to score beside them.
        """
