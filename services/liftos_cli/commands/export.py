"""`liftos export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from liftos_cli.errors import CommandError
from liftos_cli.figures import counted
from liftos_cli.lazy_group import command_app
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.options import (
    FilterOption,
    FirstDayOption,
    LastDayOption,
)
from liftos_cli.output import Column, print_json, print_table, say

app = command_app()


@app.command(
    epilog="Example: liftos export --format meridian --from 2024-01-01 --to 2025-12-31"
    " --granularity week --kpi revenue --out panel"
)
@calls_memory
async def export(
    call: MemoryCall,
    *,
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="long, meridian, pymc or robyn.")
    ],
    start_date: FirstDayOption,
    end_date: LastDayOption,
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="Where the files go; made if missing.")
    ],
    kpi: Annotated[
        str, typer.Option(metavar="KPI", help="revenue or orders of a shop, or conversions.")
    ] = "revenue",
    allow_attributed_kpi: Annotated[
        bool,
        typer.Option(
            "--allow-attributed-kpi", help="Take conversions, which platforms claim themselves."
        ),
    ] = False,
    granularity: Annotated[
        str, typer.Option(metavar="STEP", help="day, week or month; whole ones only.")
    ] = "week",
    on_gap: Annotated[
        str, typer.Option(metavar="POLICY", help="fail, trim or zero, where a number is unknown.")
    ] = "fail",
    unit: Annotated[
        str,
        typer.Option(metavar="NAME", help="Empty for the nation, account_id, or a breakdown."),
    ] = "",
    levels: Annotated[
        list[str] | None,
        typer.Option(
            "--level", metavar="LEVEL", help="Of treatments, best first; may be repeated."
        ),
    ] = None,
    filter_: FilterOption = "",
    kpi_filter: Annotated[
        str, typer.Option(metavar="EXPRESSION", help="Which entries of a shop are the outcome.")
    ] = "",
    control_filter: Annotated[
        str, typer.Option(metavar="EXPRESSION", help="Which outside series are controls.")
    ] = "",
    currency_code: Annotated[
        str, typer.Option("--currency", metavar="CODE", help="By default the organisation's.")
    ] = "",
    as_of: Annotated[
        str,
        typer.Option(metavar="TIME", help="As the store was then; the same gives the same bytes."),
    ] = "",
) -> None:
    """Write data sets for marketing mix models."""
    _prepare(out)
    dataset = await call.memory.export_dataset(
        start_date,
        end_date,
        format=format_,
        kpi=kpi,
        allow_attributed_kpi=allow_attributed_kpi,
        granularity=granularity,
        on_gap=on_gap,
        unit=unit,
        levels=levels or [],
        filter=filter_,
        kpi_filter=kpi_filter,
        control_filter=control_filter,
        currency_code=currency_code,
        as_of=as_of or None,
    )
    try:
        files = [str(file) for file in dataset.write(out)]
    except OSError as error:
        raise _unwritable(out, error) from error
    if call.json:
        print_json({"files": files, "sidecar": dataset.sidecar})
        return
    _show(dataset.sidecar)
    say(f"Wrote {', '.join(files)}.")


def _prepare(out: str) -> None:
    """Make the directory before the data set, which may take a while, is asked for."""
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(out, error) from error


def _unwritable(out: str, error: OSError) -> CommandError:
    return CommandError(
        f"cannot write to {out}: {(error.strerror or str(error)).lower()}",
        advice="name a directory with --out; it is made where it is missing",
    )


def _show(sidecar: dict[str, Any]) -> None:
    treatments = {one["column"]: one for one in sidecar["identification"]["treatments"]}
    print_table(
        [
            Column("channel"),
            Column("spend"),
            Column("exposure"),
            Column("zeros", number=True),
            Column("varies by", number=True),
            Column("VIF", number=True),
        ],
        [
            [
                one["channel"],
                one["spend"],
                one["exposure"],
                f"{treatments[one['channel']]['zero_share']:.0%}",
                _share(treatments[one["channel"]]["variation"]),
                _factor(treatments[one["channel"]]),
            ]
            for one in sidecar["channels"]
        ],
    )
    units = f", {counted(len(sidecar['units']), 'unit')}" if sidecar["unit"] else ""
    say(
        f"{counted(sidecar['row_count'], 'row')}: {counted(sidecar['step_count'], 'step')} of a"
        f" {sidecar['granularity']} from {sidecar['start_date']} to {sidecar['end_date']}{units};"
        f" {sidecar['kpi']['name']} in {sidecar['currency_code']}, as of {sidecar['as_of']}."
    )
    for warning in sidecar["identification"]["warnings"]:
        say(f"Mind: {warning['message']}.")
    for caveat in sidecar["caveats"]:
        say(f"Mind: {caveat}")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _factor(treatment: dict[str, Any]) -> str:
    if treatment["vif"] is None:
        return "∞" if treatment["variation"] else ""
    return f"{treatment['vif']:.1f}"
