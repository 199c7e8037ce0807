"""`liftos entries`; `import` has its own module."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from liftos.memory.v1.entry_pb2 import DerivedMetrics
from liftos_cli import purging
from liftos_cli.calendar_view import special
from liftos_cli.digesting import BucketCountOption, BucketOption, print_digest
from liftos_cli.entry_view import (
    chosen_columns,
    chosen_metrics,
    differences,
    entry_cell,
    entry_columns,
    metric_cell,
    telling_columns,
)
from liftos_cli.errors import CommandError
from liftos_cli.figures import MICROS, cell, enum_word_of
from liftos_cli.lazy_group import LazyCommand, command_app, lazy_group
from liftos_cli.listing import page_size, print_list, take, used_fields
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.message_view import print_fields
from liftos_cli.options import (
    ColumnsOption,
    CurrencyOption,
    FilterOption,
    FirstDayOption,
    FromOption,
    LastDayOption,
    LevelOption,
    LimitOption,
    MaximumChangesOption,
    MetricOption,
    MinimumQualityOption,
    ResumeOption,
    ToOption,
)
from liftos_cli.output import Column, print_json, print_json_line, print_table, say
from liftos_cli.steps import cut_steps

_RATIOS: Final = ("ctr", "cpc", "cost_per_conversion", "roas", "open_rate", "click_rate")
_MAIN_RATIOS: Final = ("ctr", "cpc", "roas", "open_rate")
_METRICS: Final = (
    *("currency_code", "spend_micros", "revenue_micros", "impressions", "clicks"),
    *("conversions_micros", "orders", "delivered", "opened"),
)
_FEW_METRICS: Final = 9
"""So many are shown, whichever they are; of more, those by which channels are told apart."""

app = command_app(
    summary="Import, list and sum daily numbers.",
    group=lazy_group(
        LazyCommand(
            "import",
            "liftos_cli.commands.entry_import",
            "Write the rows of CSV, Parquet and JSON lines files.",
        )
    ),
)


@app.command(
    "list",
    epilog="""Example: liftos entries list --filter 'platform = "meta"' --order-by 'date desc'""",
)
@calls_memory
async def list_entries(
    call: MemoryCall,
    *,
    filter_: FilterOption = "",
    order_by: Annotated[
        str, typer.Option(metavar="FIELDS", help="Such as 'date desc, campaign_id'.")
    ] = "",
    limit: LimitOption = 100,
    columns: ColumnsOption = None,
) -> None:
    """List entries. Amounts of the table are in units; those of --json in millionths."""
    chosen = chosen_columns(columns)
    pages = call.memory.list_entries(
        filter=filter_, order_by=order_by, page_size=page_size(limit, 1_000)
    )
    entries, more = await take(pages, limit)
    names = chosen or telling_columns(entries)
    print_list(
        "entries",
        entries,
        more=more,
        json=call.json,
        columns=entry_columns(names),
        row=lambda entry: [entry_cell(entry, name) for name in names],
    )


@app.command(epilog="Example: liftos entries get 20260105-0f1e2d3c4b5a69788796a5b4c3d2e1f0")
@calls_memory
async def get(
    call: MemoryCall,
    name: Annotated[str, typer.Argument(help="Name of the entry, or its id alone.")],
) -> None:
    """Show one entry with all that is known about it."""
    entry = await call.memory.get_entry(name)
    if call.json:
        print_json(entry)
        return
    rows: list[tuple[str, str]] = []
    for field, _ in entry.ListFields():
        if field.name in ("metrics", "grain_metrics", "derived_metrics"):
            part = getattr(entry, field.name)
            rows += [
                (each.name.removesuffix(MICROS), metric_cell(part, each.name))
                for each, _ in part.ListFields()
            ]
        elif field.name == "quality":
            rows.append(("quality", f"{entry.quality.score:.2f}"))
            rows += [
                (f"issue of {enum_word_of(issue, 'part').lower()}", f"{issue.code} {issue.field}")
                for issue in entry.quality.issues
            ]
        elif field.name == "calendar_day":
            day = entry.calendar_day
            week = f"week {day.iso_year}-W{day.iso_week:02}"
            rows.append(("calendar", ", ".join([week, *special(day)])))
        elif field.name == "actions":
            rows += [
                (f"action {action.action_type}", cell(action, "count")) for action in entry.actions
            ]
        else:
            rows.append((field.name, cell(entry, field.name)))
    print_table([Column("field"), Column("value")], rows)


@app.command(
    epilog="Example: liftos entries query --from 2026-01-01 --to 2026-03-31 --level campaign"
    " --by platform --granularity week --currency EUR"
)
@calls_memory
async def query(
    call: MemoryCall,
    *,
    start_date: FirstDayOption,
    end_date: LastDayOption,
    level: LevelOption,
    group_by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="DIMENSION", help="Such as platform; may be repeated."),
    ] = None,
    granularity: Annotated[
        str, typer.Option(metavar="STEP", help="day, week, month, quarter, year or total.")
    ] = "total",
    filter_: FilterOption = "",
    currency_code: CurrencyOption = "",
    minimum_quality_score: MinimumQualityOption = None,
    metrics: MetricOption = None,
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Show every metric in the table.")
    ] = False,
    all_ratios: Annotated[
        bool, typer.Option("--all-ratios", help="Show every ratio in the table.")
    ] = False,
    limit: LimitOption = 1_000,
) -> None:
    """Sum metrics of one level by time and dimensions, with ratios of the sums."""
    chosen = chosen_metrics(metrics or [])
    pages = call.memory.query_metrics(
        start_date,
        end_date,
        level=level,
        granularity=granularity,
        group_by=group_by or [],
        filter=filter_,
        minimum_quality_score=minimum_quality_score,
        currency_code=currency_code,
        page_size=page_size(limit, 5_000),
    )
    rows, more = await take(pages, limit)
    used = used_fields(rows, "metrics")
    few = all_metrics or len(used) <= _FEW_METRICS
    shown = used if few else [name for name in used if name in _METRICS]
    main_ratios = _RATIOS if few else _MAIN_RATIOS
    ratios = [
        name for name in used_fields(rows, "derived_metrics") if all_ratios or name in main_ratios
    ]
    if chosen:
        shown = [name for name in used if name == "currency_code" or name in chosen]
        ratios = [name for name in DerivedMetrics.DESCRIPTOR.fields_by_name if name in chosen]
    # Rows are apart by these in any case; a reader needs them where they differ.
    apart = [
        name
        for name in ("date_basis", "breakdown")
        if name not in (group_by or []) and len({getattr(row, name) for row in rows}) > 1
    ]
    titles = [Column("from"), *(Column(name) for name in [*(group_by or []), *apart])]
    titles += [Column(name.removesuffix(MICROS), number=name != "currency_code") for name in shown]
    titles += [Column(name, number=True) for name in ratios]
    titles += [Column("entries", number=True), Column("quality", number=True), Column("final")]
    print_list(
        "rows",
        rows,
        more=more,
        json=call.json,
        columns=titles,
        row=lambda row: [
            row.period_start_date,
            *(row.group.get(name, "") for name in group_by or []),
            *(getattr(row, name) for name in apart),
            *(metric_cell(row.metrics, name) for name in shown),
            *(cell(row.derived_metrics, name) for name in ratios),
            f"{row.entry_count:,}",
            f"{row.quality_score:.2f}",
            "yes" if row.final else "no",
        ],
    )
    if (left := [name.removesuffix(MICROS) for name in used if name not in shown]) and not (
        chosen or call.json
    ):
        say(f"Not shown: {', '.join(left)}; --all-metrics shows them.")
    steps = (row.period_start_date for row in rows)
    for sentence in cut_steps(steps, granularity=granularity, start=start_date, end=end_date):
        say(sentence)


@app.command(epilog="Example: liftos entries purge --origin import:january.csv --yes")
@calls_memory
async def purge(
    call: MemoryCall,
    *,
    origin: Annotated[str, typer.Option(help="What wrote the entries.")],
    filter_: FilterOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Delete what an origin wrote and nothing has overwritten since: the undo of an import."""
    await purging.purge(
        lambda force: call.memory.purge_entries(origin, filter=filter_, force=force),
        origin,
        singular="entry",
        plural="entries",
        yes=yes,
        json=call.json,
    )


@app.command(epilog="""Example: liftos entries watch --filter 'platform = "meta"' | jq .entry""")
@calls_memory
async def watch(
    call: MemoryCall,
    *,
    filter_: FilterOption = "",
    resume: ResumeOption = "",
    limit: MaximumChangesOption = None,
) -> None:
    """Follow changes as JSON lines, each with the entry before and after it, until Ctrl-C."""
    seen = 0
    async for answer in call.memory.watch_entries(filter=filter_, resume_token=resume):
        for change in answer.changes:
            line = {
                "entry": change.entry,
                "kind": enum_word_of(change, "kind"),
                "before": change.before if change.HasField("before") else None,
                "after": change.after if change.HasField("after") else None,
                "origin": change.origin,
                "write_token": change.write_token,
                "commit_time": answer.commit_time.ToJsonString(),
                # Changes of one commit may come in several answers, each with its own token.
                "resume_token": answer.resume_token,
            }
            print_json_line(line)
            seen += 1
            if seen == limit:
                return


@app.command(epilog="Example: liftos entries restatements --from 2026-01-01 --to 2026-01-31")
@calls_memory
async def restatements(
    call: MemoryCall,
    *,
    filter_: FilterOption = "",
    start: FromOption = None,
    end: ToOption = None,
    slice_: Annotated[
        str, typer.Option("--slice", help="Only those that this slice brought.")
    ] = "",
    limit: LimitOption = 100,
) -> None:
    """Show what platforms corrected after the fact, newest first.

    --from and --to are the days, in UTC, on which the corrections were written.
    """
    pages = call.memory.list_restatements(
        filter=filter_,
        slice=slice_,
        change_start_date=start,
        change_end_date=end,
        page_size=page_size(limit, 1_000),
    )
    found, more = await take(pages, limit)
    print_list(
        "restatements",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("changed"),
            Column("date"),
            Column("platform"),
            Column("object"),
            Column("what changed"),
            Column("origin"),
        ],
        row=lambda each: [
            each.change_time.ToJsonString(),
            each.before.date,
            each.before.platform,
            entry_cell(each.before, "object"),
            differences(each.before, each.after, each.changed_fields)
            if each.HasField("after")
            else "vanished",
            each.origin,
        ],
    )


@app.command(epilog="Example: liftos entries digest --filter 'platform = \"meta\"' --buckets 16")
@calls_memory
async def digest(
    call: MemoryCall,
    *,
    filter_: FilterOption = "",
    bucket_count: BucketCountOption = 1,
    buckets: BucketOption = None,
    limit: LimitOption = 100,
) -> None:
    """Show sums of the hashes of entries: two stores with equal sums hold the same."""
    memory = call.memory
    await print_digest(
        lambda: memory.digest_entries(bucket_count, filter=filter_),
        lambda chosen, size: memory.list_entry_digests(
            bucket_count, chosen, filter=filter_, page_size=size
        ),
        buckets or [],
        limit=limit,
        json=call.json,
    )


@app.command("slice", epilog="Example: liftos entries slice 019c7e4f0a3b7c1d8e2f4a5b6c7d8e9f")
@calls_memory
async def show_slice(
    call: MemoryCall,
    name: Annotated[str, typer.Argument(help="Name of the slice, or its id alone.")],
    *,
    raw: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the platform's own answer there; - is stdout.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show what a slice replaced and changed, or write the answer of the platform behind it."""
    answer = await call.memory.get_slice(name, include_raw=raw is not None)
    if raw is not None and not answer.raw:
        raise CommandError(
            "the platform's answer is not kept", advice="leave --raw away to see the slice"
        )
    if raw == Path("-"):
        sys.stdout.buffer.write(answer.raw)
        return
    if raw is not None:
        raw.write_bytes(answer.raw)
        say(f"Wrote {len(answer.raw):,} bytes to {raw}.")
    if call.json:
        print_json(answer.slice)
    else:
        print_fields(answer.slice)


@app.command(epilog="Example: liftos entries position nightly-load")
@calls_memory
async def position(
    call: MemoryCall,
    stream_id: Annotated[
        str, typer.Argument(metavar="STREAM", help="Such as the stream_id of an import's --json.")
    ],
) -> None:
    """Show how far a stream of entries has been committed, and the checkpoint to go on from."""
    answer = await call.memory.get_stream_position(stream_id)
    if call.json:
        print_json(answer)
    else:
        print_fields(answer, texts={"checkpoint": answer.checkpoint.decode(errors="replace")})
