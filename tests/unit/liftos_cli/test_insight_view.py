"""An insight as people read it."""

import shlex

import pytest

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.memory.v1 import entry_pb2, insight_pb2
from liftos.memory.v1.document_pb2 import ObjectRef
from liftos.memory.v1.insight_pb2 import Insight, InsightContributor, InsightEvidence
from liftos.memory.v1.memory_service_pb2 import GenerateInsightsResponse
from liftos_cli.insight_view import looked_at, print_insight

_DAYS = DateRange(start_date="2026-06-18", end_date="2026-06-18")
_NAME = "orgs/shop/insights/" + "0f" * 16


@pytest.fixture
def whole() -> Insight:
    """An insight of three campaigns."""
    return Insight(
        name=_NAME,
        kind=insight_pb2.INSIGHT_KIND_ANOMALY,
        pattern=insight_pb2.INSIGHT_PATTERN_POINT,
        direction=insight_pb2.INSIGHT_DIRECTION_UP,
        state=insight_pb2.INSIGHT_STATE_ACTIVE,
        summary="Clicks of the 3 campaigns were many.",
        metric="clicks",
        object=ObjectRef(platform="meta", level=entry_pb2.ENTRY_LEVEL_CAMPAIGN, account_id="act_1"),
        date_basis=entry_pb2.DATE_BASIS_INTERACTION,
        date_range=_DAYS,
        observed=12_345.6,
        expected=4_000.4,
        expected_low=3_500.0,
        expected_high=4_600.0,
        change=2.086,
        severity=98.4,
        p_value=1.4e-10,
        q_value=2e-8,
        quality_score=0.9,
        quality_issues=[
            entry_pb2.QualityIssue(code="LEVEL_MISMATCH", field="spend_micros", cost=0.4),
            entry_pb2.QualityIssue(code="NOT_FINAL", field="final", cost=0.1),
        ],
        sample_count=1,
        object_count=3,
        moved_count=2,
        contributors=[
            InsightContributor(display_name="Brand", before=2_000.0, after=9_000.0, share=0.84),
            InsightContributor(display_name="New", after=12.3456, share=0.16, insight=_NAME),
        ],
        evidence=InsightEvidence(
            filter='platform="meta" AND account_id="act_1"',
            level="ENTRY_LEVEL_CAMPAIGN",
            granularity="GRANULARITY_DAY",
            group_by=["campaign_id"],
            date_range=_DAYS,
        ),
    )


def test_an_insight_is_told_without_json(
    whole: Insight, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sentence, figures, what adds to it, and the command that gives its numbers."""
    print_insight(whole)
    said = capsys.readouterr().out
    assert said.startswith(whole.summary)
    assert "{" not in said
    for line in (
        "what         anomaly, point, up",
        "object       3 campaigns of account act_1, meta, INTERACTION",
        "days         2026-06-18",
        "observed     12,346",
        "expected     4,000 (99 % of days 3,500 to 4,600)",
        "change       +208.6%",
        "severity     98 of 100 (p 1.4e-10, q 2e-08)",
        "issues       LEVEL_MISMATCH of spend_micros -0.40, NOT_FINAL of final -0.10",
        "moves along  2 of 3",
    ):
        assert line in said.splitlines()
    rows = [line.split() for line in said.splitlines()]
    assert ["Brand", "2,000", "9,000", "84.0%", "-"] in rows
    assert ["New", "-", "12.35", "16.0%", "0f" * 16] in rows
    assert shlex.split(said.splitlines()[-1])[-2:] == ["--filter", whole.evidence.filter]


def test_a_trend_is_a_change_a_week(whole: Insight, capsys: pytest.CaptureFixture[str]) -> None:
    """With its interval, and the weeks that it rests on."""
    whole.MergeFrom(
        Insight(
            pattern=insight_pb2.INSIGHT_PATTERN_TREND,
            change=0.02,
            change_low=0.01,
            change_high=0.03,
        )
    )
    print_insight(whole)
    said = capsys.readouterr().out
    assert "+2.0% a week (95 % interval +1.0% to +3.0%)" in said
    assert "1 week" in said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (GenerateInsightsResponse(), "There are no entries yet"),
        (GenerateInsightsResponse(date_range=_DAYS), "None of these days has entries"),
        (
            GenerateInsightsResponse(
                date_range=_DAYS, day_count=1, insight_count=2, within_count=7, series_count=30
            ),
            "2 hold, with 7 more within them; 0 no longer do. 30 series were looked at, on 1 day",
        ),
    ],
)
def test_what_was_looked_at_is_said(answer: GenerateInsightsResponse, said: str) -> None:
    """Also where there was nothing to look at."""
    assert looked_at(answer).startswith(said)
