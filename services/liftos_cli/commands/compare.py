"""`liftos compare`."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer
from google.protobuf.message import Message

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import DerivedMetrics, Metrics
from liftos_cli.figures import UNSET, cell, enum_word_of, ratio
from liftos_cli.lazy_group import command_app
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.options import (
    BaselineFromOption,
    BaselineToOption,
    CurrencyOption,
    FilterOption,
    FirstDayOption,
    LastDayOption,
    LevelOption,
    MinimumQualityOption,
)
from liftos_cli.output import Column, print_json, print_table, say

app = command_app()

_SHOWN_CORRELATIONS: Final = 10
_TOTAL: Final = "(all)"
_NONE: Final = "(none)"


@app.command(
    epilog="Example: liftos compare --from 2026-03-01 --to 2026-03-31 --level campaign"
    " --by platform --metric roas --metric spend"
)
@calls_memory
async def compare(
    call: MemoryCall,
    *,
    start_date: FirstDayOption,
    end_date: LastDayOption,
    level: LevelOption,
    metrics: Annotated[
        list[str],
        typer.Option("--metric", metavar="METRIC", help="Such as roas; may be repeated."),
    ],
    dimension: Annotated[
        str, typer.Option("--by", metavar="DIMENSION", help="What is set side by side.")
    ] = "platform",
    baseline_start_date: BaselineFromOption = None,
    baseline_end_date: BaselineToOption = None,
    filter_: FilterOption = "",
    currency_code: CurrencyOption = "",
    minimum_quality_score: MinimumQualityOption = None,
    maximum_lag_days: Annotated[
        int | None,
        typer.Option(
            "--max-lag",
            min=0,
            max=28,
            metavar="DAYS",
            help="How far correlations look; 7 without it.",
            show_default=False,
        ),
    ] = None,
    effects: Annotated[
        bool, typer.Option("--effects", help="Show days of the week and holidays of each member.")
    ] = False,
) -> None:
    """Set channels and periods against each other, with intervals, and say what to mind."""
    answer = await call.memory.compare_metrics(
        start_date,
        end_date,
        level=level,
        metrics=metrics,
        dimension=dimension,
        baseline_start_date=baseline_start_date,
        baseline_end_date=baseline_end_date,
        filter=filter_,
        minimum_quality_score=minimum_quality_score,
        currency_code=currency_code,
        maximum_lag_days=maximum_lag_days,
    )
    if call.json:
        print_json(answer)
        return
    held_against = answer.baseline_date_range
    say(f"Held against {held_against.start_date} to {held_against.end_date}.")
    _print_comparisons(answer, dimension)
    _print_effects(answer.calendar_effects, every_member=effects)
    _print_correlations(answer.correlations)
    for efficiency in answer.marketing_efficiency:
        print(
            f"\nThe shop's revenue per {efficiency.currency_code or 'amount'} spent is"
            f" {cell(efficiency, 'value')}; it was {cell(efficiency, 'baseline_value')}."
        )
    for caveat in answer.caveats:
        about = ", ".join(caveat.metrics) or "all metrics"
        say(f"Mind ({about}): {caveat.message}")


def _print_comparisons(answer: pb.CompareMetricsResponse, dimension: str) -> None:
    rows: list[tuple[str, pb.MetricComparison]] = []
    for total in answer.totals:
        same = (total.metric, total.currency_code)
        rows += [
            (each.member or _NONE, each)
            for each in answer.comparisons
            if (each.metric, each.currency_code) == same
        ]
        rows.append((_TOTAL, total))
    numbers = ("value", "95 %", "before", "change", "95 % of change", "place", "mix", "rate")
    print_table(
        [
            Column("metric"),
            Column(dimension),
            *(Column(name, number=True) for name in numbers),
            Column("days", number=True),
        ],
        [
            [
                f"{each.metric} {each.currency_code}".rstrip(),
                member,
                _number(each, "value"),
                _range(each, "interval"),
                _number(each, "baseline_value"),
                f"{each.change_ratio:+.1%}" if each.HasField("change_ratio") else UNSET,
                _range(each, "change_interval"),
                f"{each.percentile:.0%}" if each.HasField("percentile") else UNSET,
                cell(each, "mix_effect"),
                cell(each, "rate_effect"),
                f"{each.day_count:,}",
            ]
            for member, each in rows
        ],
        empty="There are no entries to compare.",
    )


def _print_effects(effects: Sequence[pb.CalendarEffect], *, every_member: bool) -> None:
    shown = [each for each in effects if every_member or each.total]
    if not shown:
        return
    print()
    print_table(
        [
            Column("metric"),
            Column("of"),
            Column("days"),
            Column("times", number=True),
            Column("95 %", number=True),
            Column("count", number=True),
        ],
        [
            [
                f"{each.metric} {each.currency_code}".rstrip(),
                _TOTAL if each.total else each.member or _NONE,
                each.day_name or f"every {enum_word_of(each, 'kind').lower()}",
                f"{each.ratio:.2f}",
                _interval(each, "interval"),
                f"{each.day_count:,}",
            ]
            for each in shown
        ],
    )


def _print_correlations(correlations: Sequence[pb.MetricCorrelation]) -> None:
    if not correlations:
        return
    print()
    print_table(
        [
            Column("metric"),
            Column("one"),
            Column("other"),
            Column("correlation", number=True),
            Column("other follows by days", number=True),
            Column("by chance", number=True),
            Column("days", number=True),
        ],
        [
            [
                f"{each.metric} {each.currency_code}".rstrip(),
                each.first_member or _NONE,
                each.second_member or _NONE,
                f"{each.coefficient:+.2f}",
                f"{each.lag_days:+d}",
                f"{each.p_value:.1%}",
                f"{each.day_count:,}",
            ]
            for each in correlations[:_SHOWN_CORRELATIONS]
        ],
    )
    if len(correlations) > _SHOWN_CORRELATIONS:
        say(f"There are {len(correlations):,} pairs; --json has all of them.")


def _number(message: pb.MetricComparison, field: str) -> str:
    """Return one of a metric's values: counts are whole, other sums have two places."""
    if not message.HasField(field):  # type: ignore[arg-type]  # one of the optional numbers
        return UNSET
    value: float = getattr(message, field)
    if message.metric in DerivedMetrics.DESCRIPTOR.fields_by_name:
        return ratio(value)
    return (
        f"{value:,.0f}" if message.metric in Metrics.DESCRIPTOR.fields_by_name else f"{value:,.2f}"
    )


def _range(message: pb.MetricComparison, name: str) -> str:
    low, high = _number(message, f"{name}_low"), _number(message, f"{name}_high")
    return UNSET if low == UNSET else f"{low} .. {high}"


def _interval(message: Message, name: str) -> str:
    low, high = cell(message, f"{name}_low"), cell(message, f"{name}_high")
    return UNSET if low == UNSET else f"{low} .. {high}"
