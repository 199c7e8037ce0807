"""The demo's findings, as a person reads them and as JSON."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Final

from rich.text import Text

from liftos.memory.v1.document_pb2 import SearchHit
from liftos_cli.calendar_view import next_event, special
from liftos_cli.demo.causal_module import print_module
from liftos_cli.demo.channels import CHANNELS, CURRENCY, scale_of
from liftos_cli.demo.data_set import print_data_set
from liftos_cli.demo.for_modules import print_for_modules
from liftos_cli.demo.movements import Check, print_movements
from liftos_cli.demo.noticed import print_insights
from liftos_cli.demo.walk import Answer, Findings
from liftos_cli.entry_view import metric_cell
from liftos_cli.figures import MICROS, enum_word_of
from liftos_cli.message_view import days_text
from liftos_cli.output import Column, as_json, print_table, print_text
from liftos_local.traces import waterfall

_SHOWN_DIFFERENCES: Final = 10
_PLAIN_WIDTH: Final = 150


def print_findings(findings: Findings) -> None:
    """Print everything that was found, for a person."""
    _print_totals(findings)
    _print_residuals(findings)
    for answer in findings.answers:
        _print_answer(answer)
    _print_title("Spend of November 2018 against November 2017, and the shop's revenue beside it")
    print_movements(findings.movements)
    _print_title("What stands out in the second half of 2018")
    print_insights(findings.noticed)
    _print_title("A data set for marketing mix models, by week, and what it cannot tell apart")
    print_data_set(findings.data_set)
    _print_title("What modules build on: own mappings, all ways to search, facts for a model")
    print_for_modules(findings.for_modules)
    _print_calendar(findings)
    _print_reads(findings)
    if findings.causal is not None:
        _print_title("The Causal module under load, and which channels deserve credit")
        print_module(findings.causal)
    _print_title("One request through all parts: a day is added, and searched once it is indexed")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PLAIN_WIDTH
    print("\n".join(waterfall(findings.trace.spans, width=width)))


def print_checks(checks: Sequence[Check]) -> None:
    """Print what had to hold, and whether it did."""
    _print_title("What was proved")
    for check in checks:
        mark = Text("✓ ", "bold green") if check.holds else Text("✗ ", "bold red")
        print_text(mark + Text(f"{check.claim}: {check.found}"))


def print_timings(seconds: Mapping[str, float]) -> None:
    """Print how long each stage took."""
    _print_title("Timings")
    print_table(
        [Column("stage"), Column("time", number=True)],
        [[name, f"{value:.1f} s"] for name, value in seconds.items()],
    )


def findings_as_json(findings: Findings) -> dict[str, object]:
    """Return what was found as JSON values."""
    comparison = findings.comparison
    return {
        "currency_code": CURRENCY,
        "week_count": len(findings.file.weeks),
        "row_count": findings.row_count,
        "document_count": findings.document_count,
        "compared_count": comparison.compared_count,
        "differences": [
            asdict(each) | {"week": each.week.isoformat()} for each in comparison.differences
        ],
        "totals": {
            column: {
                "file": sum(values),
                "stored": comparison.stored_totals[column],
                "residual_largest": str(findings.file.residuals[column].largest),
                "residual_total": str(findings.file.residuals[column].total),
            }
            for column, values in findings.file.columns.items()
        },
        "searches": [
            {"query": answer.question.query, "hits": as_json(answer.hits)}
            for answer in findings.answers
        ],
        "comparison": as_json(findings.movements.answer),
        "insights": as_json(list(findings.noticed.answer.insights)),
        "context": asdict(findings.for_modules.context),
        "evaluation": as_json(findings.for_modules.evaluation),
        "calendar_days": as_json(list(findings.calendar)),
        "trace": {
            "trace_id": findings.trace.trace_id,
            "parts": sorted(findings.trace.parts),
            "spans": [asdict(span) for span in findings.trace.spans],
        },
        "platforms": [
            {
                "platform": read.platform,
                "run": as_json(read.run),
                "account_count": read.account_count,
                "compared_count": read.compared_count,
                "differences": [asdict(each) for each in read.differences],
            }
            for read in findings.reads
        ],
        "causal": None
        if findings.causal is None
        else {
            "calls": dict(findings.causal.load.calls),
            "failures": dict(findings.causal.load.failures),
            "writes": findings.causal.load.writes,
            "attribution": {
                "module": as_json(findings.causal.own),
                "core": as_json(findings.causal.on_core),
            },
        },
        "checks": [asdict(check) for check in findings.checks],
    }


def _print_title(title: str) -> None:
    print()
    print_text(Text(title, "bold"))


def _print_totals(findings: Findings) -> None:
    comparison = findings.comparison
    weeks = findings.file.weeks
    _print_title(f"The store against the file: {len(weeks)} weeks from {weeks[0]}")
    rows = []
    for channel in CHANNELS:
        for metric, column in channel.columns.items():
            scale = scale_of(metric)
            expected = sum(findings.file.columns[column])
            stored = comparison.stored_totals[column]
            channel_name = channel.channel or channel.series_id
            rows.append(
                [
                    column,
                    " ".join(filter(None, (channel.platform, channel_name))),
                    channel.level,
                    metric.removesuffix("_micros"),
                    _units(expected, scale),
                    _units(stored, scale),
                    _units(stored - expected, scale),
                ]
            )
    print_table(
        [
            *(Column(title) for title in ("column", "where", "level", "metric")),
            *(Column(title, number=True) for title in ("file, rounded", "stored", "difference")),
        ],
        rows,
    )
    print(
        f"{comparison.compared_count:,} weekly values compared, "
        f"{len(comparison.differences):,} differences. Money is in {CURRENCY}, which is an "
        "assumption: the file names no currency."
    )
    for each in comparison.differences[:_SHOWN_DIFFERENCES]:
        print(f"  {each.week} {each.column}: expected {each.expected}, stored {each.stored}")


def _print_reads(findings: Findings) -> None:
    _print_title("A week of three simulated platforms, read and compared with what they know")
    numbers = ("accounts", "slices", "rows", "calls", "sums compared", "differences")
    print_table(
        [Column("platform"), *(Column(title, number=True) for title in numbers)],
        [
            [
                read.platform,
                str(read.account_count),
                str(read.run.progress.total_count),
                f"{read.run.row_count:,}",
                str(read.run.call_count),
                str(read.compared_count),
                str(len(read.differences)),
            ]
            for read in findings.reads
        ],
    )


def _print_residuals(findings: Findings) -> None:
    _print_title("What rounding took: the file less the rounded file, in the file's units")
    print_table(
        [
            Column("column"),
            Column("largest of a week", number=True),
            Column("sum of all weeks", number=True),
        ],
        [
            [column, _decimal(residual.largest), _decimal(residual.total)]
            for column, residual in findings.file.residuals.items()
        ],
    )


def _print_answer(answer: Answer) -> None:
    question = answer.question
    limits = [
        *(word.lower().replace("_", " ") + "s only" for word in question.kinds),
        *([" to ".join(question.days)] if question.days else []),
        *([question.filter] if question.filter else []),
    ]
    _print_title(f"Search: {question.query} ({', '.join([question.mode.lower(), *limits])})")
    for place, hit in enumerate(answer.hits, start=1):
        print_text(_hit(place, hit))


def _hit(place: int, hit: SearchHit) -> Text:
    text = Text(f"{place}. ").append(hit.document.title, "bold").append(f"  {hit.score:.3f}\n")
    text.append(f"   {hit.explanation}\n" if hit.explanation else "")
    legs = [
        f"{enum_word_of(leg, 'mode').lower()} rank {leg.rank}, raw {leg.raw_score:.3f}, "
        f"weight {leg.weight:.2f}, adds {leg.contribution:.3f}"
        for leg in hit.legs
    ]
    text.append(f"   {'; '.join(legs)}", "dim")
    numbers = [
        f"{each.name.removesuffix(MICROS)} {metric_cell(hit.metrics, each.name)}"
        for each, _ in hit.metrics.ListFields()
    ]
    days = days_text(hit.metrics_date_range)
    return text.append(f"\n   sums of {days}: {', '.join(numbers)}" if numbers else "", "dim")


def _print_calendar(findings: Findings) -> None:
    _print_title("The calendar of a holiday week")
    print_table(
        [
            *(Column(title) for title in ("date", "day", "ISO week", "season", "retail 4-5-4")),
            *(Column(title) for title in ("holidays and events", "next event")),
        ],
        [
            [
                day.date,
                f"{date.fromisoformat(day.date):%A}",
                f"{day.iso_year}-W{day.iso_week:02d}",
                enum_word_of(day, "season").lower(),
                f"{day.retail_year} month {day.retail_month} week {day.retail_week}",
                ", ".join(special(day)),
                next_event(day),
            ]
            for day in findings.calendar
        ],
    )


def _units(value: int, scale: int) -> str:
    return f"{Decimal(value) / scale:,.6f}" if scale > 1 else f"{value:,}"


def _decimal(value: Decimal) -> str:
    return f"{value:f}" if value else "0"
