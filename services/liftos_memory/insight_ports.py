"""What insights need from the outside."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from liftos_kit.core.filters import Filter
from liftos_kit.core.repeatable import RequestMemory
from liftos_memory.domain.documents import ObjectKey, ObjectNames
from liftos_memory.domain.insights import Insight, InsightKind, InsightRating
from liftos_memory.domain.quality_summary import ScoredEntries
from liftos_memory.ports import WriteContext


@dataclass(frozen=True, slots=True)
class StoredInsight:
    """An insight as it is kept.

    Attributes:
        insight: What was found, in the state that it is in.
        rating: The last rating.
        rating_comment: Its comment.
        create_time: First found.
        update_time: Last confirmed, resolved or rated.
    """

    insight: Insight
    rating: InsightRating
    rating_comment: str
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class KnownSummary:
    """The words that an insight has: of the template, and as they are shown."""

    template: str
    summary: str


@dataclass(frozen=True, slots=True)
class WordedInsight:
    """An insight to be stored, whose summary may stand in for the template's sentence."""

    insight: Insight
    template: str


class InsightWrite(RequestMemory, Protocol):
    """One write under way; all of it is committed together, or nothing."""

    async def active(
        self, kinds: Sequence[InsightKind], levels: Sequence[str]
    ) -> Sequence[Insight]:
        """Return the insights that hold, and keep others from changing them."""

    async def store(self, insights: Sequence[WordedInsight], resolved: Sequence[str]) -> None:
        """Store insights that hold, resolve others by id, and have both told to whom they concern.

        An insight that holds already is confirmed, and told to nobody.
        """

    async def fetch(self, insight_ids: Sequence[str]) -> Sequence[StoredInsight]:
        """Return insights as this write leaves them, in the order asked."""

    async def rate(
        self, insight_id: str, rating: InsightRating, *, comment: str, subject: str
    ) -> StoredInsight | None:
        """Keep a rating and return the insight; None where there is none."""

    async def finish(self) -> int:
        """Take the org's next version and return it; only `remember` may follow."""


class InsightStore(Protocol):
    """Insights of orgs."""

    def write(self, org: str, context: WriteContext) -> AbstractAsyncContextManager[InsightWrite]:
        """Begin a write that ends as the org's next version.

        Raises:
            FenceClosedError: Writes of the org are closed.
        """

    async def get(self, org: str, insight_id: str) -> StoredInsight | None:
        """Return an insight; None where there is none."""

    async def fetch(self, org: str, insight_ids: Sequence[str]) -> Sequence[StoredInsight]:
        """Return insights in the order asked; those that are not there are left out."""

    async def list_page(
        self, org: str, *, where: Filter | None, after: tuple[float, str] | None, limit: int
    ) -> Sequence[StoredInsight]:
        """Return insights by falling severity, from behind a severity and id on."""

    async def newest_day(self, org: str, *, today: date) -> date | None:
        """Return the newest day before today that has entries."""

    async def names(
        self, org: str, objects: Sequence[ObjectKey], *, days: tuple[date, date]
    ) -> Sequence[ObjectNames]:
        """Return the newest names of objects within some days, in the order asked."""

    async def qualities(
        self, org: str, insights: Sequence[Insight], *, where: Filter
    ) -> Sequence[Sequence[ScoredEntries]]:
        """Return what was found about the entries behind insights, in the order asked.

        Args:
            org: Whose they are.
            insights: As they were found.
            where: Which entries they were made of.
        """

    async def known_summaries(
        self, org: str, insight_ids: Sequence[str]
    ) -> Mapping[str, KnownSummary]:
        """Return the words that insights have, by id."""


@dataclass(frozen=True, slots=True)
class ToldInsights:
    """What a message tells.

    Attributes:
        found: Insights that hold, most severe first.
        resolved: Insights whose end is told.
    """

    found: Sequence[StoredInsight]
    resolved: Sequence[StoredInsight]


class Wording(Protocol):
    """Says a sentence in other words. Numbers are not its business."""

    async def word(self, template: str) -> str | None:
        """Return other words for a sentence; None where it has none."""

    async def close(self) -> None:
        """Give back what it holds."""


class InsightSchedule(Protocol):
    """Which orgs are to be looked at; each by one worker at a time."""

    async def awaiting(self) -> Sequence[str]:
        """Return orgs whose time has come, longest waiting first."""

    async def take(self, org: str) -> bool:
        """Take an org; False where another worker has it."""

    async def done(self, org: str, version: int) -> None:
        """Record that an org was looked at, up to a version, and give it back."""

    async def failed(self, org: str) -> None:
        """Give an org back; it waits a while."""
