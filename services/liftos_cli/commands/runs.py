"""`liftos runs`."""

import shlex
from datetime import UTC, datetime
from typing import Annotated

import typer

from liftos.ingestion.v1.run_pb2 import Quota, Reconciliation, Run, RunSlice
from liftos_cli.errors import ExitCode
from liftos_cli.figures import (
    MICROS,
    UNSET,
    amount,
    counted,
    enum_word_of,
    length,
    ratio,
    short_name,
)
from liftos_cli.ingestion_call import IngestionCall, calls_ingestion
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import narrowed, page_size, print_list, take
from liftos_cli.message_view import days_text, print_fields, progress_text, time_text
from liftos_cli.options import (
    AccountsOption,
    FilterOption,
    FirstDayOption,
    FromOption,
    LastDayOption,
    LevelsOption,
    LimitOption,
    ToOption,
)
from liftos_cli.output import Column, print_json, print_json_line, say
from liftos_cli.plan_view import print_plan
from liftos_cli.reported_levels import reported_levels
from liftos_cli.run_view import (
    SUCCEEDED,
    print_accounts,
    print_run,
    run_bar,
    say_left_out,
    wait_text,
)

app = command_app(summary="Read platforms now, and follow what is read.")

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Name of the run, or its id alone.")
]
ConnectionArgument = Annotated[
    str, typer.Argument(metavar="CONNECTION", help="Name of the connection, or its id alone.")
]


@app.command(
    epilog="Example: liftos runs start meta-main --from 2026-06-01 --to 2026-06-30 --level ad"
    " --watch"
)
@calls_ingestion
async def start(
    call: IngestionCall,
    connection: ConnectionArgument,
    *,
    start_date: FromOption = None,
    end_date: ToOption = None,
    account_ids: AccountsOption = None,
    levels: LevelsOption = None,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Behind all other runs, newest days first.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Read again what is final or was committed.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
) -> None:
    """Read a range of days now; by default those that the platform still changes.

    With --watch the exit code is 1 unless the run succeeds.
    """
    chosen = await reported_levels(call.ingestion, connection, levels)
    run = await call.ingestion.start_run(
        connection,
        kind="BACKFILL" if backfill else "INCREMENTAL",
        start_date=start_date,
        end_date=end_date,
        account_ids=account_ids or [],
        levels=chosen,
        force=force,
    )
    if watch:
        await _follow(call, run.name)
    elif call.json:
        print_json(run)
    else:
        print(f"Run {short_name(run.name)}: {counted(run.progress.total_count, 'slice')}.")
        say_left_out(run)
        say(f"Next: `liftos runs watch {short_name(run.name)}`.")


@app.command(epilog="Example: liftos runs watch 0f1e2d3c4b5a69788796a5b4c3d2e1f0")
@calls_ingestion
async def watch(call: IngestionCall, run: RunArgument) -> None:
    """Follow a run to its end. Exit code 1 unless it succeeds; Ctrl-C leaves it running."""
    await _follow(call, run)


@app.command("list", epilog="""Example: liftos runs list --filter 'state = "FAILED"'""")
@calls_ingestion
async def list_runs(
    call: IngestionCall, *, filter_: FilterOption = "", limit: LimitOption = 20
) -> None:
    """List runs, newest first."""
    pages = call.ingestion.list_runs(filter=filter_, page_size=page_size(limit, 1_000))
    runs, more = await take(pages, limit)
    print_list(
        "runs",
        runs,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("kind"),
            Column("connection"),
            Column("days"),
            Column("state"),
            Column("slices", number=True),
            Column("rows", number=True),
            Column("refused", number=True),
            Column("made"),
            Column("waits"),
        ],
        row=_run_row,
    )


@app.command(epilog="Example: liftos runs get 0f1e2d3c4b5a69788796a5b4c3d2e1f0")
@calls_ingestion
async def get(call: IngestionCall, run: RunArgument) -> None:
    """Show a run, and how each account went."""
    found = await call.ingestion.get_run(run)
    if call.json:
        print_json(found)
        return
    print_fields(found, without=("accounts", "left_out"))
    print_accounts(found)
    say_left_out(found)


@app.command(epilog="Example: liftos runs cancel 0f1e2d3c4b5a69788796a5b4c3d2e1f0")
@calls_ingestion
async def cancel(
    call: IngestionCall,
    run: RunArgument,
    *,
    reason: Annotated[str, typer.Option(help="Kept with the run.")] = "",
) -> None:
    """Stop a run; what was committed stays."""
    cancelled = await call.ingestion.cancel_run(run, reason=reason)
    if call.json:
        print_json(cancelled)
    else:
        print(f"{short_name(cancelled.name)}: {enum_word_of(cancelled, 'state')}.")


@app.command(
    epilog="Example: liftos runs slices 0f1e2d3c4b5a69788796a5b4c3d2e1f0"
    """ --filter 'state = "FAILED"'"""
)
@calls_ingestion
async def slices(
    call: IngestionCall, run: RunArgument, *, filter_: FilterOption = "", limit: LimitOption = 100
) -> None:
    """List the slices of a run: what is read, committed and resumed as a whole."""
    pages = call.ingestion.list_slices(run, filter=filter_, page_size=page_size(limit, 1_000))
    found, more = await take(pages, limit)
    print_list(
        "slices",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("account"),
            Column("level"),
            Column("days"),
            Column("basis"),
            Column("state"),
            Column("attempt", number=True),
            Column("rows", number=True),
            Column("restated", number=True),
            Column("vanished", number=True),
            Column("calls", number=True),
            Column("waits"),
            Column("last failure"),
        ],
        row=_slice_row,
    )


@app.command(
    epilog="Example: liftos runs reconciliations 0f1e2d3c4b5a69788796a5b4c3d2e1f0 --mismatched"
)
@calls_ingestion
async def reconciliations(
    call: IngestionCall,
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Only this run; by default all.", show_default=False),
    ] = None,
    *,
    filter_: FilterOption = "",
    mismatched: Annotated[
        bool, typer.Option("--mismatched", help="Only sums that differ.")
    ] = False,
    limit: LimitOption = 100,
) -> None:
    """Hold our sums against the platforms' own totals, newest first."""
    name = "" if run is None else (await call.ingestion.get_run(run)).name
    parts = [
        f'run = "{name}"' if name else "",
        'state = "MISMATCHED"' if mismatched else "",
    ]
    pages = call.ingestion.list_reconciliations(
        filter=narrowed(filter_, parts), page_size=page_size(limit, 1_000)
    )
    found, more = await take(pages, limit)
    print_list(
        "reconciliations",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("date"),
            Column("platform"),
            Column("account"),
            Column("level"),
            Column("metric"),
            Column("ours", number=True),
            Column("the platform's", number=True),
            Column("difference", number=True),
            Column("state"),
            Column("why"),
        ],
        row=_reconciliation_row,
    )


@app.command(
    epilog="Example: liftos runs plan-backfill meta-main --from 2025-06-01 --to 2026-05-31"
)
@calls_ingestion
async def plan_backfill(
    call: IngestionCall,
    connection: ConnectionArgument,
    *,
    start_date: FirstDayOption,
    end_date: LastDayOption,
    account_ids: AccountsOption = None,
    levels: LevelsOption = None,
    each_window: Annotated[
        bool, typer.Option("--windows", help="Show each range of days that is read as a whole.")
    ] = False,
) -> None:
    """Say what reading a long range would take, without reading it.

    Windows are the parts that are read as a whole, in the order in which they would be.
    """
    chosen = await reported_levels(call.ingestion, connection, levels)
    plan = await call.ingestion.plan_backfill(
        connection, start_date, end_date, account_ids=account_ids or [], levels=chosen
    )
    if call.json:
        print_json(plan)
        return
    print_plan(plan, each_window=each_window)
    print(
        f"{counted(len(plan.windows), 'window')}, {counted(plan.call_count, 'call')}, about"
        f" {length(plan.duration)};"
        f" begun now, it would end at {time_text(plan, 'end_time') or UNSET}."
    )
    for caveat in plan.caveats:
        say(caveat)
    words = ["liftos", "runs", "start", short_name(connection), "--backfill", "--watch"]
    words += ["--from", start_date, "--to", end_date]
    words += [word for each in account_ids or () for word in ("--account", each)]
    words += [word for each in levels or () for word in ("--level", each)]
    say(f"Next: `{shlex.join(words)}`.")


@app.command(epilog="Example: liftos runs quota --platform meta")
@calls_ingestion
async def quota(
    call: IngestionCall,
    *,
    platform: Annotated[str, typer.Option(help="Only this platform.")] = "",
    account_id: Annotated[
        str, typer.Option("--account", metavar="ID", help="Only limits that it shares in.")
    ] = "",
) -> None:
    """Show what is left of the platforms' limits, nearest to its end first."""
    quotas = await call.ingestion.get_quota(platform=platform, account_id=account_id)
    print_list(
        "quotas",
        quotas,
        more=False,
        json=call.json,
        columns=[
            Column("platform"),
            Column("limit of"),
            Column("used", number=True),
            Column("limit", number=True),
            Column("unit"),
            Column("window"),
            Column("blocked until"),
            Column("slices wait", number=True),
        ],
        row=_quota_row,
    )


async def _follow(call: IngestionCall, name: str) -> None:
    """Show a run until it has ended.

    Raises:
        typer.Exit: It did not succeed.
    """
    run = Run()
    with run_bar(short_name(name)[:8]) as show:
        async for answer in call.ingestion.watch_run(name):
            run = answer.run
            if call.json:
                print_json_line(run)
            else:
                show(run)
    if not call.json:
        print_run(run)
    if run.state != SUCCEEDED:
        raise typer.Exit(ExitCode.NEGATIVE)


def _run_row(run: Run) -> list[str]:
    return [
        short_name(run.name),
        enum_word_of(run, "kind"),
        short_name(run.connection),
        days_text(run.date_range),
        enum_word_of(run, "state"),
        progress_text(run.progress),
        f"{run.row_count:,}",
        f"{run.dead_letter_count:,}",
        time_text(run, "create_time"),
        wait_text(run, datetime.now(UTC)),
    ]


def _slice_row(each: RunSlice) -> list[str]:
    return [
        each.account_id,
        enum_word_of(each, "level" if each.level else "kind"),
        days_text(each.date_range),
        enum_word_of(each, "date_basis") if each.date_basis else "",
        enum_word_of(each, "state"),
        str(each.attempt),
        f"{each.row_count:,}",
        f"{each.restated_count:,}",
        f"{each.vanished_count:,}",
        f"{each.call_count:,}",
        wait_text(each, datetime.now(UTC)),
        each.error.message,
    ]


def _reconciliation_row(each: Reconciliation) -> list[str]:
    def figure(value: int) -> str:
        return amount(value) if each.metric.endswith(MICROS) else f"{value:,}"

    return [
        each.date,
        each.platform,
        each.account_id,
        enum_word_of(each, "level"),
        each.metric.removesuffix(MICROS),
        figure(each.stored_value) if each.HasField("stored_value") else UNSET,
        figure(each.platform_value) if each.HasField("platform_value") else UNSET,
        figure(each.difference),
        enum_word_of(each, "state"),
        each.detail,
    ]


def _quota_row(each: Quota) -> list[str]:
    return [
        each.platform,
        each.display_name or f"{each.scope} {each.key}",
        ratio(each.used),
        ratio(each.limit),
        each.unit,
        length(each.window),
        time_text(each, "blocked_until_time"),
        f"{each.parked_slice_count:,}",
    ]
