"""Fusion: scores between 0 and 1, one order whatever the order of the input, honest gaps."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_memory.domain.fusion import (
    FusedAnswer,
    FusionMethod,
    Leg,
    LegHit,
    SearchMode,
    explain,
    fuse,
)

NEURAL, LEXICAL = SearchMode.NEURAL, SearchMode.LEXICAL
METHODS = st.sampled_from(FusionMethod)
SCORES = st.floats(-1e6, 1e6)


def hits(**scores: float) -> list[LegHit]:
    """Return hits by document."""
    return [LegHit(document_id, score) for document_id, score in scores.items()]


@st.composite
def legs(draw: st.DrawFn) -> list[Leg]:
    """Draw legs that may have failed or found nothing."""
    modes = draw(st.lists(st.sampled_from(SearchMode), min_size=1, max_size=4, unique=True))
    found = st.dictionaries(st.sampled_from("abcdefgh"), SCORES, max_size=8).map(
        lambda scores: [LegHit(name, score) for name, score in scores.items()]
    )
    return [Leg(mode, draw(st.floats(0.01, 10)), draw(st.none() | found)) for mode in modes]


def scores(answer: FusedAnswer) -> dict[str, float]:
    """Return the score of each document."""
    return {hit.document_id: hit.score for hit in answer.hits}


def test_weighted_min_max_by_hand() -> None:
    """Two legs by halves: spread, weighted, added, sorted."""
    answer = fuse(
        [Leg(NEURAL, 0.5, hits(a=0.9, b=0.5, c=0.1)), Leg(LEXICAL, 0.5, hits(b=8.0, d=2.0))]
    )
    assert [(hit.document_id, hit.score) for hit in answer.hits] == [
        ("b", pytest.approx(0.75)),
        ("a", pytest.approx(0.5)),
        ("c", 0.0),
        ("d", 0.0),
    ]
    best = answer.hits[0].legs
    assert [(leg.mode, leg.rank, leg.raw_score, leg.weight) for leg in best] == [
        (NEURAL, 2, 0.5, 0.5),
        (LEXICAL, 1, 8.0, 0.5),
    ]
    assert [leg.contribution for leg in best] == pytest.approx([0.25, 0.5])


def test_reciprocal_rank_by_hand() -> None:
    """Weights over 60 plus rank."""
    answer = fuse(
        [Leg(NEURAL, 3, hits(a=2.0, b=1.0)), Leg(LEXICAL, 1, hits(b=5.0))],
        method=FusionMethod.RECIPROCAL_RANK,
    )
    assert scores(answer) == {
        "a": pytest.approx(0.75 / 61),
        "b": pytest.approx(0.75 / 62 + 0.25 / 61),
    }


def test_failed_leg_adds_nothing_and_is_named() -> None:
    """The scores of the other leg are the same as if the failed one had found nothing."""
    found = Leg(LEXICAL, 0.5, hits(a=2.0, b=1.0))
    failed = fuse([Leg(NEURAL, 0.5, None), found])
    empty = fuse([Leg(NEURAL, 0.5, []), found])
    assert scores(failed) == scores(empty) == {"a": 0.5, "b": 0.0}
    assert (failed.used, failed.failed) == ((LEXICAL,), (NEURAL,))
    assert (empty.used, empty.failed) == ((NEURAL, LEXICAL), ())
    assert "NEURAL did not answer and added 0" in explain(failed.hits[0], failed=failed.failed)


def test_explanation_names_legs_words_and_numbers() -> None:
    """A reader sees rank, measure and contribution of each leg, and the words that matched."""
    answer = fuse([Leg(NEURAL, 0.5, hits(a=0.714)), Leg(LEXICAL, 0.5, hits(a=4.2))])
    assert explain(answer.hits[0], matched_words=["Spring", "sale", "spring"]) == (
        "Score 1.000: rank 1 by meaning (cosine 0.714, adds 0.500) and rank 1 by words"
        " (BM25 4.2, adds 0.500); it names Spring, sale."
    )


@pytest.mark.parametrize(
    "bad",
    [
        [Leg(NEURAL, -0.1, [])],
        [Leg(NEURAL, float("nan"), [])],
        [Leg(NEURAL, 0.0, [])],
        [],
        [Leg(NEURAL, 1, []), Leg(NEURAL, 1, [])],
        [Leg(NEURAL, 1, [LegHit("a", 1.0), LegHit("a", 2.0)])],
        [Leg(NEURAL, 1, hits(a=float("inf")))],
    ],
)
def test_nonsense_is_refused(bad: list[Leg]) -> None:
    """Weights and hits that mean nothing are errors, not odd scores."""
    with pytest.raises(ValueError, match=r"weight|leg"):
        fuse(bad)


@given(legs(), METHODS)
def test_scores_lie_between_0_and_1_and_are_the_sum_of_the_parts(
    given_legs: list[Leg], method: FusionMethod
) -> None:
    """Each score is in range, equals its contributions, and the order goes down."""
    answer = fuse(given_legs, method=method)
    for hit in answer.hits:
        assert 0.0 <= hit.score <= 1.0
        assert hit.score == pytest.approx(sum(leg.contribution for leg in hit.legs))
    order = [(-hit.score, hit.document_id) for hit in answer.hits]
    assert order == sorted(order)
    found = {hit.document_id for leg in given_legs for hit in leg.hits or ()}
    assert set(scores(answer)) == found


@given(legs(), METHODS, st.randoms(use_true_random=False))
def test_order_of_input_does_not_matter(
    given_legs: list[Leg], method: FusionMethod, random: Random
) -> None:
    """Shuffled legs and hits give the very same answer."""
    shuffled = [
        leg if leg.hits is None else replace(leg, hits=random.sample(leg.hits, len(leg.hits)))
        for leg in random.sample(given_legs, len(given_legs))
    ]
    assert fuse(shuffled, method=method) == fuse(given_legs, method=method)


@given(legs(), METHODS, st.floats(0, 1e6), st.data())
def test_a_better_raw_score_never_hurts(
    given_legs: list[Leg], method: FusionMethod, more: float, data: st.DataObject
) -> None:
    """Raising one hit in one leg never moves it behind a document that it was ahead of."""
    index = data.draw(st.integers(0, len(given_legs) - 1))
    leg = given_legs[index]
    if not leg.hits:
        return
    chosen = data.draw(st.sampled_from(list(leg.hits)))
    raised = [replace(h, raw_score=h.raw_score + more) if h == chosen else h for h in leg.hits]
    after_legs = [*given_legs[:index], replace(leg, hits=raised), *given_legs[index + 1 :]]
    before = scores(fuse(given_legs, method=method))[chosen.document_id]
    after = scores(fuse(after_legs, method=method))[chosen.document_id]
    others = [hit for hit in leg.hits if hit != chosen]
    is_lowest = bool(others) and chosen.raw_score < min(hit.raw_score for hit in others)
    if method is FusionMethod.RECIPROCAL_RANK or not is_lowest:
        assert after >= before - 1e-12


def test_a_document_about_other_days_counts_half() -> None:
    """In each leg, so that the asked week stands first; contributions still add up."""
    found = [
        Leg(NEURAL, 0.5, hits(other=0.9, asked=0.7, far=0.1)),
        Leg(LEXICAL, 0.5, hits(other=7, asked=7, far=3)),
    ]
    assert [hit.document_id for hit in fuse(found).hits] == ["other", "asked", "far"]
    answer = fuse(found, of_other_days=lambda document_id: document_id == "other")
    asked, other, _ = answer.hits
    assert (asked.document_id, other.document_id) == ("asked", "other")
    assert asked.score == pytest.approx(0.875)
    assert other.score == pytest.approx(0.5)
    assert [leg.contribution for leg in other.legs] == [0.25, 0.25]
    assert "about other days than the query names, and counts half" in explain(other)
    assert "other days" not in explain(asked)
