"""`liftos schedules`."""

from datetime import UTC, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from liftos.ingestion.v1.schedule_pb2 import OverlapPolicy, Schedule
from liftos_cli.consent import YesOption, require_consent
from liftos_cli.errors import CommandError
from liftos_cli.figures import short_name
from liftos_cli.ingestion_call import IngestionCall, calls_ingestion
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.message_view import print_fields
from liftos_cli.options import AccountsOption, FilterOption, LevelsOption, LimitOption
from liftos_cli.output import Column, print_json
from liftos_cli.reported_levels import reported_levels
from liftos_client.arguments import enum_value

app = command_app(summary="Start runs by the clock.")

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Name of the schedule, or its id alone.")
]
CatchupOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="HOURS",
        help="How late a missed run may still start; an hour by default.",
        show_default=False,
    ),
]


@app.command(
    epilog="Example: liftos schedules create meta-daily --connection meta-main"
    " --name 'Meta, every morning' --cron '15 6 * * *' --time-zone Europe/Berlin"
)
@calls_ingestion
async def create(
    call: IngestionCall,
    schedule_id: Annotated[
        str, typer.Argument(metavar="ID", help="Lower-case letters, digits and hyphens.")
    ],
    *,
    connection: Annotated[str, typer.Option(metavar="ID", help="What to read.")],
    display_name: Annotated[str, typer.Option("--name", help="Shown to people.")],
    cron: Annotated[str, typer.Option(metavar="FIELDS", help="Five fields: '15 6 * * *'.")],
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Zone of the clock, such as Europe/Berlin.")
    ] = "UTC",
    account_ids: AccountsOption = None,
    levels: LevelsOption = None,
    lookback_days: Annotated[
        int,
        typer.Option(
            min=0, metavar="DAYS", help="Read so many days again; 0 follows the platform."
        ),
    ] = 0,
    overlap_policy: Annotated[
        str,
        typer.Option(
            "--overlap",
            metavar="POLICY",
            help="skip, buffer_one or cancel_other where the run before still reads.",
        ),
    ] = "skip",
    catchup_hours: CatchupOption = None,
    paused: Annotated[bool, typer.Option("--paused", help="Start no runs yet.")] = False,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Show the next times, but store nothing.")
    ] = False,
) -> None:
    """Start runs of a connection by the clock."""
    chosen = await reported_levels(call.ingestion, connection, levels)
    schedule = await call.ingestion.create_schedule(
        schedule_id,
        display_name=display_name,
        connection=connection,
        cron=cron,
        time_zone=time_zone,
        account_ids=account_ids or [],
        levels=chosen,
        lookback_days=lookback_days,
        overlap_policy=overlap_policy,
        catchup_window=None if catchup_hours is None else timedelta(hours=catchup_hours),
        paused=paused,
        validate_only=validate_only,
    )
    if validate_only and not call.json:
        print(f"{short_name(schedule.name)} can be stored; nothing was. It would start runs at:")
        for time in schedule.next_run_times:
            print(f"  {_local(time, schedule.time_zone)}")
        return
    _tell(call, schedule)


@app.command("list", epilog="Example: liftos schedules list --filter 'paused = true'")
@calls_ingestion
async def list_schedules(
    call: IngestionCall, *, filter_: FilterOption = "", limit: LimitOption = 100
) -> None:
    """List schedules by name."""
    pages = call.ingestion.list_schedules(filter=filter_, page_size=page_size(limit, 1_000))
    schedules, more = await take(pages, limit)
    print_list(
        "schedules",
        schedules,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("name"),
            Column("connection"),
            Column("cron"),
            Column("zone"),
            Column("next"),
            Column("last run"),
        ],
        row=lambda schedule: [
            short_name(schedule.name),
            schedule.display_name,
            short_name(schedule.connection),
            schedule.cron,
            schedule.time_zone,
            _next_time(schedule),
            short_name(schedule.last_run),
        ],
    )


@app.command(epilog="Example: liftos schedules get meta-daily")
@calls_ingestion
async def get(call: IngestionCall, schedule_id: IdArgument) -> None:
    """Show a schedule, and its next five times."""
    schedule = await call.ingestion.get_schedule(schedule_id)
    if call.json:
        print_json(schedule)
    else:
        times = ", ".join(_local(time, schedule.time_zone) for time in schedule.next_run_times)
        print_fields(schedule, texts={"next_run_times": times})


@app.command(epilog="Example: liftos schedules update meta-daily --cron '45 5 * * *'")
@calls_ingestion
async def update(
    call: IngestionCall,
    schedule_id: IdArgument,
    *,
    display_name: Annotated[
        str | None, typer.Option("--name", help="Shown to people.", show_default=False)
    ] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="FIELDS", help="Five fields.", show_default=False)
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Zone of the clock.", show_default=False)
    ] = None,
    account_ids: AccountsOption = None,
    levels: LevelsOption = None,
    lookback_days: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="DAYS",
            help="Read so many days again; 0 follows the platform.",
            show_default=False,
        ),
    ] = None,
    overlap_policy: Annotated[
        str | None,
        typer.Option(
            "--overlap",
            metavar="POLICY",
            help="skip, buffer_one or cancel_other.",
            show_default=False,
        ),
    ] = None,
    catchup_hours: CatchupOption = None,
) -> None:
    """Change what is named, and leave the rest."""
    schedule = await call.ingestion.get_schedule(schedule_id)
    texts = {"display_name": display_name, "cron": cron, "time_zone": time_zone}
    changed = [name for name, value in texts.items() if value is not None]
    for name in changed:
        setattr(schedule, name, texts[name])
    if account_ids:
        schedule.account_ids[:] = account_ids
        changed.append("account_ids")
    if levels:
        schedule.levels[:] = await reported_levels(call.ingestion, schedule.connection, levels)
        changed.append("levels")
    if lookback_days is not None:
        schedule.lookback_days = lookback_days
        changed.append("lookback_days")
    if overlap_policy is not None:
        schedule.overlap_policy = enum_value(OverlapPolicy, overlap_policy, field="overlap_policy")
        changed.append("overlap_policy")
    if catchup_hours is not None:
        schedule.catchup_window.FromTimedelta(timedelta(hours=catchup_hours))
        changed.append("catchup_window")
    if not changed:
        raise CommandError("nothing is named that should change", advice="see --help")
    _tell(call, await call.ingestion.update_schedule(schedule, update_mask=changed))


@app.command(epilog="Example: liftos schedules pause meta-daily")
@calls_ingestion
async def pause(call: IngestionCall, schedule_id: IdArgument) -> None:
    """Keep runs from starting; runs under way go on."""
    await _set_paused(call, schedule_id, paused=True)


@app.command(epilog="Example: liftos schedules resume meta-daily")
@calls_ingestion
async def resume(call: IngestionCall, schedule_id: IdArgument) -> None:
    """Let runs start again."""
    await _set_paused(call, schedule_id, paused=False)


@app.command(epilog="Example: liftos schedules delete meta-daily --yes")
@calls_ingestion
async def delete(call: IngestionCall, schedule_id: IdArgument, *, yes: YesOption = False) -> None:
    """Remove a schedule; its runs stay."""
    require_consent(f"Delete the schedule {short_name(schedule_id)}?", yes=yes)
    await call.ingestion.delete_schedule(schedule_id)
    if call.json:
        print_json({"deleted": schedule_id})
    else:
        print(f"Deleted {short_name(schedule_id)}.")


async def _set_paused(call: IngestionCall, schedule_id: str, *, paused: bool) -> None:
    schedule = await call.ingestion.get_schedule(schedule_id)
    schedule.paused = paused
    _tell(call, await call.ingestion.update_schedule(schedule, update_mask=["paused"]))


def _tell(call: IngestionCall, schedule: Schedule) -> None:
    if call.json:
        print_json(schedule)
    else:
        next_time = _next_time(schedule)
        when = next_time if schedule.paused else f"next {next_time}"
        print(f"{short_name(schedule.name)}: {schedule.display_name}, {when}.")


def _next_time(schedule: Schedule) -> str:
    if schedule.paused:
        return "paused"
    if not schedule.next_run_times:
        return "never"
    return _local(schedule.next_run_times[0], schedule.time_zone)


def _local(time: Timestamp, time_zone: str) -> str:
    """Return a time by the clock that the schedule follows; in UTC where this machine has none."""
    moment = time.ToDatetime(tzinfo=UTC)
    try:
        local = moment.astimezone(ZoneInfo(time_zone))
    except (ValueError, ZoneInfoNotFoundError):
        return f"{moment:%Y-%m-%d %H:%M} UTC"
    return f"{local:%Y-%m-%d %H:%M} {time_zone}"
