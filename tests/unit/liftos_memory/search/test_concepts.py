"""Concepts: what is measured, where objects stand, and which dimensions a query names."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_memory.domain.concept_lexicon import (
    DEGREES,
    DIMENSION_WORDS,
    DIRECTIONS,
    NEGATIONS,
    wished,
)
from liftos_memory.domain.concepts import (
    Concept,
    Dimension,
    explain_concepts,
    explain_targets,
    measure,
    percentiles,
)
from liftos_memory.domain.documents import ObjectKey, ObjectNames, ObjectProfileFacts

LAST = date(2026, 3, 1)


def _facts(sums: dict[str, int | None], **fields: Any) -> ObjectProfileFacts:
    given: dict[str, Any] = {
        "key": ObjectKey("meta", "CAMPAIGN", "act", "c"),
        "names": ObjectNames(),
        "channel": "",
        "currency_code": "USD",
        "first_date": LAST - timedelta(days=69),
        "last_date": LAST,
        "days_with_data": 70,
        "activity_by_month": {},
    }
    return ObjectProfileFacts(sums=sums, **(given | fields))


def test_measures_are_what_is_known() -> None:
    """Ratios are ratios of sums, sizes are by week, and each names what was measured."""
    found = measure(
        _facts(
            {
                "spend_micros": 1_250_500_000,
                "impressions": 45_000,
                "clicks": 890,
                "conversions_micros": 23_000_000,
                "revenue_micros": 4_500_000_000,
            },
            recent_activity=150.0,
            prior_activity=100.0,
            weekly_variation=0.3,
            activity_by_month=dict.fromkeys(range(1, 7), 10) | {6: 70},
        )
    )
    known = {dimension: (each.basis, each.value) for dimension, each in found.items()}
    assert known == {
        Dimension.SCALE: ("spend a week in USD", pytest.approx(125.05)),
        Dimension.REACH: ("impressions a week", pytest.approx(4_500)),
        Dimension.EFFICIENCY: ("roas", pytest.approx(4_500 / 1_250.5)),
        Dimension.ENGAGEMENT: ("ctr", pytest.approx(890 / 45_000)),
        Dimension.CONVERSION: ("conversion_rate", pytest.approx(23 / 890)),
        Dimension.VALUE: ("average_order_value in USD", pytest.approx(4_500 / 23)),
        Dimension.PRICE: ("cpc in USD", pytest.approx(1_250.5 / 890)),
        Dimension.GROWTH: ("last 4 weeks against the 4 before", pytest.approx(0.5)),
        Dimension.VOLATILITY: ("variation of weeks", 0.3),
        Dimension.SEASONALITY: ("strongest month against an average one", pytest.approx(3.5)),
        Dimension.RECENCY: ("last day", float((LAST - date.min).days)),
        Dimension.LONGEVITY: ("days from first to last", 70.0),
    }


def test_what_is_unset_is_not_measured() -> None:
    """Null is not zero, a zero denominator gives nothing, and mixed money compares with nothing."""
    assert measure(_facts({})).keys() == {Dimension.RECENCY, Dimension.LONGEVITY}
    zero = measure(_facts({"spend_micros": 0, "impressions": 0, "clicks": 0}))
    assert zero[Dimension.SCALE].value == 0.0
    assert not {Dimension.ENGAGEMENT, Dimension.PRICE, Dimension.GROWTH} & zero.keys()
    mixed = measure(_facts({"spend_micros": 10, "clicks": 5, "impressions": 9}, currency_code=""))
    assert mixed[Dimension.SCALE].basis == "impressions a week"
    assert Dimension.PRICE not in mixed


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([1, 2]),
            st.sampled_from(["roas", "ctr"]),
            st.none() | st.sampled_from([0.0, 1.0, 2.5, -3.0]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_percentiles_are_mid_ranks_among_those_measured_alike(
    rows: list[tuple[int, str, float | None]],
) -> None:
    """The share of like objects below, equals counting half; nothing else is compared."""
    values = np.array([[value] for *_, value in rows], dtype=np.float64)
    places = percentiles([row[0] for row in rows], [[row[1]] for row in rows], values)[:, 0]
    for (level, basis, value), place in zip(rows, places, strict=True):
        if value is None:
            assert np.isnan(place)
            continue
        like = [row[2] for row in rows if row[:2] == (level, basis) and row[2] is not None]
        below = sum(each < value for each in like) + sum(each == value for each in like) / 2
        assert place == pytest.approx(below / len(like))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("big campaigns with poor conversion", {"scale": 1, "conversion": 0}),
        ("Stable, and not seasonal", {"volatility": 0, "seasonality": 0}),
        ("ROAS", {"efficiency": 1}),
        ("low cost growth", {"price": 0, "growth": 1}),
        ("not high cost", {"price": 0}),
        ("average spend", {"scale": 0.5}),
        ("cheap clicks with strong engagement", {"engagement": 1, "price": 0}),
        ("poor reach and conversion", {"reach": 0, "conversion": 0}),
        ("not large or expensive", {"scale": 0, "price": 0}),
        ("not costly: low cost", {"price": 0}),
        ("low stability", {"volatility": 1}),
        ("low efficiency, efficient", {"efficiency": 0.5}),
        ("scaled budgets", {"scale": 1}),
        ("winter boots", {}),
        ("not high, without the", {}),
        ("", {}),
        ("зима 冬 !!", {}),
    ],
)
def test_queries_name_dimensions(query: str, expected: dict[str, float]) -> None:
    """By words of direction, and by names with degrees and negations before them."""
    assert {dimension.value: target for dimension, target in wished(query).items()} == expected


def test_the_lexicon_gives_each_word_one_meaning() -> None:
    """Every dimension has words for both of its ends and a name, and no word stands twice."""
    assert DIRECTIONS.keys() == DIMENSION_WORDS.keys() == set(Dimension)
    words = [word for ends in DIRECTIONS.values() for end in ends for word in end.split()]
    words += [
        word for names in (*DIMENSION_WORDS.values(), *DEGREES.values()) for word in names.split()
    ]
    words += NEGATIONS
    assert len(words) == len(set(words))
    for dimension, (high, low) in DIRECTIONS.items():
        assert all(wished(word) == {dimension: 1.0} for word in high.split())
        assert all(wished(word) == {dimension: 0.0} for word in low.split())


def test_the_page_tells_the_lexicon() -> None:
    """The documented words are those that are searched by."""
    page = (Path(__file__).parents[4] / "docs" / "search.md").read_text()
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in page.splitlines() if "|" in row
    ]
    told = {row[0]: row[2:] for row in rows if len(row) == 5}
    for dimension in Dimension:
        expected = [DIMENSION_WORDS[dimension], *DIRECTIONS[dimension]]
        assert told[dimension.value] == [words.replace(" ", ", ") for words in expected]
    for words in DEGREES.values():
        assert words.replace(" ", ", ") in page


def test_explanations_name_the_dimensions() -> None:
    """What was wished for, and where an object stands."""
    targets = {Dimension.SCALE: 1.0, Dimension.PRICE: 0.0, Dimension.GROWTH: 0.4}
    assert explain_targets(targets) == "high scale, low price, growth near 0.40"
    places = [Concept(Dimension.SCALE, 0.9, "x"), Concept(Dimension.REACH, 0.1, "x")]
    assert explain_concepts(places, targets) == "scale 0.90, price not known, growth not known"
