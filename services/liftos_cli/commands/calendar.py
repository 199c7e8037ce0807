"""`liftos calendar`."""

import re
from datetime import date
from typing import Annotated, Final

import typer

from liftos_cli.calendar_view import special
from liftos_cli.errors import CommandError
from liftos_cli.figures import enum_word_of
from liftos_cli.lazy_group import command_app
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.output import Column, print_json, print_table

app = command_app()

_MONTH: Final = re.compile(r"([12][0-9]{3})-(0[1-9]|1[0-2])", re.ASCII)
_YEAR: Final = re.compile(r"[12][0-9]{3}", re.ASCII)


@app.command(epilog="Example: liftos calendar 2026-11 --country US --country DE-BY")
@calls_memory
async def calendar(
    call: MemoryCall,
    days: Annotated[
        str,
        typer.Argument(metavar="DAYS", help="2026, 2026-11, 2026-11-27 or 2026-11-23..2026-11-30."),
    ],
    *,
    region_codes: Annotated[
        list[str] | None,
        typer.Option(
            "--country",
            metavar="CODE",
            help="Holidays of this region; may be repeated; by default the org's.",
        ),
    ] = None,
    every_day: Annotated[
        bool, typer.Option("--every-day", help="Show days without anything special too.")
    ] = False,
) -> None:
    """Show holidays, retail events and own events. --json has every day with all its parts."""
    start, end = parse_days(days)
    pages = call.memory.list_calendar_days(
        start, end, region_codes=region_codes or [], page_size=1_000
    )
    found = await pages.collect()
    if call.json:
        print_json({"calendar_days": found})
        return
    print_table(
        [
            Column("date"),
            Column("day"),
            Column("week"),
            Column("season"),
            Column("retail week"),
            Column("fiscal"),
            Column("what"),
        ],
        [
            [
                day.date,
                date.fromisoformat(day.date).strftime("%a"),
                f"{day.iso_year}-W{day.iso_week:02}",
                enum_word_of(day, "season").lower(),
                f"{day.retail_year}-{day.retail_week:02}",
                f"{day.fiscal_year} Q{day.fiscal_quarter}",
                ", ".join(special(day)),
            ]
            for day in found
            if every_day or start == end or special(day)
        ],
    )


def parse_days(text: str) -> tuple[str, str]:
    """Return the first and the last day of a year, a month, a day or a range.

    Raises:
        CommandError: It is none of these.
    """
    first, _, last = text.partition("..")
    try:
        start, end = _first_day(first), _last_day(last or first)
    except ValueError:
        raise CommandError(
            f"{text!r} is no range of days",
            advice="write 2026, 2026-11, 2026-11-27 or 2026-11-23..2026-11-30",
        ) from None
    return start.isoformat(), end.isoformat()


def _first_day(text: str) -> date:
    if _YEAR.fullmatch(text):
        return date(int(text), 1, 1)
    if _MONTH.fullmatch(text):
        return date.fromisoformat(f"{text}-01")
    return date.fromisoformat(text)


def _last_day(text: str) -> date:
    if _YEAR.fullmatch(text):
        return date(int(text), 12, 31)
    if match := _MONTH.fullmatch(text):
        year, month = int(match[1]), int(match[2])
        following = date(year + month // 12, month % 12 + 1, 1)
        return date.fromordinal(following.toordinal() - 1)
    return date.fromisoformat(text)
