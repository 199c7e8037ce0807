"""Text for a language model: facts from the store within a budget, each to be cited."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.memory.v1.document_pb2 import DocumentKind, ObjectRef, SearchHit
from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos.memory.v1.insight_pb2 import Insight, InsightKind
from liftos_client.arguments import enum_word, invalid_argument

CountTokens = Callable[[str], int]
"""How many tokens a text is."""

_RATES: Final = (
    *("ctr", "link_ctr", "conversion_rate", "open_rate", "click_rate", "click_to_open_rate"),
    *("unsubscribe_rate", "bounce_rate", "spam_rate"),
)
_LOW_QUALITY: Final = 0.6


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a fact comes from.

    Attributes:
        number: As it stands in the text, in brackets.
        source: Resource name of the document or the insight.
        record: Resource name of what a document is about, where it is a record.
        title: One line.
        kind: "PROFILE", "WEEKLY_DIGEST", "NOTE", "ARTIFACT", or "INSIGHT".
        start_date: First day that it is about; empty where it is about none.
        end_date: Last day.
        numbers_start_date: First day that its numbers are of, which a document about a week may be
            given of the days that were asked; empty where it has none.
        numbers_end_date: Last day.
        entries: Names of the newest entries behind its numbers, at most 10.
        entry_count: How many entries there are behind them.
        quality_score: The lowest among them, 0 to 1; None where it rests on none.
        relevance: Of a document, within this context, 0 to 1; None for insights.
    """

    number: int
    source: str
    record: str
    title: str
    kind: str
    start_date: str
    end_date: str
    numbers_start_date: str
    numbers_end_date: str
    entries: tuple[str, ...]
    entry_count: int
    quality_score: float | None
    relevance: float | None


@dataclass(frozen=True, slots=True)
class LlmContext:
    """What a language model is given beside a question.

    Attributes:
        text: The facts; put it before the question.
        citations: Where each fact comes from, in order of their numbers.
        token_count: Tokens of the text.
        omitted: Titles of facts that did not fit.
        caveats: What to mind; part of the text too.
        as_of: The write up to which the search had followed: a token for `at_least_as_fresh`.
    """

    text: str
    citations: tuple[Citation, ...]
    token_count: int
    omitted: tuple[str, ...]
    caveats: tuple[str, ...]
    as_of: str


def approximate_tokens(text: str) -> int:
    """Return about how many tokens a text is: four ASCII characters each, others one each."""
    other = sum(not character.isascii() for character in text)
    return math.ceil((len(text) - other) / 4) + other


def build_context(
    query: str,
    hits: Sequence[SearchHit],
    insights: Sequence[Insight],
    *,
    budget_tokens: int,
    count_tokens: CountTokens = approximate_tokens,
    as_of: str = "",
) -> LlmContext:
    """Return the context of a query: insights of found objects first, then documents by relevance.

    Facts are whole; one that does not fit is named among those that were omitted, and what is
    shorter may still follow.

    Args:
        query: What is asked.
        hits: Documents, best first.
        insights: Findings about their objects, most severe first.
        budget_tokens: The text has at most so many.
        count_tokens: Counts them; give the model's own where it matters.
        as_of: Told in the result.

    Raises:
        FieldInvalidError: The budget does not hold the query and the caveats.
    """
    caveats = tuple(_caveats(hits, insights))
    foot = "".join(f"Mind: {caveat}\n" for caveat in caveats)
    foot = f"\n{foot}" if foot else ""
    text = _head(query)
    check_budget(budget_tokens, count_tokens(text + foot))
    citations: list[Citation] = []
    omitted: list[str] = []
    for title, fact, cite in (*_insight_facts(insights), *_document_facts(hits)):
        number = len(citations) + 1
        piece = f"\n[{number}] {fact}\n"
        # Whole, since tokens of parts may be fewer than those of the whole.
        if count_tokens(text + piece + foot) > budget_tokens:
            omitted.append(title)
            continue
        text += piece
        citations.append(cite(number))
    text += foot
    return LlmContext(text, tuple(citations), count_tokens(text), tuple(omitted), caveats, as_of)


def head_tokens(query: str, count_tokens: CountTokens = approximate_tokens) -> int:
    """Return how many tokens the text has before the first fact."""
    return count_tokens(_head(query))


def check_budget(budget_tokens: int, needed_tokens: int) -> None:
    """Refuse a budget that does not hold what every text has.

    Raises:
        FieldInvalidError: It does not.
    """
    if budget_tokens < needed_tokens:
        raise invalid_argument(
            "budget_tokens",
            f"is {budget_tokens:,}; the query and what to mind take {needed_tokens:,} before any"
            " fact, so raise it or shorten the query",
        )


def _head(query: str) -> str:
    return (
        f"Facts from the marketing store about: {' '.join(query.split())}\n"
        "Numbers were computed from the store. Cite facts by their numbers, such as [1].\n"
    )


def same_object(first: ObjectRef, second: ObjectRef) -> bool:
    """Return whether both are the same object."""
    return bool(first.platform) and first == second


_Fact = tuple[str, str, Callable[[int], Citation]]


def _document_facts(hits: Iterable[SearchHit]) -> Iterable[_Fact]:
    for hit in hits:
        document = hit.document
        kind = enum_word(DocumentKind, document.kind)
        lines = [f"{_words(kind)}: {document.title}{_about(document.object)}{_days(document)}"]
        body = document.text.strip()
        if body and body != document.title:
            lines.append(body)
        numbers = _numbers(hit)
        if numbers:
            days = hit.metrics_date_range
            lines.append(f"Numbers of {_span(days)}: {numbers}; {hit.entry_count:,} entries")
        if document.HasField("quality_score"):
            lines.append(f"Quality {document.quality_score:.2f}")

        def cite(number: int, hit: SearchHit = hit, kind: str = kind) -> Citation:
            document = hit.document
            return Citation(
                number=number,
                source=document.name,
                record=document.record,
                title=document.title,
                kind=kind,
                start_date=document.date_range.start_date,
                end_date=document.date_range.end_date,
                numbers_start_date=hit.metrics_date_range.start_date,
                numbers_end_date=hit.metrics_date_range.end_date,
                entries=tuple(hit.entries),
                entry_count=hit.entry_count,
                quality_score=document.quality_score
                if document.HasField("quality_score")
                else None,
                relevance=hit.score,
            )

        yield document.title, "\n".join(lines), cite


def _insight_facts(insights: Iterable[Insight]) -> Iterable[_Fact]:
    for insight in insights:
        kind = enum_word(InsightKind, insight.kind).lower()
        lines = [f"Insight ({kind}){_days(insight)}: {insight.summary}"]
        lines.append(
            f"p {insight.p_value:.2g}, q {insight.q_value:.2g}, severity {insight.severity:.0f} of"
            f" 100, quality {insight.quality_score:.2f}"
        )
        if insight.quality_issues:
            lines.append(f"Quality issues: {_issues(insight)}")
        if insight.context:
            lines.append(f"Known about these days: {'; '.join(insight.context)}")

        def cite(number: int, insight: Insight = insight) -> Citation:
            return Citation(
                number=number,
                source=insight.name,
                record=insight.name,
                title=insight.summary,
                kind="INSIGHT",
                start_date=insight.date_range.start_date,
                end_date=insight.date_range.end_date,
                numbers_start_date=insight.evidence.date_range.start_date,
                numbers_end_date=insight.evidence.date_range.end_date,
                entries=(),
                entry_count=insight.evidence.entry_count,
                quality_score=insight.quality_score,
                relevance=None,
            )

        yield insight.summary, "\n".join(lines), cite


def _caveats(hits: Sequence[SearchHit], insights: Sequence[Insight]) -> Iterable[str]:
    scores = [hit.document.quality_score for hit in hits if hit.document.HasField("quality_score")]
    scores += [insight.quality_score for insight in insights]
    if any(score < _LOW_QUALITY for score in scores):
        yield "some facts rest on entries of low quality"
    platforms = {hit.document.object.platform for hit in hits} - {""}
    if len(platforms) > 1:
        yield (
            "platforms credit conversions by windows of their own; their sums count an order more"
            " than once"
        )
    currencies = {hit.metrics.currency_code for hit in hits} - {""}
    if len(currencies) > 1:
        yield f"amounts are in {', '.join(sorted(currencies))}; they cannot be added"


def _about(ref: ObjectRef) -> str:
    if not ref.platform:
        return ""
    level = enum_word(EntryLevel, ref.level).lower().replace("_", " ") if ref.level else "object"
    ids = [
        value
        for field, value in ref.ListFields()
        if field.name.endswith("_id") and field.name != "account_id"
    ]
    return f" ({' '.join([ref.platform, level, *ids[-1:]])})"


def _days(message: Message) -> str:
    days = getattr(message, "date_range")  # noqa: B009  # of documents and insights alike
    return f", {_span(days)}" if days.start_date else ""


def _span(days: DateRange) -> str:
    if days.start_date == days.end_date:
        return days.start_date
    return f"{days.start_date} to {days.end_date}"


def _numbers(hit: SearchHit) -> str:
    currency = hit.metrics.currency_code
    parts = []
    for field, value in hit.metrics.ListFields():
        if field.name == "currency_code":
            continue
        if field.name.endswith("_micros"):
            name = field.name.removesuffix("_micros")
            unit = f" {currency}" if currency and name in ("spend", "revenue") else ""
            parts.append(f"{name} {value / 1_000_000:,.2f}{unit}")
        else:
            parts.append(f"{field.name} {value:,}")
    for field, value in hit.derived_metrics.ListFields():
        share = f"{value:.2%}" if field.name in _RATES else f"{value:,.4g}"
        parts.append(f"{field.name} {share}")
    return "; ".join(parts)


def _issues(insight: Insight) -> str:
    return "; ".join(f"{it.code} of {it.field} -{it.cost:.2f}" for it in insight.quality_issues)


def _words(kind: str) -> str:
    return kind.replace("_", " ").capitalize()
