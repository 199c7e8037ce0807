"""`liftos settings`."""

from typing import Annotated

import typer

from liftos.memory.v1.source_pb2 import Hemisphere, OrgSettings
from liftos_cli.errors import CommandError
from liftos_cli.figures import enum_word_of
from liftos_cli.lazy_group import command_app
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.output import Column, print_json, print_table
from liftos_client.arguments import enum_value

app = command_app(summary="Read and change the organisation.")


@app.command(epilog="Example: liftos settings get")
@calls_memory
async def get(call: MemoryCall) -> None:
    """Show what the organisation has chosen."""
    _print(await call.memory.get_org_settings(), json=call.json)


@app.command(
    "set", epilog="Example: liftos settings set --base-currency EUR --country DE --country AT"
)
@calls_memory
async def set_settings(
    call: MemoryCall,
    *,
    base_currency_code: Annotated[
        str | None,
        typer.Option(
            "--base-currency",
            metavar="CODE",
            help="Currency that rates are given against.",
            show_default=False,
        ),
    ] = None,
    region_codes: Annotated[
        list[str] | None,
        typer.Option(
            "--country",
            metavar="CODE",
            help="Whose holidays the calendar carries; may be repeated.",
        ),
    ] = None,
    fiscal_start_month: Annotated[
        int | None,
        typer.Option(min=1, max=12, help="First month of the fiscal year.", show_default=False),
    ] = None,
    hemisphere: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="northern or southern.", show_default=False),
    ] = None,
) -> None:
    """Change what is named, and leave the rest."""
    settings = await call.memory.get_org_settings()
    changed: list[str] = []
    if base_currency_code is not None:
        settings.base_currency_code = base_currency_code
        changed.append("base_currency_code")
    if region_codes:
        settings.region_codes[:] = region_codes
        changed.append("region_codes")
    if fiscal_start_month is not None:
        settings.fiscal_start_month = fiscal_start_month
        changed.append("fiscal_start_month")
    if hemisphere is not None:
        settings.hemisphere = enum_value(Hemisphere, hemisphere, field="hemisphere")
        changed.append("hemisphere")
    if not changed:
        raise CommandError("nothing is named that should change", advice="see --help")
    _print(await call.memory.update_org_settings(settings, update_mask=changed), json=call.json)


def _print(settings: OrgSettings, *, json: bool) -> None:
    if json:
        print_json(settings)
        return
    print_table(
        [Column("setting"), Column("value")],
        [
            ("base currency", settings.base_currency_code),
            ("countries", ", ".join(settings.region_codes)),
            ("fiscal year starts in month", str(settings.fiscal_start_month)),
            ("hemisphere", enum_word_of(settings, "hemisphere").lower()),
        ],
    )
