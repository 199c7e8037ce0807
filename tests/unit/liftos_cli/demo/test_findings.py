"""What the demo claims follows from what it found, and a claim that fails is a failure."""

import json
from dataclasses import replace
from datetime import date

import pytest

from liftos.common.v1.marketing_pb2 import ItemError
from liftos.memory.v1.calendar_pb2 import CalendarDay, Holiday
from liftos.memory.v1.document_pb2 import (
    DOCUMENT_KIND_ARTIFACT,
    DOCUMENT_KIND_NOTE,
    Document,
    SearchHit,
    SearchLeg,
    SearchMode,
)
from liftos.memory.v1.entry_pb2 import Entry, Metrics, Quality, QualityIssue
from liftos.memory.v1.insight_pb2 import Insight
from liftos.memory.v1.memory_service_pb2 import (
    CompareMetricsResponse,
    EvaluateSearchResponse,
    GenerateInsightsResponse,
    MarketingEfficiency,
    MetricComparison,
    MetricsRow,
    RerunInsightResponse,
    TransformEntriesResponse,
)
from liftos_cli.demo.command import fail_unless_all_hold
from liftos_cli.demo.daily_entries import round_file
from liftos_cli.demo.data_set import DataSetProof
from liftos_cli.demo.for_modules import ForModules
from liftos_cli.demo.movements import Check, Movements
from liftos_cli.demo.noticed import Noticed
from liftos_cli.demo.proof import Comparison, Difference
from liftos_cli.demo.report import findings_as_json, print_checks, print_findings
from liftos_cli.demo.walk import (
    QUESTIONS,
    TRACE_PARTS,
    Answer,
    Findings,
    Trace,
    checks_of,
)
from liftos_cli.demo.weekly_file import read_weekly_file
from liftos_cli.errors import CommandError, ExitCode
from liftos_client.llm_context import Citation, LlmContext
from liftos_kit.spans import SpanRecord


def span(service: str, store: str) -> SpanRecord:
    """Return a span of a service on a store."""
    return SpanRecord(
        trace_id="0" * 31 + "1",
        span_id=f"{service}{store}",
        parent_id=None,
        name="work",
        kind="CLIENT",
        service=service,
        start_nanoseconds=1,
        end_nanoseconds=2,
        status="OK",
        status_description="",
        attributes={"db.system.name": store},
        events=(),
    )


@pytest.fixture
def findings() -> Findings:
    """Findings of a demo in which all is well."""
    file = round_file(read_weekly_file())
    hits = [
        SearchHit(
            document=Document(title=f"Campaign {question.expected}"),
            legs=[SearchLeg(mode=SearchMode.SEARCH_MODE_NEURAL, rank=1, raw_score=0.5, weight=1.0)],
            metrics=Metrics(currency_code="EUR", spend_micros=1_500_000),
            score=1.0,
        )
        for question in QUESTIONS
    ]
    days = [
        CalendarDay(
            date="2018-11-22", holidays=[Holiday(name="Thanksgiving Day", region_code="US")]
        ),
        CalendarDay(date="2018-11-23", retail_events=["Black Friday"]),
    ]
    services = [
        ("liftos-demo", "redis"),
        ("liftos-memory", "postgresql"),
        ("liftos-memory-worker", "milvus"),
    ]
    return Findings(
        file=file,
        row_count=21_238,
        last_day_row_count=16,
        document_count=3_052,
        comparison=Comparison(2_288, (), {name: sum(v) for name, v in file.columns.items()}),
        answers=[Answer(question, (hit,)) for question, hit in zip(QUESTIONS, hits, strict=True)],
        calendar=days,
        trace=Trace("0" * 31 + "1", tuple(span(*each) for each in services)),
        movements=movements(),
        data_set=data_set(),
        noticed=noticed(),
        for_modules=for_modules(),
    )


def for_modules(*, token_count: int = 500, recall: float = 1.0) -> ForModules:
    """What modules build on, with a context of so many tokens and an index that good."""
    entry = Entry(
        campaign_name="Posters",
        quality=Quality(score=0.9, issues=[QualityIssue(code="CLICKS_ABOVE_IMPRESSIONS")]),
    )
    hits = [
        SearchHit(document=Document(title="Kept", kind=kind))
        for kind in (DOCUMENT_KIND_NOTE, DOCUMENT_KIND_ARTIFACT)
    ]
    return ForModules(
        TransformEntriesResponse(
            entries=[entry],
            item_errors=[ItemError(index=1, field="day", message="no day")],
        ),
        [hits, hits],
        hits,
        LlmContext(
            "Facts",
            (Citation(1, "d", "r", "t", "NOTE", "", "", "", "", (), 0, None, 1.0),),
            token_count,
            (),
            (),
            "",
        ),
        EvaluateSearchResponse(recall_at_10=recall, success_at_5=1.0, query_count=6),
    )


def noticed(*, holds: bool = True) -> Noticed:
    """One insight, and whether it holds when it is run again."""
    answer = GenerateInsightsResponse(
        insights=[Insight(name="orgs/demo/insights/1", summary="Clicks rise.", severity=40.0)],
        insight_count=1,
        series_count=4,
    )
    return Noticed(answer, RerunInsightResponse(holds=holds, evidence_rows=[MetricsRow()]))


def data_set(*, difference_count: int = 0, is_same: bool = True) -> DataSetProof:
    """An export of one channel, and what it came to."""
    sidecar = {
        "sha256": "0f" * 32,
        "as_of": "2026-01-01T00:00:00+00:00",
        "channels": [{"channel": "meta", "spend": "meta_S", "exposure": "meta_I"}],
        "identification": {
            "treatments": [{"column": "meta", "zero_share": 0.5}],
            "warnings": [{"message": "meta is mostly 0"}],
        },
    }
    return DataSetProof(sidecar, 1_872, difference_count, is_same)


def movements(*, change: float = 30.0, hit_count: int = 1) -> Movements:
    """A comparison of two platforms that was asked twice."""
    answer = CompareMetricsResponse(
        comparisons=[
            MetricComparison(metric="spend", member="meta", change=10.0),
            MetricComparison(metric="spend", member="google_ads", change=20.0),
        ],
        totals=[MetricComparison(metric="spend", change=change)],
        marketing_efficiency=[MarketingEfficiency(currency_code="EUR", value=4.0)],
    )
    return Movements(answer, True, 0.05, 0.002, hit_count)


def failed(findings: Findings, *, refused: int = 0) -> list[str]:
    """Return the claims that do not hold."""
    return [check.claim for check in checks_of(findings, refused=refused) if not check.holds]


def test_all_is_well(findings: Findings) -> None:
    """Everything that was found makes every claim hold."""
    assert failed(findings) == []
    assert findings.trace.parts == TRACE_PARTS


def test_what_went_in_adds_up(findings: Findings) -> None:
    """The rows that the progress bar counts, and those that came after it."""
    (check,) = (each for each in checks_of(findings, refused=0) if "every row" in each.claim)
    assert (
        check.found == "0 refused of 21,238: 21,222 in the stream, and 16 of the last day after it"
    )


def test_a_refused_row_fails(findings: Findings) -> None:
    """One row that Memory did not take is a failure."""
    assert failed(findings, refused=1) == ["Memory took every row"]


def test_a_difference_fails(findings: Findings) -> None:
    """One value that differs is a failure."""
    difference = Difference(date(2018, 11, 19), "revenue", 1, 2)
    findings.comparison = replace(findings.comparison, differences=(difference,))

    assert failed(findings) == ["QueryMetrics by week equals the rounded file"]


def test_a_search_without_what_it_looks_for_fails(findings: Findings) -> None:
    """Hits that are something else do not count, and neither do none."""
    findings.answers = [*findings.answers[:2], Answer(QUESTIONS[2], ())]

    assert len(failed(findings)) == 1


def test_changes_that_do_not_add_up_fail(findings: Findings) -> None:
    """Neither may be missing, nor may the cache have been passed by."""
    findings.movements = movements(change=31.0)
    assert failed(findings) == ["changes of the platforms add up to that of all"]
    findings.movements = movements(hit_count=0)
    assert failed(findings) == ["what is asked again comes from the cache, and is the same"]


def test_an_insight_that_does_not_hold_fails(findings: Findings) -> None:
    """Nor is it enough that nothing stands out."""
    claim = "the insight that stands out most holds when it is run again"
    findings.noticed = noticed(holds=False)
    assert failed(findings) == [claim]
    findings.noticed = Noticed(GenerateInsightsResponse(), None)
    assert failed(findings) == [claim]


def test_a_data_set_that_differs_fails(findings: Findings) -> None:
    """From the file, or from itself when it is exported again."""
    findings.data_set = data_set(difference_count=1)
    assert failed(findings) == ["the data set for Robyn equals the rounded file"]
    findings.data_set = data_set(is_same=False)
    assert failed(findings) == ["the same moment gives the same bytes again"]


def test_what_modules_build_on_fails_by_itself(findings: Findings) -> None:
    """A context beyond its budget, an index that loses documents, and a mode without a hit."""
    findings.for_modules = for_modules(token_count=601)
    assert failed(findings) == ["facts for a language model fit its budget, each with its source"]
    findings.for_modules = for_modules(recall=0.98)
    assert failed(findings) == [
        "of the nearest ten documents the index returns all but one in a hundred"
    ]
    findings.for_modules = replace(for_modules(), found=[[SearchHit()], []])
    assert failed(findings) == ["search by named dimensions and by relations finds objects"]


def test_a_calendar_without_the_holiday_fails(findings: Findings) -> None:
    """Black Friday has to be on its day."""
    findings.calendar = findings.calendar[:1]

    assert failed(findings) == ["the calendar knows Black Friday on 2018-11-23"]


def test_a_trace_without_a_part_fails(findings: Findings) -> None:
    """A store that does not show in the trace is a failure, and is named."""
    findings.trace = replace(findings.trace, spans=findings.trace.spans[:2])

    check = next(each for each in checks_of(findings, refused=0) if not each.holds)
    assert check.claim == "the trace goes through all parts"
    assert check.found == "without liftos-memory-worker, milvus"


def test_a_failure_ends_with_1_and_says_what_failed() -> None:
    """The exit code is 1, and the sentence names the first claim; the details name all."""
    checks = [
        Check("it is fast", holds=True, found="yes"),
        Check("it is right", holds=False, found="2 differences"),
    ]

    with pytest.raises(CommandError, match="it is right") as caught:
        fail_unless_all_hold(checks)
    assert caught.value.exit_code is ExitCode.NEGATIVE
    assert caught.value.details == ("it is right: 2 differences",)


def test_findings_are_json(findings: Findings) -> None:
    """All of it can be written as JSON, totals and residuals exactly."""
    findings.checks = checks_of(findings, refused=0)
    found = json.loads(json.dumps(findings_as_json(findings)))

    assert found["compared_count"] == 2_288
    assert found["totals"]["newsletter"] == {
        "file": 4_656_408,
        "stored": 4_656_408,
        "residual_largest": "0.3461538462",
        "residual_total": "-11.0769230784",
    }
    assert found["searches"][0]["hits"][0]["score"] == 1.0
    assert len(found["trace"]["spans"]) == 3


def test_differences_are_shown(findings: Findings, capsys: pytest.CaptureFixture[str]) -> None:
    """The report names values that differ, and marks claims that do not hold."""
    difference = Difference(date(2018, 11, 19), "revenue", 1, None)
    findings.comparison = replace(findings.comparison, differences=(difference,))
    print_findings(findings)
    print_checks(checks_of(findings, refused=0))

    output = capsys.readouterr().out
    assert "2018-11-19 revenue: expected 1, stored None" in output
    assert "✗ QueryMetrics by week equals the rounded file" in output
