"""`liftos alerts`; `routes` has its own module."""

from typing import Annotated

import typer

from liftos.ingestion.v1.alert_pb2 import Alert
from liftos_cli.figures import enum_word_of, short_name
from liftos_cli.ingestion_call import IngestionCall, calls_ingestion
from liftos_cli.lazy_group import LazyCommand, command_app, lazy_group
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.message_view import print_fields, time_text
from liftos_cli.options import FilterOption, LimitOption
from liftos_cli.output import Column, print_json

app = command_app(
    summary="See what needs a person, and say where that is told.",
    group=lazy_group(
        LazyCommand("routes", "liftos_cli.commands.alert_routes", "Say where alerts are told.")
    ),
)

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Name of the alert, or its id alone.")
]


@app.command("list", epilog="""Example: liftos alerts list --filter 'severity = "CRITICAL"'""")
@calls_ingestion
async def list_alerts(
    call: IngestionCall, *, filter_: FilterOption = "", limit: LimitOption = 100
) -> None:
    """List alerts, open ones first."""
    pages = call.ingestion.list_alerts(filter=filter_, page_size=page_size(limit, 1_000))
    alerts, more = await take(pages, limit)
    print_list(
        "alerts",
        alerts,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("state"),
            Column("severity"),
            Column("kind"),
            Column("about"),
            Column("seen", number=True),
            Column("last"),
            Column("summary"),
        ],
        row=_row,
    )


@app.command(epilog="Example: liftos alerts get 0f1e2d3c4b5a69788796a5b4c3d2e1f0")
@calls_ingestion
async def get(call: IngestionCall, alert: IdArgument) -> None:
    """Show an alert, and what to do about it."""
    found = await call.ingestion.get_alert(alert)
    if call.json:
        print_json(found)
    else:
        print_fields(found)


@app.command(
    epilog="Example: liftos alerts acknowledge 0f1e2d3c4b5a69788796a5b4c3d2e1f0"
    " --comment 'asked the agency'"
)
@calls_ingestion
async def acknowledge(
    call: IngestionCall,
    alert: IdArgument,
    *,
    comment: Annotated[str, typer.Option(help="Kept with the alert.")] = "",
) -> None:
    """Take an alert up, so that it is not sent again."""
    taken = await call.ingestion.acknowledge_alert(alert, comment=comment)
    if call.json:
        print_json(taken)
    else:
        print(f"{short_name(taken.name)}: {enum_word_of(taken, 'state')}, {taken.summary}")


def _row(alert: Alert) -> list[str]:
    about = (short_name(alert.connection) or alert.platform, alert.account_id)
    return [
        short_name(alert.name),
        enum_word_of(alert, "state"),
        enum_word_of(alert, "severity"),
        enum_word_of(alert, "kind"),
        " ".join(filter(None, about)),
        f"{alert.occurrence_count:,}",
        time_text(alert, "last_time"),
        alert.summary,
    ]
