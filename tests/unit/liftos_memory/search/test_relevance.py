"""Measures of search: exact search beside an index, conditions, questions with known answers."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_memory.domain.documents import (
    Document,
    DocumentKind,
    ObjectKey,
    ObjectNames,
    ObjectProfileFacts,
    WeeklyFacts,
    profile_document,
    weekly_document,
)
from liftos_memory.domain.known_items import KnownItem, QuestionKind, known_items, name_of
from liftos_memory.domain.record_documents import note_document
from liftos_memory.domain.relevance import (
    NO_CONDITION,
    Condition,
    DocumentColumns,
    ExactSearch,
    Floats,
    drawn_condition,
)

MONDAY = date(2026, 1, 5)
NAMES = ("Winter boots clearance", "Garden furniture", "BFCM_2025 Retargeting", "Sommer", "7")


def _key(number: int, platform: str = "meta") -> ObjectKey:
    return ObjectKey(platform, "CAMPAIGN", f"act_{number % 2}", str(100 + number))


def _profile(number: int, name: str, platform: str = "meta") -> Document:
    return profile_document(
        ObjectProfileFacts(
            key=_key(number, platform),
            names=ObjectNames(campaign_name=name),
            channel="",
            currency_code="USD",
            first_date=MONDAY,
            last_date=MONDAY + timedelta(days=20),
            days_with_data=20,
            sums={"spend_micros": 5_000_000_000, "clicks": 40},
            activity_by_month={1: 10},
            quality_score=0.5 + number / 20,
        )
    )


def _digest(number: int, name: str, week: int, platform: str = "meta") -> Document:
    return weekly_document(
        WeeklyFacts(
            key=_key(number, platform),
            names=ObjectNames(campaign_name=name),
            channel="",
            currency_code="USD",
            week_start=MONDAY + timedelta(weeks=week),
            sums={"spend_micros": 5_000_000_000, "clicks": 40},
            prior_sums=None,
        )
    )


def _note(note_id: str, title: str) -> Document:
    return note_document(
        note_id,
        scope="planning",
        title=title,
        text="Move the budget.",
        labels=(),
        attributes=None,
        start_date=MONDAY,
        end_date=MONDAY,
    )


DOCUMENTS = [
    *(_profile(number, name) for number, name in enumerate(NAMES)),
    *(_digest(number, name, week) for number, name in enumerate(NAMES) for week in range(6)),
    _note("n-1", "What the January plan said"),
]


def _unit(vectors: Floats) -> Floats:
    normed: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normed.astype(np.float32)


@given(
    seed=st.integers(0, 10_000),
    query_count=st.integers(1, 6),
    page=st.integers(1, 40),
    flaw=st.sampled_from(["none", "lost", "other"]),
)
def test_recall_is_that_of_sorting_everything(
    seed: int, query_count: int, page: int, flaw: str
) -> None:
    """Page by page or at once, under conditions, and for an index that misses what is near."""
    random = np.random.default_rng(seed)
    vectors = _unit(random.normal(size=(len(DOCUMENTS), 8)).astype(np.float32))
    vectors[1::3] = vectors[0]  # many equal ones
    queries = _unit(random.normal(size=(query_count, 8)).astype(np.float32))
    conditions = [
        drawn_condition(DOCUMENTS[query], seed=seed) if query % 2 else NO_CONDITION
        for query in range(query_count)
    ]
    served, found, expected = [], 0, 0
    for query, condition in zip(queries, conditions, strict=True):
        kept = np.flatnonzero(DocumentColumns(DOCUMENTS).keep(condition))
        best = kept[np.argsort(-(vectors[kept] @ query), kind="stable")][:10]
        answer = [DOCUMENTS[place].document_id for place in best]
        expected += len(best)
        if flaw == "lost":
            answer = answer[1:]
        elif flaw == "other":
            answer[0] = "gone"
        found += len(best) - (flaw != "none")
        served.append(answer)
    exact = ExactSearch(queries, conditions, served)
    for start in range(0, len(DOCUMENTS), page):
        exact.add(DOCUMENTS[start : start + page], vectors[start : start + page])
    recall = exact.recall()
    assert (found, expected, len(DOCUMENTS)) == (
        recall.found_count,
        recall.expected_count,
        recall.document_count,
    )


def test_equal_documents_are_equally_right() -> None:
    """An index may give any of several that are as near as the tenth, and none out of scope."""
    vectors = np.tile(np.eye(4, dtype=np.float32)[:1], (len(DOCUMENTS), 1))
    last = [document.document_id for document in DOCUMENTS[-10:]]
    queries = vectors[:1]
    exact = ExactSearch(queries, [NO_CONDITION], [last])
    exact.add(DOCUMENTS, vectors)
    assert exact.recall().found_count == 10
    only_profiles = ExactSearch(queries, [Condition(kind=DocumentKind.PROFILE)], [last])
    only_profiles.add(DOCUMENTS, vectors)
    recall = only_profiles.recall()
    assert (recall.found_count, recall.expected_count) == (0, 5)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: each.title)
@pytest.mark.parametrize("seed", range(5))
def test_conditions_are_kept_by_what_they_were_drawn_from(document: Document, seed: int) -> None:
    """They never are empty, and the same seed gives the same."""
    condition = drawn_condition(document, seed=seed)
    assert condition != NO_CONDITION
    assert condition == drawn_condition(document, seed=seed)
    assert DocumentColumns([document]).keep(condition).all()


def test_conditions_tell_documents_apart() -> None:
    """Each of them, by what it names."""
    columns = DocumentColumns(DOCUMENTS)
    kept = {
        "kind": Condition(kind=DocumentKind.NOTE),
        "platform": Condition(platform="meta"),
        "account": Condition(account_id="act_1"),
        "scope": Condition(scope="planning"),
        "days": Condition(days=(MONDAY + timedelta(weeks=5), MONDAY + timedelta(weeks=9))),
        "quality": Condition(minimum_quality=0.6),
        "two": Condition(kind=DocumentKind.WEEKLY_DIGEST, account_id="act_1"),
    }
    counts = {name: int(columns.keep(condition).sum()) for name, condition in kept.items()}
    assert counts == {
        "kind": 1,
        "platform": 35,
        "account": 14,
        "scope": 1,
        "days": 5,
        "quality": 3,
        "two": 12,
    }


def test_questions_are_answered_by_their_documents() -> None:
    """All kinds are asked, no wording twice, the same again with the same seed."""
    items = known_items(DOCUMENTS, count=60, seed=1)
    assert set(QuestionKind) == {item.kind for item in items}
    assert len({item.query.casefold() for item in items}) == 60
    assert all(item.is_answered_by(item.document) for item in items)
    assert items == known_items(DOCUMENTS, count=60, seed=1)
    assert [item.query for item in items] != [
        item.query for item in known_items(DOCUMENTS, count=60, seed=2)
    ]


def test_slips_are_in_the_name_alone() -> None:
    """A typo question does not hold the name as it is, and a short name gives none."""
    typos = [
        item for item in known_items(DOCUMENTS, count=500, seed=3) if item.kind is QuestionKind.TYPO
    ]
    assert typos
    for item in typos:
        assert name_of(item.document).casefold() not in item.query.casefold()
    assert "7" not in {name_of(item.document) for item in typos}


def test_what_answers_a_question() -> None:
    """Another object does not; a namesake does where the question does not tell them apart."""
    digest = _digest(0, NAMES[0], 1)
    item = KnownItem(
        QuestionKind.PERIOD,
        "winter boots in week 3",
        digest,
        platform="meta",
        period=(digest.start_date, digest.end_date),
    )
    assert item.is_answered_by(_digest(9, NAMES[0].upper(), 1))
    assert not item.is_answered_by(_digest(0, NAMES[0], 2))
    assert not item.is_answered_by(_profile(0, NAMES[0]))
    assert not item.is_answered_by(_digest(0, NAMES[1], 1))
    assert not item.is_answered_by(_digest(0, NAMES[0], 1, platform="google_ads"))
    assert not item.is_answered_by(_note("n-2", NAMES[0]))
    named = replace(item, kind=QuestionKind.NAME, period=None)
    assert named.is_answered_by(_profile(0, NAMES[0]))
    assert named.is_answered_by(_digest(0, NAMES[0], 2))
    by_id = replace(named, kind=QuestionKind.ID)
    assert by_id.is_answered_by(_profile(0, "Another name"))
    assert not by_id.is_answered_by(_profile(9, NAMES[0]))
    told = KnownItem(QuestionKind.TITLE, "january plan", _note("n-1", "January plan"))
    assert told.is_answered_by(_note("n-2", "january  PLAN"))
    assert not told.is_answered_by(_note("n-3", "February plan"))
    assert not told.is_answered_by(digest)


def test_few_documents_give_few_questions() -> None:
    """None, rather than the same ones again."""
    assert known_items([], count=10, seed=1) == []
    items = known_items(DOCUMENTS[:1], count=500, seed=1)
    assert 0 < len(items) < 20
