"""`liftos events`."""

from typing import Annotated

import typer

from liftos.memory.v1.calendar_pb2 import CalendarEvent
from liftos_cli.figures import short_name
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.options import (
    FirstDayOption,
    FromOption,
    LimitOption,
    ToOption,
)
from liftos_cli.output import Column, print_json

app = command_app(summary="Keep the organisation's own events.")


@app.command(
    epilog="Example: liftos events add summer-sale --name 'Summer sale' --from 2026-07-01"
    " --to 2026-07-14"
)
@calls_memory
async def add(
    call: MemoryCall,
    event_id: Annotated[
        str, typer.Argument(metavar="ID", help="Lower-case letters, digits and hyphens.")
    ],
    *,
    display_name: Annotated[str, typer.Option("--name", help="Shown beside its days.")],
    start_date: FirstDayOption,
    end_date: ToOption = None,
    structural_break: Annotated[
        bool,
        typer.Option("--break", help="Numbers before and after must not be compared blindly."),
    ] = False,
) -> None:
    """Add an event, or replace the one with this id."""
    event = await call.memory.upsert_calendar_event(
        event_id,
        display_name=display_name,
        start_date=start_date,
        end_date=end_date or start_date,
        structural_break=structural_break,
    )
    if call.json:
        print_json(event)
    else:
        print(f"{short_name(event.name)}: {event.display_name}, {_days(event)}.")


@app.command("list", epilog="Example: liftos events list --from 2026-07-01 --to 2026-07-31")
@calls_memory
async def list_events(
    call: MemoryCall,
    *,
    start_date: FromOption = None,
    end_date: ToOption = None,
    limit: LimitOption = 100,
) -> None:
    """List events by their first day."""
    pages = call.memory.list_calendar_events(
        start_date=start_date, end_date=end_date, page_size=page_size(limit, 1_000)
    )
    events, more = await take(pages, limit)
    print_list(
        "calendar_events",
        events,
        more=more,
        json=call.json,
        columns=[Column("id"), Column("name"), Column("days"), Column("break")],
        row=lambda event: [
            short_name(event.name),
            event.display_name,
            _days(event),
            "yes" if event.structural_break else "",
        ],
    )


@app.command(epilog="Example: liftos events remove summer-sale")
@calls_memory
async def remove(call: MemoryCall, event_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Remove an event."""
    await call.memory.delete_calendar_event(event_id)
    if call.json:
        print_json({"removed": event_id})
    else:
        print(f"Removed {event_id}.")


def _days(event: CalendarEvent) -> str:
    start, end = event.date_range.start_date, event.date_range.end_date
    return start if start == end else f"{start} to {end}"
