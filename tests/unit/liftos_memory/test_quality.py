"""The quality score: what costs points, and that nothing else does."""

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.entry_fields import ADDITIVE_METRICS, ENTRY_SCHEMA, GRAIN_METRICS, LEVELS
from liftos_memory.domain.quality import (
    ISSUE_KINDS,
    RESTATEMENT_DAYS,
    WEIGHTS_PERCENT,
    IssueTextError,
    QualityIssue,
    QualityPart,
    decode_issues,
    encode_issues,
    expected_metrics,
    issue,
    quality_from_text,
    quality_of,
    score_rows,
)

TODAY = date(2026, 11, 24)
AD: dict[str, Any] = {
    "date": date(2026, 11, 1),
    "platform": "meta",
    "level": "CAMPAIGN",
    "account_id": "act_1",
    "campaign_id": "c1",
    "campaign_name": "Brand",
    "currency_code": "EUR",
    "time_zone": "Europe/Berlin",
    "attribution_key": "",
    "date_basis": "INTERACTION",
    "breakdown_key": "",
    "spend_micros": 1_250_500_000,
    "impressions": 45_000,
    "clicks": 890,
    "conversions_micros": 23_000_000,
    "revenue_micros": 4_500_000_000,
    "final": True,
}
MAIL: dict[str, Any] = {
    "date": date(2026, 11, 1),
    "platform": "klaviyo",
    "level": "MESSAGE",
    "account_id": "k",
    "message_id": "m",
    "message_name": "Welcome",
    "time_zone": "Europe/Berlin",
    "date_basis": "SEND",
    "breakdown_key": "",
    "sent": 15_100,
    "delivered": 15_000,
    "opened": 4_500,
    "clicked": 675,
    "bounced": 100,
    "unsubscribed": 30,
    "final": True,
}


def table_of(*rows: dict[str, Any]) -> pa.Table:
    """Return rows in the schema of entries."""
    return pa.Table.from_pylist(list(rows), schema=ENTRY_SCHEMA)


def issues_of(row: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Score one row and return its issues."""
    scores, texts = score_rows(table_of(row), today=TODAY)
    quality = quality_from_text(texts[0].as_py())
    assert scores[0] == quality.score
    return [(found.code, found.field, found.cost_permille) for found in quality.issues]


@pytest.mark.parametrize("row", [AD, MAIL])
def test_a_good_row_has_a_full_score(row: dict[str, Any]) -> None:
    """Nothing is taken off without a reason, and no reasons are stored as null."""
    scores, texts = score_rows(table_of(row), today=TODAY)
    assert scores.tolist() == [1.0]
    assert texts.to_pylist() == [None]


def test_history_loses_nothing_for_its_age() -> None:
    """A row of 2001 that nobody marked as final is as good as yesterday's final one."""
    assert issues_of(AD | {"date": date(2001, 1, 1), "final": None}) == []
    settled = TODAY - timedelta(days=RESTATEMENT_DAYS + 1)
    assert issues_of(AD | {"date": settled, "final": False}) == []
    assert issues_of(AD | {"date": settled + timedelta(days=1), "final": False}) == [
        ("NOT_FINAL", "final", 100)
    ]


FINDINGS: list[tuple[dict[str, Any], dict[str, Any], list[tuple[str, str, int]]]] = [
    (AD, {"clicks": None}, [("MISSING_METRIC", "clicks", 200)]),
    (AD, {"spend_micros": None}, [("MISSING_METRIC", "spend_micros", 300)]),
    (AD, {"campaign_name": None}, [("MISSING_NAME", "campaign_name", 100)]),
    (AD, {"time_zone": None}, [("MISSING_TIME_ZONE", "time_zone", 50)]),
    (AD, {"platform": "offline", "clicks": None, "impressions": None}, []),
    (AD, {"clicks": 22_501}, [("CTR_IMPLAUSIBLE", "clicks", 200)]),
    (
        AD,
        {"spend_micros": 45_000_000_001_000},
        [("CPM_IMPLAUSIBLE", "spend_micros", 200), ("CPC_IMPLAUSIBLE", "spend_micros", 200)],
    ),
    (AD, {"spend_micros": 45_000_000_001_000, "currency_code": "JPY"}, []),
    (AD, {"spend_micros": 1250}, [("SPEND_TOO_SMALL", "spend_micros", 300)]),
    (AD, {"conversions_micros": 23}, [("CONVERSIONS_TOO_SMALL", "conversions_micros", 300)]),
    (AD, {"revenue_micros": 10**16}, [("ROAS_IMPLAUSIBLE", "revenue_micros", 200)]),
    (AD, {"clicks": 45_001}, [("CLICKS_ABOVE_IMPRESSIONS", "clicks", 400)]),
    (AD, {"link_clicks": 891}, [("LINK_CLICKS_ABOVE_CLICKS", "link_clicks", 300)]),
    (AD, {"unique_clicks": 891}, [("UNIQUE_CLICKS_ABOVE_CLICKS", "unique_clicks", 300)]),
    (AD, {"reach": 45_001}, [("REACH_ABOVE_IMPRESSIONS", "reach", 300)]),
    (AD, {"reach": 15_000, "frequency": 3.1}, []),
    (
        AD,
        {"reach": 15_000, "frequency": 3.2},
        [("FREQUENCY_MISMATCH", "frequency", 100)],
    ),
    (
        AD,
        {"conversions_micros": 891_000_000},
        [("CONVERSIONS_ABOVE_CLICKS", "conversions_micros", 200)],
    ),
    (
        AD,
        {"conversions_micros": 891_000_000, "view_through_conversions_micros": 1_000_000},
        [("CONVERSIONS_ABOVE_CLICKS_BY_VIEWS", "conversions_micros", 50)],
    ),
    (AD, {"conversions_micros": 891_000_000, "date_basis": "CONVERSION"}, []),
    (
        AD,
        {"all_conversions_micros": 22_000_000},
        [("CONVERSIONS_ABOVE_ALL_CONVERSIONS", "conversions_micros", 200)],
    ),
    (
        AD,
        {"conversions_micros": 0},
        [("REVENUE_WITHOUT_CONVERSIONS", "revenue_micros", 200)],
    ),
    (AD, {"conversions_micros": 0, "orders": 2}, []),
    (
        AD,
        {"impressions": 0, "clicks": 0, "conversions_micros": 0, "revenue_micros": 0},
        [("SPEND_WITHOUT_IMPRESSIONS", "spend_micros", 200)],
    ),
    (
        AD,
        {"video_views": 1, "video_completions": 2},
        [("COMPLETIONS_ABOVE_VIEWS", "video_completions", 50)],
    ),
    (AD, {"date": TODAY, "final": False}, [("DAY_NOT_OVER", "date", 400)]),
    (
        AD,
        {"date": TODAY},
        [("FINAL_BEFORE_DAY_END", "final", 300), ("DAY_NOT_OVER", "date", 400)],
    ),
    (MAIL, {"unsubscribed": None}, [("MISSING_METRIC", "unsubscribed", 50)]),
    (MAIL, {"sent": 14_999, "bounced": 0}, [("DELIVERED_ABOVE_SENT", "delivered", 400)]),
    (
        MAIL,
        {"sent": 15_050},
        [("DELIVERED_AND_BOUNCED_ABOVE_SENT", "delivered", 200)],
    ),
    (MAIL, {"bounced": 15_101}, [("BOUNCED_ABOVE_SENT", "bounced", 400)]),
    (
        MAIL,
        {"delivered": 7_000, "bounced": 8_000},
        [("BOUNCE_RATE_IMPLAUSIBLE", "bounced", 200)],
    ),
    (
        MAIL,
        {"spam_complaints": 751},
        [("SPAM_RATE_IMPLAUSIBLE", "spam_complaints", 200)],
    ),
    (
        MAIL,
        {"spam_complaints": 15_001},
        [("SPAM_COMPLAINTS_ABOVE_DELIVERED", "spam_complaints", 300)],
    ),
    (
        MAIL,
        {"unsubscribed": 3_001},
        [("UNSUBSCRIBE_RATE_IMPLAUSIBLE", "unsubscribed", 200)],
    ),
    (MAIL, {"opened": 15_001}, [("OPENED_ABOVE_DELIVERED", "opened", 50)]),
    (MAIL, {"opened": 15_001, "date_basis": "EVENT"}, []),
    (MAIL, {"opened": 20_000, "unique_opened": 9_000}, []),
    (
        MAIL,
        {"opened": 20_000, "unique_opened": 15_001},
        [("UNIQUE_OPENED_ABOVE_DELIVERED", "unique_opened", 400)],
    ),
    (MAIL, {"unique_clicked": 676}, [("UNIQUE_CLICKED_ABOVE_CLICKED", "unique_clicked", 300)]),
    (
        MAIL,
        {"machine_opened": 4_501},
        [("MACHINE_OPENED_ABOVE_OPENED", "machine_opened", 300)],
    ),
    (MAIL, {"clicked": 15_001}, [("CLICKED_ABOVE_DELIVERED", "clicked", 100)]),
    (
        MAIL,
        {"clicked": 20_000, "unique_clicked": 15_001},
        [("UNIQUE_CLICKED_ABOVE_DELIVERED", "unique_clicked", 400)],
    ),
    (
        MAIL,
        {"unsubscribed": 15_001},
        [("UNSUBSCRIBED_ABOVE_DELIVERED", "unsubscribed", 300)],
    ),
    (
        MAIL,
        {"unique_opened": 4_501},
        [("UNIQUE_OPENED_ABOVE_OPENED", "unique_opened", 300)],
    ),
    (AD, {"final": False}, [("NOT_FINAL", "final", 100)]),
]


@pytest.mark.parametrize(("row", "change", "found"), FINDINGS)
def test_each_finding_names_code_field_and_cost(
    row: dict[str, Any], change: dict[str, Any], found: list[tuple[str, str, int]]
) -> None:
    """One change to a good row gives exactly the issues that it should."""
    assert issues_of(row | change) == found


def test_outcomes_need_orders_or_revenue() -> None:
    """One of the two is a whole outcome, none is nothing."""
    row = {
        name: AD[name] for name in ("date", "account_id", "time_zone", "final", "breakdown_key")
    } | {"platform": "commerce", "level": "OUTCOME", "account_name": "Shop", "date_basis": "EVENT"}
    assert issues_of(row | {"orders": 3}) == []
    assert issues_of(row | {"revenue_micros": 3}) == []
    assert issues_of(row | {"clicks": 3}) == [("MISSING_METRIC", "revenue_micros", 1000)]


def test_planned_control_values_are_good() -> None:
    """An outside series may lie in the future and is never final."""
    row = {
        "date": TODAY + timedelta(days=300),
        "platform": "offline",
        "level": "CONTROL",
        "account_id": "world",
        "series_id": "fair",
        "series_name": "Trade fair",
        "breakdown_key": "",
        "value_micros": 1,
    }
    assert issues_of(row) == []


def test_breakdowns_with_the_same_money_are_suspected() -> None:
    """Rows of one object and day that agree in every number may be copies of each other."""
    young = AD | {"breakdown_key": "age=18-24"}
    old = AD | {"breakdown_key": "age=65+"}
    cheap = {"spend_micros": 0, "revenue_micros": 0}
    rows = [
        AD,
        young,
        old,
        young | {"date": date(2026, 11, 2)},
        young | {"campaign_id": "c2"} | cheap,
        old | {"campaign_id": "c2"} | cheap,
        young | {"campaign_id": "c3"},
        old | {"campaign_id": "c3", "clicks": 889},
    ]
    scores, texts = score_rows(table_of(*rows), today=TODAY)
    suspected = "REPEATED_NUMBERS:breakdown_key:300"
    assert [index for index, text in enumerate(texts.to_pylist()) if text == suspected] == [1, 2]
    assert scores[1] == 0.97


def test_score_is_the_weighted_sum_of_floored_parts() -> None:
    """A part never falls below zero, whatever its issues cost together."""
    quality = quality_of(
        [issue("CLICKS_ABOVE_IMPRESSIONS", "clicks")] * 3 + [issue("NOT_FINAL", "final")]
    )
    assert (quality.consistency, quality.timeliness, quality.completeness) == (0.0, 0.9, 1.0)
    assert quality.score == pytest.approx(0.30 + 0.25 + 0.20 * 0 + 0.15 * 0.9 + 0.10)
    assert sum(WEIGHTS_PERCENT.values()) == 100
    assert quality_of([]).score == 1.0


def test_a_later_pass_can_add_an_issue() -> None:
    """Level reconciliation knows its result only once both levels are there."""
    text = encode_issues([*decode_issues(None), issue("LEVEL_MISMATCH", "spend_micros")])
    assert text == "LEVEL_MISMATCH:spend_micros:400"
    assert quality_from_text(text).consistency == 0.6


_ISSUES = st.builds(
    QualityIssue,
    st.sampled_from(sorted(ISSUE_KINDS)),
    st.sampled_from(["", *ENTRY_SCHEMA.names]),
    st.integers(0, 1000),
)


@given(st.lists(_ISSUES, max_size=12))
def test_issues_survive_their_text(issues: list[QualityIssue]) -> None:
    """Decoding gives back every issue, and the score lies within 0 to 1."""
    text = encode_issues(issues)
    assert (text is None) == (not issues)
    assert decode_issues(text) == tuple(issues)
    quality = quality_from_text(text)
    assert quality == quality_of(issues)
    parts = (quality.completeness, quality.validity, quality.consistency, quality.timeliness)
    assert all(0 <= part <= 1 for part in (*parts, quality.uniqueness, quality.score))
    assert {found.part for found in quality.issues} <= set(QualityPart)


@pytest.mark.parametrize(
    "text",
    ["", ";", "NOT_FINAL", "NOT_FINAL:final", "GONE:final:100", "NOT_FINAL:final:-1", "a:b:c"],
)
def test_other_texts_are_refused(text: str) -> None:
    """What is no list of issues is a typed error and not an empty list."""
    with pytest.raises(IssueTextError):
        decode_issues(text)


_METRIC_VALUES = st.none() | st.integers(0, 3) | st.integers(0, 2**63 - 1)
_ROWS = st.fixed_dictionaries(
    {
        "date": st.dates(TODAY - timedelta(days=99), TODAY + timedelta(days=9)),
        "platform": st.sampled_from(["meta", "klaviyo", "offline", "own"]),
        "level": st.sampled_from(LEVELS),
        "account_id": st.sampled_from(["1", "2"]),
        "date_basis": st.sampled_from(["INTERACTION", "SEND", "EVENT", "CONVERSION"]),
        "breakdown_key": st.sampled_from(["", "a", "b"]),
        "currency_code": st.sampled_from(["EUR", "JPY", None]),
        "final": st.sampled_from([True, False, None]),
    },
    optional={
        name: st.none() | st.floats(0, 1e6)
        if ENTRY_SCHEMA.field(name).type == pa.float64()
        else _METRIC_VALUES
        for name in (*ADDITIVE_METRICS, *GRAIN_METRICS)
    },
)


@given(st.lists(_ROWS, max_size=8))
def test_any_rows_are_scored_alike_alone_and_together(rows: list[dict[str, Any]]) -> None:
    """Scores follow from the issues, lie within 0 to 1, and only copies depend on other rows."""
    scores, texts = score_rows(table_of(*rows), today=TODAY)
    assert len(scores) == len(texts) == len(rows)
    assert texts.type == pa.string()
    for row, score, text in zip(rows, scores.tolist(), texts.to_pylist(), strict=True):
        quality = quality_from_text(text)
        assert score == quality.score
        assert 0 <= score <= 1
        alone = [found for found in quality.issues if found.code != "REPEATED_NUMBERS"]
        assert [(it.code, it.field, it.cost_permille) for it in alone] == issues_of(row)


def test_more_kinds_of_findings_than_bits() -> None:
    """Rows with many different issues keep all of theirs and none of the others'."""
    rows = []
    for platform in ("meta", "google_ads", "own"):
        for level in LEVELS:
            for name, _ in expected_metrics(platform, level):
                rows.append(
                    AD
                    | MAIL
                    | {"platform": platform, "level": level, "value_micros": 1, name: None}
                )
    _, texts = score_rows(table_of(*rows), today=TODAY)
    for row, text in zip(rows, texts.to_pylist(), strict=True):
        found = decode_issues(text)
        missing = {it.field for it in found if it.code == "MISSING_METRIC"}
        expected = expected_metrics(row["platform"], row["level"])
        assert missing == {name for name, _ in expected if row[name] is None}
    assert len({text for text in texts.to_pylist() if text}) > 32


def test_the_catalogue_is_complete() -> None:
    """Every kind has a cost, a meaning, a code that its text can carry, and a test above."""
    assert {kind.part for kind in ISSUE_KINDS.values()} == set(QualityPart)
    tested = {code for *_, found in FINDINGS for code, _, _ in found}
    assert tested | {"REPEATED_NUMBERS", "LEVEL_MISMATCH"} == set(ISSUE_KINDS)
    for code, kind in ISSUE_KINDS.items():
        assert kind.code == code
        assert 0 < kind.cost_permille <= 1000
        assert kind.meaning
        assert decode_issues(encode_issues([issue(code, "clicks")])) == (issue(code, "clicks"),)
