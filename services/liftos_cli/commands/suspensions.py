"""`liftos suspensions`."""

from typing import Annotated

import typer

from liftos.ingestion.v1.alert_pb2 import Suspension
from liftos_cli.figures import counted, short_name
from liftos_cli.ingestion_call import IngestionCall, calls_ingestion
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.message_view import time_text
from liftos_cli.options import LimitOption
from liftos_cli.output import Column, print_json, say

app = command_app(summary="Hold runs, and let them go on.")


@app.command(
    epilog="Example: liftos suspensions create --platform meta --reason 'the account moves'"
)
@calls_ingestion
async def create(
    call: IngestionCall,
    *,
    reason: Annotated[str, typer.Option(help="Shown wherever a run waits.")],
    platform: Annotated[str, typer.Option(help="Only this platform.")] = "",
    connection: Annotated[str, typer.Option(metavar="ID", help="Only this connection.")] = "",
    account_id: Annotated[
        str,
        typer.Option(
            "--account", metavar="ID", help="Only this account; with --platform or --connection."
        ),
    ] = "",
) -> None:
    """Keep runs of a scope from starting or going on; without a scope, all of them.

    When it returns, no write of theirs is under way any more. What was committed stays.
    """
    suspension = await call.ingestion.suspend_ingestion(
        reason, platform=platform, connection=connection, account_id=account_id
    )
    if call.json:
        print_json(suspension)
        return
    waiting = counted(suspension.waiting_run_count, "run waits", "runs wait")
    print(f"Suspended {_scope(suspension)}; {waiting}: {short_name(suspension.name)}")
    say(f"Next: `liftos suspensions lift {short_name(suspension.name)}`.")


@app.command(epilog="Example: liftos suspensions lift 0f1e2d3c4b5a69788796a5b4c3d2e1f0")
@calls_ingestion
async def lift(
    call: IngestionCall,
    suspension_id: Annotated[
        str, typer.Argument(metavar="ID", help="Name of the suspension, or its id alone.")
    ],
    *,
    reason: Annotated[str, typer.Option(help="Kept with the suspension.")] = "",
) -> None:
    """Lift a suspension; runs that waited go on."""
    suspension = await call.ingestion.resume_ingestion(suspension_id, reason=reason)
    if call.json:
        print_json(suspension)
    else:
        print(f"Lifted the suspension of {_scope(suspension)}.")


@app.command("list", epilog="Example: liftos suspensions list --all")
@calls_ingestion
async def list_suspensions(
    call: IngestionCall,
    *,
    include_ended: Annotated[
        bool, typer.Option("--all", help="Also those that were lifted.")
    ] = False,
    limit: LimitOption = 100,
) -> None:
    """List suspensions, those that hold first."""
    pages = call.ingestion.list_suspensions(
        include_ended=include_ended, page_size=page_size(limit, 1_000)
    )
    suspensions, more = await take(pages, limit)
    print_list(
        "suspensions",
        suspensions,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("what"),
            Column("reason"),
            Column("by"),
            Column("runs wait", number=True),
            Column("since"),
            Column("until"),
        ],
        row=lambda each: [
            short_name(each.name),
            _scope(each),
            each.reason,
            each.subject,
            f"{each.waiting_run_count:,}",
            time_text(each, "create_time"),
            time_text(each, "end_time"),
        ],
    )


def _scope(suspension: Suspension) -> str:
    scope = suspension.scope
    parts = (
        f"platform {scope.platform}" if scope.platform else "",
        f"connection {short_name(scope.connection)}" if scope.connection else "",
        f"account {scope.account_id}" if scope.account_id else "",
    )
    return ", ".join(filter(None, parts)) or "everything"
