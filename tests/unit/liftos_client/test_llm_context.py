"""The text for a language model: within its budget, each fact with its citation."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.memory.v1.document_pb2 import Document, DocumentKind, ObjectRef, SearchHit
from liftos.memory.v1.entry_pb2 import DerivedMetrics, EntryLevel, Metrics, QualityIssue
from liftos.memory.v1.insight_pb2 import Insight, InsightKind
from liftos_client.errors import FieldInvalidError
from liftos_client.llm_context import (
    CountTokens,
    LlmContext,
    approximate_tokens,
    build_context,
    head_tokens,
)


def _hit(place: int, text: str = "Spends more each week.", *, platform: str = "meta") -> SearchHit:
    return SearchHit(
        score=1 / (1 + place),
        document=Document(
            name=f"orgs/acme/documents/{place}",
            kind=DocumentKind.DOCUMENT_KIND_PROFILE,
            title=f"Campaign {place}",
            text=text,
            object=ObjectRef(
                platform=platform,
                level=EntryLevel.ENTRY_LEVEL_CAMPAIGN,
                account_id="a",
                campaign_id=str(place),
            ),
            date_range=DateRange(start_date="2026-01-01", end_date="2026-01-31"),
            quality_score=0.9,
        ),
        metrics=Metrics(currency_code="USD", spend_micros=1_234_500_000, clicks=1_500),
        derived_metrics=DerivedMetrics(ctr=0.0125, roas=2.0),
        metrics_date_range=DateRange(start_date="2026-01-05", end_date="2026-02-04"),
        entry_count=31,
        entries=["orgs/acme/entries/x"],
    )


def _insight() -> Insight:
    return Insight(
        name="orgs/acme/insights/1",
        kind=InsightKind.INSIGHT_KIND_TREND,
        summary="Spend of Campaign 0 rises by 4 % a week.",
        date_range=DateRange(start_date="2026-01-01", end_date="2026-01-31"),
        severity=31,
        p_value=0.001,
        q_value=0.02,
        quality_score=0.9,
        context=["Presidents' Day"],
        quality_issues=[QualityIssue(code="LEVEL_MISMATCH", field="spend_micros", cost=0.4)],
    )


def _context(hits: list[SearchHit], budget: int = 2_000) -> LlmContext:
    return build_context("rising  costs", hits, [_insight()], budget_tokens=budget, as_of="token")


def test_facts_carry_numbers_and_citations() -> None:
    """Each number in brackets stands for one citation, and amounts are those of the store."""
    context = _context([_hit(0), _hit(1)])
    assert re.findall(r"^\[(\d+)\]", context.text, re.MULTILINE) == ["1", "2", "3"]
    assert [each.number for each in context.citations] == [1, 2, 3]
    assert [each.kind for each in context.citations] == ["INSIGHT", "PROFILE", "PROFILE"]
    numbers = "spend 1,234.50 USD; clicks 1,500; ctr 1.25%; roas 2; 31 entries"
    assert f"Numbers of 2026-01-05 to 2026-02-04: {numbers}" in context.text
    assert "Insight (trend), 2026-01-01 to 2026-01-31: Spend of Campaign 0 rises" in context.text
    assert "Presidents' Day" in context.text
    assert "Quality issues: LEVEL_MISMATCH of spend_micros -0.40" in context.text
    profile = context.citations[1]
    assert profile.source == "orgs/acme/documents/0"
    # The document is about one month, its numbers are of the days that were asked.
    assert (profile.start_date, profile.end_date) == ("2026-01-01", "2026-01-31")
    assert (profile.numbers_start_date, profile.numbers_end_date) == ("2026-01-05", "2026-02-04")
    assert profile.entries == ("orgs/acme/entries/x",)
    assert (profile.entry_count, profile.quality_score, profile.relevance) == (31, 0.9, 1.0)
    assert (context.as_of, context.omitted, context.caveats) == ("token", (), ())


def test_what_to_mind_is_part_of_the_text() -> None:
    """Several platforms are told, since their conversions overlap."""
    context = _context([_hit(0), _hit(1, platform="google_ads")])
    assert len(context.caveats) == 1
    assert f"Mind: {context.caveats[0]}" in context.text


def _words_and_gaps(text: str) -> int:
    """Count tokens that are more together than apart, as those of models may be."""
    return 2 * len(text.split()) + text.count("\n\n")


@given(
    budget=st.integers(60, 800),
    texts=st.lists(st.text(min_size=0, max_size=400), max_size=12),
    count_tokens=st.sampled_from([approximate_tokens, _words_and_gaps]),
)
def test_the_text_keeps_its_budget_and_hides_nothing(
    budget: int, texts: list[str], count_tokens: CountTokens
) -> None:
    """Every fact is either cited or named among those that were omitted."""
    hits = [_hit(place, text) for place, text in enumerate(texts)]
    context = build_context(
        "rising  costs", hits, [_insight()], budget_tokens=budget, count_tokens=count_tokens
    )
    assert context.token_count == count_tokens(context.text)
    assert context.token_count <= budget
    assert len(context.citations) + len(context.omitted) == len(hits) + 1


def test_nothing_found_says_so_by_having_no_facts() -> None:
    """The head stands alone."""
    context = build_context("x", [], [], budget_tokens=100)
    assert context.citations == ()
    assert context.token_count <= 100


@given(query=st.text(max_size=1_500), budget=st.integers(-5, 500))
def test_a_budget_below_what_every_text_has_is_refused(query: str, budget: int) -> None:
    """The query and what to mind have to fit; the refusal says how much they take."""
    hits = [_hit(0), _hit(1, platform="google_ads")]
    plain = build_context(query, hits, [], budget_tokens=10_000)
    facts = plain.text.index("\n[1]"), plain.text.index("\nMind:")
    needed = approximate_tokens(plain.text[: facts[0]] + plain.text[facts[1] :])
    assert head_tokens(query) <= needed
    if budget >= needed:
        assert build_context(query, hits, [], budget_tokens=budget).token_count <= budget
        return
    with pytest.raises(FieldInvalidError, match=f"take {needed:,} before any fact"):
        build_context(query, hits, [], budget_tokens=budget)
