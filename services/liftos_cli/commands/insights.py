"""`liftos insights`; `routes` has its own module."""

from typing import Annotated

import typer

from liftos.memory.v1.insight_pb2 import Insight
from liftos_cli.errors import ExitCode
from liftos_cli.figures import cell, enum_word_of, short_name
from liftos_cli.insight_view import evidence_command, looked_at, print_insight
from liftos_cli.lazy_group import LazyCommand, command_app, lazy_group
from liftos_cli.listing import narrowed, page_size, print_list, take
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.options import FilterOption, FromOption, LimitOption, ToOption
from liftos_cli.output import Column, print_json, say

app = command_app(
    summary="Find trends, anomalies and benchmarks, and say where they are told.",
    group=lazy_group(
        LazyCommand("routes", "liftos_cli.commands.insight_routes", "Say where insights are told.")
    ),
)

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Name of the insight, or its id alone.")
]
KindsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kind", metavar="KIND", help="Only trend, anomaly or benchmark; may be repeated."
    ),
]

_COLUMNS = (
    Column("id"),
    Column("state"),
    Column("pattern"),
    Column("severity", number=True),
    Column("quality", number=True),
    Column("summary"),
)


@app.command(epilog="Example: liftos insights generate --from 2026-09-01 --to 2026-11-24")
@calls_memory
async def generate(
    call: MemoryCall,
    *,
    start_date: FromOption = None,
    end_date: ToOption = None,
    kinds: KindsOption = None,
    levels: Annotated[
        list[str] | None,
        typer.Option(
            "--level",
            metavar="LEVEL",
            help="Such as ad; by default account, campaign, flow and outcome; may be repeated.",
        ),
    ] = None,
    filter_: FilterOption = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="Show so many; all are kept.")] = 20,
) -> None:
    """Look for insights now, by default in the last 91 days with entries, and keep them."""
    answer = await call.memory.generate_insights(
        start_date,
        end_date,
        kinds=kinds or [],
        levels=levels or [],
        filter=filter_,
        maximum_insights=limit,
    )
    more = answer.insight_count > len(answer.insights)
    print_list(
        "insights",
        list(answer.insights),
        more=more,
        json=call.json,
        columns=_COLUMNS,
        row=_row,
    )
    say(looked_at(answer))


@app.command("list", epilog="Example: liftos insights list --filter 'state = ACTIVE'")
@calls_memory
async def list_insights(
    call: MemoryCall,
    *,
    filter_: FilterOption = "",
    within: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Those that this insight tells: of the objects that do together what it says.",
            show_default=False,
        ),
    ] = "",
    limit: LimitOption = 100,
) -> None:
    """List insights that were found, most severe first; those within others only where asked."""
    if within:
        filter_ = narrowed(filter_, [f'whole = "{short_name(within)}"'])
    pages = call.memory.list_insights(filter=filter_, page_size=page_size(limit, 1_000))
    insights, more = await take(pages, limit)
    print_list("insights", insights, more=more, json=call.json, columns=_COLUMNS, row=_row)


@app.command(epilog="Example: liftos insights show 0f1e2d3c4b5a69788796a5b4c3d2e1f0")
@calls_memory
async def show(call: MemoryCall, insight: IdArgument) -> None:
    """Show an insight with its figures and its evidence."""
    found = await call.memory.get_insight(insight)
    if call.json:
        print_json(found)
    else:
        print_insight(found)


@app.command(epilog="Example: liftos insights rerun 0f1e2d3c4b5a69788796a5b4c3d2e1f0")
@calls_memory
async def rerun(call: MemoryCall, insight: IdArgument) -> None:
    """Run the evidence again on the data of now. Exit code 1 where the insight no longer holds."""
    answer = await call.memory.rerun_insight(insight)
    if call.json:
        print_json(answer)
    else:
        print("It holds." if answer.holds else "It no longer holds.")
        print(answer.insight.summary)
        print(f"{len(answer.evidence_rows)} rows of evidence:")
        print(evidence_command(answer.insight.evidence))
    if not answer.holds:
        raise typer.Exit(ExitCode.NEGATIVE)


@app.command(epilog="Example: liftos insights rate 0f1e2d3c4b5a69788796a5b4c3d2e1f0 useful")
@calls_memory
async def rate(
    call: MemoryCall,
    insight: IdArgument,
    rating: Annotated[str, typer.Argument(metavar="RATING", help="useful or not_useful.")],
    *,
    comment: Annotated[str, typer.Option(help="Kept with it.")] = "",
) -> None:
    """Keep whether an insight helped."""
    rated = await call.memory.rate_insight(insight, rating, comment=comment)
    if call.json:
        print_json(rated)
    else:
        print(f"{short_name(rated.name)}: {enum_word_of(rated, 'rating')}.")


def _row(insight: Insight) -> list[str]:
    return [
        short_name(insight.name),
        enum_word_of(insight, "state"),
        enum_word_of(insight, "pattern"),
        f"{insight.severity:.0f}",
        cell(insight, "quality_score"),
        insight.summary,
    ]
